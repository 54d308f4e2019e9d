"""2D navigation, the point task of the MAML paper."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from metarl.families.batch import State
from metarl.families.distributions import Disc, Uniform
from metarl.families.family import register
from metarl.families.task import Horizon, Parameter, Values

from .plane import PointFamily, distance


@register("navigation-2d")
@dataclass(frozen=True)
class Navigation2D(PointFamily):
    """A point walks to a hidden goal. The reward is minus the distance that is left.

    Reward: -|p - g|_2 after the move. Terminates when |p_x - g_x| and |p_y - g_y| are both below 0.01 m. 100 steps.
    Task: `goal` g, in m, uniform on (-0.5, 0.5)^2. Extrapolation: a ring of radius 0.75 to 1 m around that square.
    """

    source = "Finn, Abbeel and Levine, MAML, ICML 2017; github.com/cbfinn/maml_rl"
    presets = {"maml": {}}
    # The ring lies outside the square's corners, at 0.71 m.
    parameters = {
        "goal": Parameter(Uniform(-0.5, 0.5, (2,)), Disc(1.0, inner=0.75), "m", "where the reward is highest")
    }
    goal_radius, extent = 0.01, 1.1
    horizon: Horizon = 100

    def reward(self, before: State, action: np.ndarray, after: State, task: Values) -> np.ndarray:
        """Return minus the distance to the goal."""
        return -distance(after, task["goal"])

    def terminated(self, state: State, task: Values) -> np.ndarray:
        """Return whether the point is on the goal."""
        near = np.abs(state["position"] - task["goal"]) < 0.01
        return near[:, 0] & near[:, 1]
