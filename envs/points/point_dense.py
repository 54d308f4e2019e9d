"""Dense point goal: walk to a hidden goal anywhere in a square, led by the distance left."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import numpy as np

from metarl.base.streams import Streams
from metarl.families.batch import State
from metarl.families.distributions import Disc, Uniform
from metarl.families.family import register
from metarl.families.task import Horizon, Parameter, Values

from .plane import PointFamily, distance, draw_point

if TYPE_CHECKING:
    from matplotlib.axes import Axes


@register("point-dense")
@dataclass(frozen=True)
class PointDense(PointFamily):
    """A point walks to a goal somewhere in a square; the reward is the distance left.

    | observation | meaning | unit |
    |---|---|---|
    | 0, 1 | position x, y | m |

    | action | meaning | range |
    |---|---|---|
    | 0, 1 | move along x, y | -0.1 to 0.1 m a step |

    Reward: -|p - g|_2 after the move. Never terminates; 20 steps. Task: `goal`, in m, uniform on (-1, 1)^2;
    extrapolation: a ring of radius 1.5 to 2 m around that square. Presets: `origin` (starts at 0, as `point-sparse`
    does), `pearl` (starts uniformly on (-1, 1)^2, as PEARL's `PointEnv` does).
    """

    source: ClassVar[str] = (
        "Rakelly et al., PEARL, ICML 2019; github.com/katerakelly/oyster (rlkit/envs/point_robot.py)"
    )
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {"origin": {}, "pearl": {"start": "square"}}
    start: Literal["origin", "square"] = "origin"
    horizon: Horizon = 20

    @property
    def parameters(self) -> Mapping[str, Parameter]:
        """The goal."""
        # The ring lies outside the square's corners, at 1.41.
        return {"goal": Parameter(Uniform(-1.0, 1.0, (2,)), Disc(2.0, inner=1.5), "m", "where the reward is highest")}

    def initial(self, task: Values, streams: Streams) -> State:
        """Begin at the origin, or anywhere in the square."""
        return super().initial(task, streams) if self.start == "origin" else {"position": 2 * streams.uniform((2,)) - 1}

    def reward(self, before: State, action: np.ndarray, after: State, task: Values) -> np.ndarray:
        """Return minus the distance left."""
        return -distance(after, task["goal"])

    def draw(self, axes: Axes, state: State, task: Values, world: int) -> None:
        """Draw the point and its goal."""
        draw_point(axes, state["position"][world], task["goal"][world], 0.05, extent=2.2)
