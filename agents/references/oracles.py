"""Oracles: agents that are shown the task and play it optimally, where the optimum is known in closed form.

No learner can expect to surpass them. The oracle of tabular MDPs, `value-iteration`, is in mdps.py.
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
    """An oracle that computes the best action from the observation and the task."""

    pools_replicas = False

    def __init__(self, config: NoSettings, family: TaskFamily, *, seed: int, device: str) -> None:
        family = require_family(type(self), family)
        self.space = family.action_space

    def begin_knowing(self, tasks: Tasks, streams: Streams) -> KnowingLearner:
        """Return a learner that plays `tasks` optimally."""
        return KnowingLearner(self, {name: value[:, None] for name, value in tasks.values.items()})

    @abstractmethod
    def best(self, observations: np.ndarray, task: Values) -> np.ndarray:
        """Return the best actions, [task, replica, *action].

        `observations` is [task, replica, *observation]; each value of `task` is [task, 1, *value].
        """


class KnowingLearner(Learner):
    """Takes the best action in tasks that it knows."""

    def __init__(self, agent: KnownOptimum, task: Values) -> None:
        self.agent, self.task = agent, task

    def act(self, timestep: TimeStep, *, deterministic: bool) -> np.ndarray:
        """Return the best actions, [task, replica, *action]; they are the same with `deterministic`."""
        actions = self.agent.best(timestep.observations, self.task)
        return np.asarray(actions, dtype=self.agent.space.dtype)


@register_agent("best-arm")
class BestArm(KnownOptimum):
    """Sees each bandit and pulls its best arm: no learner can expect a higher return."""

    plays: ClassVar[tuple[str, ...]] = ("bernoulli-bandit",)

    def best(self, observations: np.ndarray, task: Values) -> np.ndarray:
        """Return the arm with the highest chance."""
        return np.broadcast_to(task["chances"].argmax(axis=-1), observations.shape[:2])


@register_agent("shortest-path")
class ShortestPath(KnownOptimum):
    """Sees each grid's goal, walks there and stays: no learner can reach a higher return."""

    plays: ClassVar[tuple[str, ...]] = ("gridnavi",)

    def best(self, observations: np.ndarray, task: Values) -> np.ndarray:
        """Return the next move on a shortest path, along x first."""
        x, y = np.moveaxis(task["goal"] - observations, -1, 0)
        return np.select([x > 0, x < 0, y > 0, y < 0], [2, 4, 1, 3], 0)


@register_agent("beeline")
class Beeline(KnownOptimum):
    """Sees each point's goal and moves there at full speed: no learner can reach a higher return.

    The axes move independently, so that no other path has a smaller gap along either axis after any number of steps.
    """

    plays: ClassVar[tuple[str, ...]] = ("navigation-2d", "point-dense", "point-sparse")

    def best(self, observations: np.ndarray, task: Values) -> np.ndarray:
        """Return the gap to the goal, clipped to one step."""
        assert isinstance(self.space, spaces.Box)
        return (task["goal"] - observations).clip(self.space.low, self.space.high)


@register_agent("true-curve")
class TrueCurve(KnownOptimum):
    """Sees the curve of each task and answers with its values: no learner can have a smaller error."""

    plays: ClassVar[tuple[str, ...]] = ("sinusoid",)

    def best(self, observations: np.ndarray, task: Values) -> np.ndarray:
        """Return amplitude sin(x - phase), or slope x + intercept in tasks of lines."""
        of = {name: value[..., None] for name, value in task.items()}
        wave = of["amplitude"] * np.sin(observations - of["phase"])
        return np.where(of["curve"] == 1, of["slope"] * observations + of["intercept"], wave) if "curve" in of else wave
