"""Dense point goal: a hidden goal anywhere in a square, with the distance as reward."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from metarl.base.streams import Streams
from metarl.families.batch import State
from metarl.families.distributions import Disc, Uniform
from metarl.families.family import register
from metarl.families.task import Horizon, Parameter, Values

from .plane import PointFamily, distance


@register("point-dense")
@dataclass(frozen=True)
class PointDense(PointFamily):
    """A point walks to a hidden goal in a square. The reward is minus the distance that is left.

    Reward: -|p - g|_2 after the move. Never terminates. 20 steps. Task: `goal` g, in m, uniform on (-1, 1)^2.
    Extrapolation: a ring of radius 1.5 to 2 m around that square. Presets: `origin`; `pearl`, which starts uniformly
    on (-1, 1)^2, as PEARL's `PointEnv` does.
    """

    source = "Rakelly et al., PEARL, ICML 2019; github.com/katerakelly/oyster (rlkit/envs/point_robot.py)"
    presets = {"origin": {}, "pearl": {"start": "square"}}
    # The ring lies outside the square's corners, at 1.41 m.
    parameters = {"goal": Parameter(Uniform(-1.0, 1.0, (2,)), Disc(2.0, inner=1.5), "m", "where the reward is highest")}
    goal_radius, extent = 0.05, 2.2
    start: Literal["origin", "square"] = "origin"
    horizon: Horizon = 20

    def initial(self, task: Values, streams: Streams) -> State:
        """Begin at the origin, or anywhere in the square."""
        return super().initial(task, streams) if self.start == "origin" else {"position": 2 * streams.uniform((2,)) - 1}

    def reward(self, before: State, action: np.ndarray, after: State, task: Values) -> np.ndarray:
        """Return minus the distance to the goal."""
        return -distance(after, task["goal"])
