"""2D navigation: the point-mass task of the MAML paper."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from metarl.families.batch import State
from metarl.families.distributions import Disc, Uniform
from metarl.families.family import register
from metarl.families.task import Horizon, Parameter, Values

from .plane import PointFamily, distance, draw_point

if TYPE_CHECKING:
    from matplotlib.axes import Axes


@register("navigation-2d")
@dataclass(frozen=True)
class Navigation2D(PointFamily):
    """A point on the plane walks to a goal that it is not shown; the reward is the distance left.

    | observation | meaning | unit |
    |---|---|---|
    | 0, 1 | position x, y | m |

    | action | meaning | range |
    |---|---|---|
    | 0, 1 | move along x, y | -0.1 to 0.1 m a step |

    Reward: -|p - g|_2 after the move. Ends when both |p_x - g_x| and |p_y - g_y| are below 0.01 m. Starts at the origin.
    Task: `goal`, in m, uniform on (-0.5, 0.5)^2; extrapolation: a ring of radius 0.75 to 1 m around that square.
    """

    source: ClassVar[str] = "Finn, Abbeel and Levine, MAML, ICML 2017; github.com/cbfinn/maml_rl"
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {"maml": {}}
    horizon: Horizon = 100

    @property
    def parameters(self) -> Mapping[str, Parameter]:
        """The goal."""
        # The ring lies outside the square's corners, at 0.71.
        return {"goal": Parameter(Uniform(-0.5, 0.5, (2,)), Disc(1.0, inner=0.75), "m", "where the reward is highest")}

    def reward(self, before: State, action: np.ndarray, after: State, task: Values) -> np.ndarray:
        """Return minus the distance left."""
        return -distance(after, task["goal"])

    def terminated(self, state: State, task: Values) -> np.ndarray:
        """Return whether the point is on the goal."""
        near = np.abs(state["position"] - task["goal"]) < 0.01
        return near[:, 0] & near[:, 1]

    def draw(self, axes: Axes, state: State, task: Values, world: int) -> None:
        """Draw the point and its goal."""
        draw_point(axes, state["position"][world], task["goal"][world], 0.01, extent=1.1)
