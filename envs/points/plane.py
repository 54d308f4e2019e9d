"""What the families of points on a plane share: how a point moves, and how it is drawn."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from gymnasium import spaces

from metarl.base.streams import Streams
from metarl.families.arrays import ArrayFamily
from metarl.families.batch import State
from metarl.families.task import Values

if TYPE_CHECKING:
    from matplotlib.axes import Axes

MAX_MOVE = 0.1
"""Longest move along each axis in one step."""


@dataclass(frozen=True)
class PointFamily(ArrayFamily):
    """A point that starts at the origin, moves as it likes, and sees where it is; the reward is left open."""

    @property
    def observation_space(self) -> spaces.Box:
        """Position."""
        return spaces.Box(-np.inf, np.inf, (2,), dtype=np.float64)

    @property
    def action_space(self) -> spaces.Box:
        """Move."""
        return spaces.Box(-MAX_MOVE, MAX_MOVE, (2,), dtype=np.float32)

    def initial(self, task: Values, streams: Streams) -> State:
        """Begin at the origin."""
        return {"position": np.zeros((*streams.shape, 2))}

    def transition(self, state: State, action: np.ndarray, task: Values, streams: Streams) -> State:
        """Move, at most as far as is allowed."""
        return {"position": state["position"] + action.clip(-MAX_MOVE, MAX_MOVE)}

    def observation(self, state: State) -> np.ndarray:
        """Return the position."""
        return state["position"]


def distance(state: State, goal: np.ndarray) -> np.ndarray:
    """Return the Euclidean distance to the goal, [world]."""
    gap = state["position"] - goal
    # Not np.hypot: its vectorised and scalar code round differently, and a batch must equal its single worlds.
    return np.sqrt(np.square(gap[:, 0]) + np.square(gap[:, 1]))


def draw_point(axes: Axes, position: np.ndarray, goal: np.ndarray, goal_radius: float, extent: float) -> None:
    """Draw one point, its goal (a disc of `goal_radius`) and the origin."""
    from matplotlib.patches import Circle

    axes.add_patch(Circle((float(goal[0]), float(goal[1])), goal_radius, color="#0072b2", alpha=0.35))
    axes.plot(*goal, "x", color="#0072b2", label="goal")
    axes.plot(0, 0, "+", color="0.5", label="start")
    axes.plot(*position, "o", color="#d55e00", label="agent")
    axes.set(xlim=(-extent, extent), ylim=(-extent, extent), aspect="equal")
    axes.legend(loc="upper right", fontsize="small")
