"""Sparse point goal: search a half circle for a reward that shows only near the goal."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from metarl.families.batch import State
from metarl.families.distributions import Circle
from metarl.families.family import register
from metarl.families.task import Horizon, Parameter, Values

from .plane import PointFamily, distance, draw_point

if TYPE_CHECKING:
    from matplotlib.axes import Axes

GOAL_RADIUS = 0.2
"""Distance within which the goal pays, m."""


@register("point-sparse")
@dataclass(frozen=True)
class PointSparse(PointFamily):
    """A point searches the upper half circle for a goal that pays only within 0.2 m of it.

    | observation | meaning | unit |
    |---|---|---|
    | 0, 1 | position x, y | m |

    | action | meaning | range |
    |---|---|---|
    | 0, 1 | move along x, y | -0.1 to 0.1 m a step |

    Reward: 1 - |p - g|_2 within 0.2 m of the goal, else 0; being within is a success. Never terminates. Starts at the
    origin. Task: `goal`, in m, on the upper half of the unit circle, uniform in angle; extrapolation: the lower half.
    Presets: `pearl` (20 steps), `varibad` (100 steps; its trials have 3 episodes).
    """

    source: ClassVar[str] = (
        "Rakelly et al., PEARL, ICML 2019, github.com/katerakelly/oyster; Zintgraf et al., VariBAD, ICLR 2020, "
        "github.com/lmzintgraf/varibad"
    )
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {"pearl": {}, "varibad": {"horizon": 100}}
    horizon: Horizon = 20

    @property
    def parameters(self) -> Mapping[str, Parameter]:
        """The goal."""
        upper, lower = Circle(1.0, 0.0, math.pi), Circle(1.0, math.pi, 2 * math.pi)
        return {"goal": Parameter(upper, lower, "m", "where the reward is")}

    def reward(self, before: State, action: np.ndarray, after: State, task: Values) -> np.ndarray:
        """Return 1 - distance near the goal, else 0."""
        gap = distance(after, task["goal"])
        return np.where(gap > GOAL_RADIUS, 0.0, 1.0 - gap)

    def success(self, state: State, task: Values) -> np.ndarray:
        """Return whether the point is near the goal."""
        return distance(state, task["goal"]) <= GOAL_RADIUS

    def draw(self, axes: Axes, state: State, task: Values, world: int) -> None:
        """Draw the point and the disc that pays."""
        draw_point(axes, state["position"][world], task["goal"][world], GOAL_RADIUS, extent=1.5)
