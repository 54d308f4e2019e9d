"""Families whose steps are questions: an observation, an answer, and what would have been right."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, ClassVar, Self

import numpy as np

from ..base.errors import MetarlError
from ..base.streams import Streams
from .batch import State
from .family import TaskFamily
from .option import OptionFamily
from .question_batch import QuestionBatch, Questions
from .spaces import ActionSpace
from .task import Measure, Values

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import SubFigure

    from .batch import Batch

MOST_TOLD = 4
"""Most numbers of a question that are words enough; more, such as an image's pixels, tell a reader nothing."""


class QuestionFamily(TaskFamily):
    """A family whose steps are questions. The action is the answer, and the target is the right one.

    A round of a trial asks all of its questions: `num_questions` says how many, `ask` draws them, and `score` rewards
    the answers. N-way K-shot learning is two rounds, the support and the queries, whose targets are revealed after each
    round. Draw the questions of a round in random order: their places must not tell their answers.
    """

    draws_tasks: ClassVar[bool] = False
    """Whether pictures of tasks are those of `draw_task`, and not of the parameters' values."""

    @property
    def horizon(self) -> int:  # type: ignore[override]  # elsewhere a setting, here it follows from the others
        """Questions of the longest round."""
        return max(self.num_questions(0), self.num_questions(1))

    def with_horizon(self, horizon: int) -> Self:
        """Return the family itself: its settings say how many questions it asks."""
        return self

    @property
    def target_space(self) -> ActionSpace:
        """The space of answers."""
        return self.action_space

    @property
    def measure(self) -> Measure:
        """The mean reward of a round's answers."""
        return Measure("mean reward", per_step=True)

    @abstractmethod
    def num_questions(self, number: int) -> int:
        """Return the number of questions of a round. 0 is the first of a trial; all from 1 on have the same number."""

    def prepare(self, task: Values, streams: Streams) -> State:
        """Return what a trial draws once, by name, [world, ...]; nothing by default.

        `streams` has one random stream for each world.
        """
        return {}

    @abstractmethod
    def ask(self, task: Values, trial: State, number: int, streams: Streams) -> Questions:
        """Return the `num_questions(number)` questions of a round in every world.

        `trial` is what `prepare` drew. `streams` has one random stream for each world.
        """

    @abstractmethod
    def score(self, answers: np.ndarray, targets: np.ndarray) -> np.ndarray:
        """Return the reward of answers, float64 [...], given the right ones; both are [..., *action]."""

    def tell(self, observation: Any) -> str:
        """Return a question in words, such as the title of a film; '' where it has none. By default, few numbers."""
        parts = [np.asarray(part) for part in _arrays(observation)]
        if sum(part.size for part in parts) > MOST_TOLD:
            return ""
        return ", ".join(f"{number:.4g}" for part in parts for number in part.ravel().tolist())

    def tell_answer(self, answer: np.ndarray) -> str:
        """Return an answer, or the right one, in words, such as '4 stars'. By default, its numbers."""
        return ", ".join(f"{number:.4g}" for number in np.ravel(answer).tolist())

    def draw(self, axes: Axes, observation: Any, answer: np.ndarray | None, target: np.ndarray) -> None:
        """Draw a question, its answer if there is one, and the right answer into `axes`. By default, as text."""
        told = "" if answer is None else f"answer {np.array2string(answer, precision=3)}\n"
        words = f"{observation}\n{told}right {np.array2string(target, precision=3)}"
        axes.text(0.5, 0.5, words, ha="center", va="center", transform=axes.transAxes)
        axes.set_axis_off()

    def draw_task(self, figure: SubFigure, task: Mapping[str, Any], support: Questions, queries: Questions) -> None:
        """Draw a task into `figure`: its parameters by name, its examples and what is asked, each [question, ...].

        For families that `draws_tasks`. Where questions have `answers`, the picture tells which are right.
        """
        raise NotImplementedError

    def batch(self, values: Values, *, threads: int | None = None, render_mode: str | None = None) -> Batch:
        """Return the batch. Question families run on the calling thread."""
        return QuestionBatch(self, values, render_mode)


def _arrays(observation: Any) -> Iterator[Any]:
    """Yield the arrays of an observation, those of a Dict or Tuple one after the other."""
    if isinstance(observation, (Mapping, tuple)):
        for part in observation.values() if isinstance(observation, Mapping) else observation:
            yield from _arrays(part)
    else:
        yield observation


def asks_questions(family: TaskFamily) -> bool:
    """Return whether a family, whatever its options, asks questions."""
    return isinstance(_behind_options(family), QuestionFamily)


def require_questions(family: TaskFamily) -> QuestionFamily:
    """Return the family of questions behind the options of a family. Raises MetarlError where it asks none."""
    base = _behind_options(family)
    if not isinstance(base, QuestionFamily):
        raise MetarlError(f"family {family.name!r} asks no questions; take one that does, such as sinusoid")
    return base


def _behind_options(family: TaskFamily) -> TaskFamily:
    while isinstance(family, OptionFamily):
        family = family.base
    return family
