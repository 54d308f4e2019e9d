"""The batch of worlds that ask questions. Answers change nothing of what is asked.

So a round can be asked, answered and scored at once, with the numbers of one question after the other.
"""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

import numpy as np
from gymnasium import spaces

from ..base.errors import MetarlError
from ..base.streams import Streams
from .batch import DEFAULT_FPS, State, Step
from .canvas import AxesCanvas
from .layout import layout_of
from .spaces import ActionSpace, shape_of
from .task import Values

if TYPE_CHECKING:
    from matplotlib.axes import Axes


class Questions(NamedTuple):
    """The questions of a round, in the order in which they are asked, and their right answers."""

    observations: np.ndarray
    """[world, question, *observation]"""
    targets: np.ndarray
    """Right answer of each question. [world, question, *target]"""
    answers: np.ndarray | None = None
    """Answer of an agent to each question, for pictures; families ask without any. [world, question, *action]"""


class Asked(NamedTuple):
    """The questions of the present episode of every world. Those of shorter episodes have zeros behind them."""

    observations: np.ndarray
    """[question, world, *observation]"""
    targets: np.ndarray
    """Right answer of each question. [question, world, *target]"""
    mask: np.ndarray
    """Whether the world has the question. bool [question, world]"""


class Asking(Protocol):
    """The part of a family that its batch uses; see `QuestionFamily`."""

    @property
    def name(self) -> str:
        """Name of the family in messages."""
        ...

    @property
    def horizon(self) -> int:
        """Questions of the longest round."""
        ...

    @property
    def observation_space(self) -> spaces.Space[Any]:
        """Space of one question."""
        ...

    @property
    def action_space(self) -> ActionSpace:
        """Space of one answer."""
        ...

    def num_questions(self, number: int) -> int:
        """Return the number of questions of a round."""
        ...

    def prepare(self, task: Values, streams: Streams) -> State:
        """Return what a trial draws once."""
        ...

    def ask(self, task: Values, trial: State, number: int, streams: Streams) -> Questions:
        """Return the questions of a round in every world."""
        ...

    def score(self, answers: np.ndarray, targets: np.ndarray) -> np.ndarray:
        """Return the reward of answers."""
        ...

    def draw(self, axes: Axes, observation: Any, answer: np.ndarray | None, target: np.ndarray) -> None:
        """Draw a question into `axes`."""
        ...


class QuestionBatch:
    """The `Batch` of a QuestionFamily. Each world has its own round and its own place in it."""

    def __init__(self, family: Asking, values: Values, render_mode: str | None) -> None:
        self.family, self.values, self.render_mode = family, values, render_mode
        self.layout, action = layout_of(family.observation_space, family.name), family.action_space
        num_worlds = len(next(iter(values.values())))
        self.worlds = np.arange(num_worlds)
        self.trial: State = {}
        self.number = np.full(num_worlds, -1)
        """Round of each world in its trial; -1 before the first."""
        self.place = np.zeros(num_worlds, dtype=np.int64)
        """Place of each world's question in its round."""
        self.length = np.ones(num_worlds, dtype=np.int64)
        """Questions of each world's round."""
        self.observations = self.layout.zeros((family.horizon, num_worlds))
        self.targets = np.zeros((family.horizon, num_worlds, *shape_of(action)), dtype=action.dtype)
        self.left_out: np.ndarray | None = None
        """Questions that the first round of a trial is asked without; see `leave_out`. bool [world, question]"""
        self._answers: np.ndarray | None = None
        self._canvas: AxesCanvas | None = None

    @property
    def render_fps(self) -> int:
        """Questions a second in a video."""
        return DEFAULT_FPS // 10

    def leave_out(self, where: np.ndarray) -> None:
        """Ask the first round of every trial from now on without the marked questions, bool [world, question].

        The questions behind them move up, and the episode is shorter. What is drawn does not change: the other
        questions, and those of later rounds, are the same. Raises MetarlError for a wrong shape, and where a world
        would have no question left.
        """
        expected = len(self.worlds), self.family.num_questions(0)
        if where.shape != expected:
            raise MetarlError(f"questions to leave out have shape {where.shape}; it must be {expected}")
        if where.all(axis=1).any():
            raise MetarlError(f"all {expected[1]} questions of a world are left out; leave it at least one")
        self.left_out = where

    def begin(self, where: np.ndarray) -> None:
        """Forget the trial in the marked worlds."""
        self.number[where] = -1

    def reset(self, where: np.ndarray, streams: Streams) -> np.ndarray:
        """Draw the next round of the marked worlds and return the present questions, [world, *observation]."""
        if (new := np.flatnonzero(where & (self.number < 0))).size:
            self._prepare(new, streams)
        self.number[where] += 1
        self._answers = None
        # All rounds after the first have as many questions; the worlds of a batch are in few different rounds.
        for number in np.unique(self.number[where]):
            self._ask(np.flatnonzero(where & (self.number == number)), int(number), streams)
        self.place[where] = 0
        return self._observe()

    def _task(self, rows: np.ndarray) -> Values:
        return {name: value[rows] for name, value in self.values.items()}

    def _prepare(self, rows: np.ndarray, streams: Streams) -> None:
        drawn = streams.at(rows, functools.partial(self.family.prepare, self._task(rows)))
        for name, array in drawn.items():
            if name not in self.trial:
                self.trial[name] = np.zeros((len(self.worlds), *array.shape[1:]), dtype=array.dtype)
            self.trial[name][rows] = array

    def _ask(self, rows: np.ndarray, number: int, streams: Streams) -> None:
        trial = {name: array[rows] for name, array in self.trial.items()}
        ask = functools.partial(self.family.ask, self._task(rows), trial, number)
        drawn, count = streams.at(rows, ask), self.family.num_questions(number)
        for name, array, shape in (
            ("observations", drawn.observations, self.observations.shape[2:]),
            ("targets", drawn.targets, self.targets.shape[2:]),
        ):
            if array.shape != (expected := (len(rows), count, *shape)):
                raise MetarlError(
                    f"{name} of family {self.family.name!r} have shape {array.shape} in round {number + 1}; it must be "
                    f"{expected}, [world, question, ...]"
                )
        self.length[rows] = count
        self.observations[:, rows], self.targets[:, rows] = 0, 0
        self.observations[:count, rows] = np.moveaxis(drawn.observations, 1, 0)
        self.targets[:count, rows] = np.moveaxis(drawn.targets, 1, 0)
        if number == 0 and self.left_out is not None:
            self._shorten(rows, ~self.left_out[rows])

    def _shorten(self, rows: np.ndarray, kept: np.ndarray) -> None:
        """Keep the marked questions of the present round alone, bool [row, question], one behind the other."""
        places, counts = np.argsort(~kept, axis=1, kind="stable").T, kept.sum(axis=1)
        behind = np.arange(kept.shape[1])[:, None] >= counts
        for array in (self.observations, self.targets):
            moved = array[places, rows]
            moved[behind] = 0
            array[: kept.shape[1], rows] = moved
        self.length[rows] = counts

    def _observe(self) -> np.ndarray:
        """Return the present question of each world; the last one stays after the end."""
        observed: np.ndarray = self.observations[np.minimum(self.place, self.length - 1), self.worlds]
        return observed

    def asked(self) -> Asked:
        """Return copies of the questions of the present rounds, all of which are to be answered at once."""
        end = int(self.length.max())
        mask = np.arange(end)[:, None] < self.length
        return Asked(self.observations[:end].copy(), self.targets[:end].copy(), mask)

    def step(self, actions: np.ndarray, where: np.ndarray, streams: Streams) -> Step:
        """Take the answers of the marked worlds, and ask their next questions."""
        targets = self.targets[np.minimum(self.place, self.length - 1), self.worlds]
        rewards = self._rewards(actions, targets)
        if self.render_mode is not None:
            self._answers = actions.copy()
        self.place += where
        return Step(
            observations=self._observe(),
            rewards=rewards,
            terminations=self.place >= self.length,
            truncations=np.zeros(len(where), dtype=bool),
            successes=None,
            targets=targets,
        )

    def finish(self, answers: np.ndarray, asked: Asked) -> np.ndarray:
        """Take the answers to all questions [question, world, *action], and return their rewards [question, world]."""
        self.place = self.length.copy()
        return self._rewards(answers, asked.targets)

    def _rewards(self, answers: np.ndarray, targets: np.ndarray) -> np.ndarray:
        rewards = self.family.score(answers, targets)
        lead = targets.shape[: targets.ndim - len(self.targets.shape[2:])]
        if rewards.shape != lead:
            raise MetarlError(
                f"score of family {self.family.name!r} has shape {rewards.shape}; it must be {lead}, one an answer"
            )
        return rewards

    def change(self, where: np.ndarray, values: Values) -> None:
        """Give the marked worlds other tasks, which begin with their next reset."""
        self.values = values
        self.number[where] = -1

    def render(self, world: int) -> np.ndarray | None:
        """Return a picture of the question that a world answered last, or of its first."""
        if self._canvas is None:
            self._canvas = AxesCanvas(self.render_mode)
        place = max(int(self.place[world]) - 1, 0)
        answer = None if self._answers is None else self._answers[world]
        question = self.layout.unflatten(self.observations[place, world])
        target = self.targets[place, world]
        return self._canvas.render(lambda axes: self.family.draw(axes, question, answer, target))

    def close(self) -> None:
        """Release windows."""
        if self._canvas is not None:
            self._canvas.close()
