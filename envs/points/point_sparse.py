"""Sparse point goal: a half circle to search for a reward that shows only near the goal."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from metarl.families.batch import State
from metarl.families.distributions import Circle
from metarl.families.family import register
from metarl.families.task import Horizon, Parameter, Values

from .plane import PointFamily, distance

UPPER, LOWER = Circle(1.0, 0.0, math.pi), Circle(1.0, math.pi, 2 * math.pi)


@register("point-sparse")
@dataclass(frozen=True)
class PointSparse(PointFamily):
    """A point searches the upper half circle for a hidden goal. Only points within 0.2 m of it earn a reward.

    Reward: 1 - |p - g|_2 within 0.2 m of the goal, which is a success, else 0. Never terminates. 20 steps. Task:
    `goal` g, in m, on the upper half of the unit circle, uniform in angle. Extrapolation: the lower half. Presets:
    `pearl`; `varibad`, with 100 steps and 3 episodes a trial.
    """

    source = (
        "Rakelly et al., PEARL, ICML 2019, github.com/katerakelly/oyster; Zintgraf et al., VariBAD, ICLR 2020, "
        "github.com/lmzintgraf/varibad"
    )
    presets = {"pearl": {}, "varibad": {"horizon": 100}}
    parameters = {"goal": Parameter(UPPER, LOWER, "m", "where the reward is")}
    goal_radius, extent = 0.2, 1.5
    horizon: Horizon = 20

    def reward(self, before: State, action: np.ndarray, after: State, task: Values) -> np.ndarray:
        """Return 1 - distance near the goal, else 0."""
        gap = distance(after, task["goal"])
        return np.where(gap > self.goal_radius, 0.0, 1.0 - gap)

    def success(self, state: State, task: Values) -> np.ndarray:
        """Return whether the point is near the goal."""
        return distance(state, task["goal"]) <= self.goal_radius
