"""Oracles: agents that are shown the task and play it optimally, where that is known in closed form.

What no learner can surpass; none of them learns. `value-iteration`, beside the references for tabular MDPs, is another.
"""

from __future__ import annotations

from abc import abstractmethod
from typing import ClassVar

import numpy as np
from gymnasium import spaces

from metarl.base.streams import Streams
from metarl.families.family import TaskFamily
from metarl.families.task import Tasks, Values
from metarl.trials.agent import Learner, NoSettings, Oracle
from metarl.trials.episodes import TimeStep
from metarl.trials.registered import register_agent

from .common import require_family


class KnownOptimum(Oracle):
    """An oracle whose best action follows from the observation and the task."""

    pools_replicas = False

    def __init__(self, config: NoSettings, family: TaskFamily, *, seed: int, device: str) -> None:
        require_family(type(self), family)
        self.space = family.action_space

    def begin_knowing(self, tasks: Tasks, streams: Streams) -> KnowingLearner:
        """Return a learner that plays `tasks` optimally."""
        return KnowingLearner(self, {name: value[:, None] for name, value in tasks.values.items()})

    @abstractmethod
    def best(self, observations: np.ndarray, task: Values) -> np.ndarray:
        """Return the best actions [task, replica, *action].

        From observations [task, replica, *observation] and the task's values, each [task, 1, *value].
        """


class KnowingLearner(Learner):
    """Does what is best in tasks that it knows."""

    def __init__(self, agent: KnownOptimum, task: Values) -> None:
        self.agent, self.task = agent, task

    def act(self, timestep: TimeStep, *, deterministic: bool) -> np.ndarray:
        """Return the best actions [task, replica, *action]; nothing of them is random."""
        actions = self.agent.best(timestep.observations, self.task)
        return np.asarray(actions, dtype=self.agent.space.dtype)


@register_agent("best-arm")
class BestArm(KnownOptimum):
    """Is shown each bandit and pulls its best arm: what no learner can expect to surpass."""

    plays: ClassVar[tuple[str, ...]] = ("bernoulli-bandit",)

    def best(self, observations: np.ndarray, task: Values) -> np.ndarray:
        """Return the arm of the highest chance."""
        return np.broadcast_to(task["chances"].argmax(axis=-1), observations.shape[:2])


@register_agent("shortest-path")
class ShortestPath(KnownOptimum):
    """Is shown each grid's goal, walks there and stays: what no learner can surpass."""

    plays: ClassVar[tuple[str, ...]] = ("gridnavi",)

    def best(self, observations: np.ndarray, task: Values) -> np.ndarray:
        """Return the next move on a shortest way; x first."""
        x, y = np.moveaxis(task["goal"] - observations, -1, 0)
        return np.select([x > 0, x < 0, y > 0, y < 0], [2, 4, 1, 3], 0)


@register_agent("beeline")
class Beeline(KnownOptimum):
    """Is shown each point's goal and moves there as fast as it may: what no learner can surpass.

    Each axis moves by itself, so that each step leaves both gaps as small as any way could by then.
    """

    plays: ClassVar[tuple[str, ...]] = ("navigation-2d", "point-dense", "point-sparse")

    def best(self, observations: np.ndarray, task: Values) -> np.ndarray:
        """Return the gap to the goal, as far as a step goes."""
        assert isinstance(self.space, spaces.Box)
        return (task["goal"] - observations).clip(self.space.low, self.space.high)
