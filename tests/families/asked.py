"""A small family of questions, and what learners make of it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from gymnasium import spaces

from metarl.base.streams import Streams
from metarl.families.batch import State
from metarl.families.distributions import Choice, Uniform
from metarl.families.question_batch import Questions
from metarl.families.questions import QuestionFamily
from metarl.families.task import Count, Measure, Parameter, Reveal, Values
from metarl.trials.agent import Agent, AnsweringLearner, Learner
from metarl.trials.episodes import Episodes, TimeStep

ACCURACY = Measure("accuracy", per_step=True, percent=True)


@dataclass(frozen=True)
class Lines(QuestionFamily):
    """Guess slope times x."""

    parameters = {"slope": Parameter(Uniform(-1.0, 1.0), Uniform(1.0, 2.0))}
    observation_space = spaces.Box(-1.0, 1.0, (1,), np.float32)
    action_space = spaces.Box(-3.0, 3.0, (1,), np.float32)
    shots: Count = 3
    queries: Count = 5
    reveal: Reveal = "round"

    def num_questions(self, number: int) -> int:
        return self.queries if number else self.shots

    def prepare(self, task: Values, streams: Streams) -> State:
        return {"shift": streams.uniform()}

    def ask(self, task: Values, trial: State, number: int, streams: Streams) -> Questions:
        x = streams.uniform((self.num_questions(number), 1)).astype(np.float32)
        x = (x + trial["shift"][:, None, None].astype(np.float32)) / 2
        return Questions(x, task["slope"][:, None, None].astype(np.float32) * x)

    def score(self, answers: np.ndarray, targets: np.ndarray) -> np.ndarray:
        return -np.abs(answers.astype(np.float64) - targets)[..., 0]


@dataclass(frozen=True)
class Bindings(QuestionFamily):
    """Name the one of three kinds that a vector is. Each task has other names for them.

    The first two numbers tell the kind, as a direction; the other six are noise of ten times their size.
    """

    parameters = {"shift": Parameter(Choice((0.0, 1.0, 2.0)))}
    observation_space = spaces.Box(-100.0, 100.0, (8,), np.float32)
    action_space = spaces.Discrete(3)
    shots: Count = 2
    queries: Count = 4
    reveal: Reveal = "round"
    measure = ACCURACY

    def num_questions(self, number: int) -> int:
        return 3 * (self.queries if number else self.shots)

    def ask(self, task: Values, trial: State, number: int, streams: Streams) -> Questions:
        count = self.num_questions(number)
        order = np.argsort(streams.uniform((count,)), axis=1)
        kinds = order % 3
        angle = 2 * np.pi * kinds / 3
        signal = np.stack([np.cos(angle), np.sin(angle)], axis=-1) + 0.1 * streams.normal((count, 2))
        x = np.concatenate([signal, 10 * streams.normal((count, 6))], axis=-1)
        return Questions(x.clip(-100, 100).astype(np.float32), (kinds + task["shift"][:, None].astype(int)) % 3)

    def score(self, answers: np.ndarray, targets: np.ndarray) -> np.ndarray:
        return (answers == targets).astype(np.float64)


class Rote(Agent):
    """Answers `Bindings` by the label that a kind had before; 0 for a kind that it has not met."""

    def begin(self, streams: Streams) -> Learner:
        return RoteLearner(streams.shape)


class RoteLearner(Learner):
    def __init__(self, shape: tuple[int, ...]) -> None:
        self.labels = np.zeros((*shape, 3), dtype=np.int64)
        self.last: np.ndarray | None = None

    def act(self, timestep: TimeStep, *, deterministic: bool) -> np.ndarray:
        x = timestep.observations
        kinds = np.round(np.arctan2(x[..., 1], x[..., 0]) / (2 * np.pi / 3)).astype(int) % 3
        if self.last is not None:
            assert timestep.previous_targets is not None
            np.put_along_axis(self.labels, self.last[..., None], timestep.previous_targets[..., None], axis=2)
        self.last = kinds
        return np.take_along_axis(self.labels, kinds[..., None], axis=2)[..., 0]


class LeastSquares(Agent):
    """Answers by the slope of all points that were revealed."""

    def begin(self, streams: Streams) -> Learner:
        return LeastSquaresLearner(streams.shape[0])


class LeastSquaresLearner(AnsweringLearner):
    def __init__(self, num_tasks: int) -> None:
        self.slope = np.zeros(num_tasks, dtype=np.float32)

    def answer(self, observations: np.ndarray, *, deterministic: bool) -> np.ndarray:
        return observations * self.slope[:, None, None]

    def adapt(self, episodes: Episodes) -> None:
        assert episodes.targets is not None
        x, y = episodes.observations, episodes.targets
        self.slope = ((x * y).sum((0, 2, 3)) / (x * x).sum((0, 2, 3))).astype(np.float32)


class OneByOne(LeastSquares):
    """The same agent, which is asked one question after the other."""

    def begin(self, streams: Streams) -> Learner:
        inner = LeastSquaresLearner(streams.shape[0])

        class Steps(Learner):
            def act(self, timestep: TimeStep, *, deterministic: bool) -> np.ndarray:
                return inner.act(timestep, deterministic=deterministic)

            def adapt(self, episodes: Episodes) -> None:
                inner.adapt(episodes)

        return Steps()


class Watcher(Agent):
    """Keeps every time step and every round that it is shown."""

    def __init__(self) -> None:
        self.timesteps: list[TimeStep] = []
        self.rounds: list[Episodes] = []

    def begin(self, streams: Streams) -> Learner:
        watcher = self

        class Watching(Learner):
            def act(self, timestep: TimeStep, *, deterministic: bool) -> np.ndarray:
                watcher.timesteps.append(timestep)
                return np.zeros((*streams.shape, 1), dtype=np.float32)

            def adapt(self, episodes: Episodes) -> None:
                watcher.rounds.append(episodes)

        return Watching()
