"""What agents that learn from right answers are checked on, and the rule that their answers keep."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from gymnasium import spaces

from ..base.errors import MetarlError
from ..base.streams import Streams, generator
from ..families.batch import State
from ..families.distributions import Choice, Subset, Uniform
from ..families.family import TaskFamily
from ..families.question_batch import Questions
from ..families.questions import QuestionFamily, asks_questions
from ..families.spaces import ActionSpace, Boxes, Tokens
from ..families.task import Parameter, Reveal, Values
from ..trials.agent import Agent, AnsweringLearner, begin_learner
from ..trials.rollout import rollout
from .probes import NUM_TASKS, REPLICAS, Subject, other_spaces, probes


@dataclass(frozen=True)
class Guess(QuestionFamily):
    """Guess the product of a point and a hidden vector. The first round has 4 questions, others have 6."""

    name = "the checks' family of numbers to guess"
    action: ClassVar[ActionSpace] = spaces.Box(-4.0, 4.0, (1,), np.float32)

    @property
    def parameters(self) -> Mapping[str, Parameter]:
        """The vector."""
        return {"slope": Parameter(Uniform(-1.0, 1.0, (2,)))}

    @property
    def observation_space(self) -> spaces.Box:
        """The point."""
        return spaces.Box(-1.0, 1.0, (2,), np.float32)

    @property
    def action_space(self) -> ActionSpace:
        """The product."""
        return self.action

    def num_questions(self, number: int) -> int:
        """Return 4, then 6."""
        return 6 if number else 4

    def ask(self, task: Values, trial: State, number: int, streams: Streams) -> Questions:
        """Return points and their products."""
        points = (2 * streams.uniform((self.num_questions(number), 2)) - 1).astype(np.float32)
        return Questions(points, self.right((points * task["slope"][:, None]).sum(axis=-1)))

    def right(self, product: np.ndarray) -> np.ndarray:
        """Return the right answers, [world, question, *action]."""
        return product[..., None].astype(np.float32)

    def score(self, answers: np.ndarray, targets: np.ndarray) -> np.ndarray:
        """Return minus the error."""
        return -np.abs(answers - targets)[..., 0].astype(np.float64)


@dataclass(frozen=True)
class Sort(Guess):
    """The same with a class for an answer: negative, small or large. Right ones are shown step by step."""

    name = "the checks' family of classes to guess"
    action: ClassVar[ActionSpace] = spaces.Discrete(3)

    @property
    def reveal(self) -> Reveal:
        """By step."""
        return "step"

    def right(self, product: np.ndarray) -> np.ndarray:
        """Return the classes."""
        return np.digitize(product, [0.0, 0.3])

    def score(self, answers: np.ndarray, targets: np.ndarray) -> np.ndarray:
        """Return one for a right class."""
        return (answers == targets).astype(np.float64)


@dataclass(frozen=True)
class Tell(Guess):
    """Tell three of nine directions apart: few-shot classes, of which each task has some in random order."""

    name = "the checks' family of few-shot classes"
    action: ClassVar[ActionSpace] = spaces.Discrete(3)

    @property
    def parameters(self) -> Mapping[str, Parameter]:
        """The directions, in the order of their labels."""
        return {"classes": Parameter(Subset(tuple(map(float, range(9))), 3))}

    def ask(self, task: Values, trial: State, number: int, streams: Streams) -> Questions:
        """Return points in the task's directions, and their labels."""
        count = self.num_questions(number)
        labels = np.argsort(streams.uniform((count,)), axis=-1) % 3
        angles = 2 * np.pi / 9 * np.take_along_axis(task["classes"], labels, axis=1)
        points = 0.8 * np.stack([np.cos(angles), np.sin(angles)], axis=-1) + 0.1 * streams.uniform((count, 2))
        return Questions(points.astype(np.float32), labels)

    def score(self, answers: np.ndarray, targets: np.ndarray) -> np.ndarray:
        """Return one for a right class."""
        return (answers == targets).astype(np.float64)


@dataclass(frozen=True)
class Find(Guess):
    """Find a square in an image, bright in some tasks and grey in others, beside one of the other kind."""

    name = "the checks' family of boxes to find"
    action: ClassVar[ActionSpace] = Boxes()

    @property
    def parameters(self) -> Mapping[str, Parameter]:
        """Whether it is the bright one."""
        return {"bright": Parameter(Choice((0.0, 1.0)))}

    @property
    def observation_space(self) -> spaces.Box:
        """The image, as numbers that every encoder reads fast."""
        return spaces.Box(0, 1, (8, 8), np.float32)

    def ask(self, task: Values, trial: State, number: int, streams: Streams) -> Questions:
        """Return images with a square of each kind, and the boxes of those to find."""
        count = self.num_questions(number)
        top, left, right = np.moveaxis(streams.integers(3, (count, 3)), -1, 0)
        swapped = streams.integers(2, (count,)) == 1
        bright, grey = np.where(swapped, right + 4, left), np.where(swapped, left, right + 4)
        images = np.maximum(_square(top, bright), 0.4 * _square(top, grey)).astype(np.float32)
        edge = np.where(task["bright"][:, None] > 0, bright, grey)
        corners = np.stack([edge, top, edge + 2, top + 2, np.full_like(top, 8)], axis=-1)
        return Questions(images, (corners / 8).astype(np.float32))

    def score(self, answers: np.ndarray, targets: np.ndarray) -> np.ndarray:
        """Return minus the greatest error of an edge."""
        return -np.abs(answers - targets)[..., :4].max(axis=-1).astype(np.float64)


def _square(top: np.ndarray, left: np.ndarray) -> np.ndarray:
    """Return images [..., 8, 8] of ones in the square of 2 pixels with this corner, each [...], and zeros elsewhere."""
    places = np.arange(8)
    rows, columns = ((places >= edge[..., None]) & (places < edge[..., None] + 2) for edge in (top, left))
    return rows[..., :, None] & columns[..., None, :]


@dataclass(frozen=True)
class Respell(QuestionFamily):
    """Write a word of 1 to 3 letters in another alphabet, which the task orders anew. Words and answers are tokens."""

    name = "the checks' family of sequences"

    @property
    def parameters(self) -> Mapping[str, Parameter]:
        """What each of 3 letters is written as."""
        return {"letters": Parameter(Subset((1.0, 2.0, 3.0), 3))}

    @property
    def observation_space(self) -> Tokens:
        """The word."""
        return Tokens(3, 4)

    @property
    def action_space(self) -> Tokens:
        """The word in the other alphabet."""
        return Tokens(4, 4)

    def num_questions(self, number: int) -> int:
        """Return 4, then 6."""
        return 6 if number else 4

    def ask(self, task: Values, trial: State, number: int, streams: Streams) -> Questions:
        """Return words and how they are written."""
        shape = (self.num_questions(number), 3)
        lengths = 1 + streams.integers(3, shape[:1])
        words = np.where(np.arange(3) < lengths[..., None], 1 + streams.integers(3, shape), 0)
        written = np.take_along_axis(task["letters"].astype(np.int64), words.reshape(len(words), -1) - 1, axis=1)
        answers = np.zeros((*words.shape[:2], 4), dtype=self.action_space.dtype)
        answers[..., :3] = np.where(words > 0, written.reshape(words.shape), 0)
        return Questions(words.astype(self.observation_space.dtype), answers)

    def score(self, answers: np.ndarray, targets: np.ndarray) -> np.ndarray:
        """Return one for a word that is right to its end."""
        return (first_word(answers) == first_word(targets)).all(axis=-1).astype(np.float64)


def first_word(tokens: np.ndarray) -> np.ndarray:
    """Return tokens [..., place] with zeros behind the first 0."""
    return np.where(np.cumprod(tokens != 0, axis=-1) > 0, tokens, 0)


def questions() -> list[TaskFamily]:
    """Return the families for agents that play no other family, as they learn from right answers."""
    return [Guess(), Sort(), Tell(), Find(), Respell()]


def check_answers(subject: Subject) -> Iterator[str]:
    """Answers do not depend on other questions: neither on their order, nor on there being any."""
    if not asks_questions(subject.family):
        return
    agent, tasks = subject.make(), subject.tasks()
    streams = Streams.of(0, "check", np.arange(NUM_TASKS)[:, None], np.arange(REPLICAS))
    learner = begin_learner(agent, tasks, streams)
    if not isinstance(learner, AnsweringLearner):
        return
    with contextlib.closing(subject.family.make_vec(tasks, REPLICAS, threads=0)) as envs:
        first = rollout(envs, learner, seed=0)
        learner.adapt(first)
        asked = rollout(envs, learner, first).observations
    answers = learner.answer(asked, deterministic=True)
    order = generator(0).permutation(len(asked))
    if not subject.same(learner.answer(asked[order], deterministic=True), answers[order]):
        yield "questions in another order get other answers; answer each from itself and what was learned before"
    elif not all(
        subject.same(learner.answer(asked[at : at + 1], deterministic=True), answers[at : at + 1])
        for at in range(len(asked))
    ):
        yield "a question alone gets another answer than among others; use no statistic of the questions"


def families_for(cls: type[Agent]) -> list[TaskFamily]:
    """Return families of every kind; families of questions for an agent that refuses to act without right answers."""
    for family in probes():
        try:
            Subject(cls, family).make()
        except MetarlError:
            continue
        except Exception:  # told when it is checked
            break
        break
    else:
        return questions()
    return [*probes(), *other_spaces()]
