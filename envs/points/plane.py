"""A point on a plane: the base class of the point families."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

import numpy as np
from gymnasium.spaces import Box

from metarl.base.streams import Streams
from metarl.families.arrays import ArrayFamily
from metarl.families.batch import State
from metarl.families.task import Values

if TYPE_CHECKING:
    from matplotlib.axes import Axes

MAX_MOVE = 0.1
"""Longest move along each axis in one step, m."""


class PointFamily(ArrayFamily):
    """A point that starts at the origin, moves by its action, and observes its position."""

    shared_doc = """
        The point starts at the origin unless a preset says otherwise.

        | observation | meaning | unit |
        |---|---|---|
        | 0, 1 | position x, y | m |

        | action | meaning | range |
        |---|---|---|
        | 0, 1 | move along x, y | -0.1 to 0.1 m a step |
        """
    observation_space = Box(-np.inf, np.inf, (2,), dtype=np.float64)
    action_space = Box(-MAX_MOVE, MAX_MOVE, (2,), dtype=np.float32)
    goal_radius: ClassVar[float]
    """Radius of the goal in pictures, m."""
    extent: ClassVar[float]
    """Pictures show -extent to extent along both axes, m."""

    def initial(self, task: Values, streams: Streams) -> State:
        """Begin at the origin."""
        return {"position": np.zeros((*streams.shape, 2))}

    def transition(self, state: State, action: np.ndarray, task: Values, streams: Streams) -> State:
        """Move by the action, clipped to its range."""
        return {"position": state["position"] + action.clip(-MAX_MOVE, MAX_MOVE)}

    def observation(self, state: State) -> np.ndarray:
        """Return the position."""
        return state["position"]

    def draw(self, axes: Axes, state: State, task: Values, world: int) -> None:
        """Draw the point, its goal and the origin."""
        from matplotlib.patches import Circle

        goal = task["goal"][world]
        axes.add_patch(Circle((float(goal[0]), float(goal[1])), self.goal_radius, color="#0072b2", alpha=0.35))
        axes.plot(*goal, "x", color="#0072b2", label="goal")
        axes.plot(0, 0, "+", color="0.5", label="start")
        axes.plot(*state["position"][world], "o", color="#d55e00", label="agent")
        axes.set(xlim=(-self.extent, self.extent), ylim=(-self.extent, self.extent), aspect="equal")
        axes.legend(loc="upper right", fontsize="small")


def distance(state: State, goal: np.ndarray) -> np.ndarray:
    """Return the Euclidean distance to the goal, [world]."""
    gap = state["position"] - goal
    # Not np.hypot: its vectorised and scalar code round differently, and a batch must equal its single worlds.
    return np.sqrt(np.square(gap[:, 0]) + np.square(gap[:, 1]))
