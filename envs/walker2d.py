"""Walker2d whose task is its physics, each element by itself."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, ClassVar

import numpy as np
from gymnasium import spaces
from pydantic import Field

from metarl.dynamics import Change
from metarl.families import MujocoFamily, State
from metarl.streams import Streams
from metarl.task import Horizon, Parameter, Values, register

from .bodies import RAND_PARAMS, described, energy, rand_params, uniform_start

if TYPE_CHECKING:
    import mujoco

RESET_NOISE = 5e-3

WALKER2D_TABLES = """
    | observation | meaning | unit |
    |---|---|---|
    | 0 | height of the torso | m |
    | 1 | pitch of the torso | rad |
    | 2-7 | angles: right thigh, leg, foot; left thigh, leg, foot | rad |
    | 8, 9 | velocity of the torso along x, z, clipped to (-10, 10) | m/s |
    | 10-16 | angular velocities of the torso and of the joints, in the same order, clipped to (-10, 10) | rad/s |

    | action | meaning | range |
    |---|---|---|
    | 0-5 | torques: right thigh, leg, foot; left thigh, leg, foot | -1 to 1 of each motor's gear |
"""


@dataclass(frozen=True)
class Walker2d(MujocoFamily):
    """Gymnasium's Walker2d paid as there: dx/dt + 1 - 0.001 |a|^2, ends when height or pitch leave their range."""

    source: ClassVar[str] = "Gymnasium's Walker2d-v5"
    asset: ClassVar[str] = "walker2d_v5.xml"
    gymnasium_id: ClassVar[str] = "Walker2d-v5"
    frame_skip: ClassVar[int] = 4
    horizon: Horizon = 200

    @property
    def observation_space(self) -> spaces.Box:
        """17 numbers without bounds."""
        return spaces.Box(-np.inf, np.inf, (17,), dtype=np.float64)

    def initial(self, model: mujoco.MjModel, streams: Streams) -> tuple[np.ndarray, np.ndarray]:
        """Return positions and velocities off by U(-0.005, 0.005), as Gymnasium does."""
        return uniform_start(model, streams, RESET_NOISE)

    def observation(self, state: State) -> np.ndarray:
        """Return positions but x, and velocities clipped."""
        return np.concatenate([state["qpos"][:, 1:], np.clip(state["qvel"], -10.0, 10.0)], axis=1)

    def reward(self, before: State, action: np.ndarray, after: State, task: Values) -> np.ndarray:
        """Return dx/dt + 1 - 0.001 |a|^2, with dx/dt the mean over the step."""
        velocity = (after["qpos"][:, 0] - before["qpos"][:, 0]) / self.dt
        return velocity + 1.0 - 1e-3 * energy(action)

    def terminated(self, state: State, task: Values) -> np.ndarray:
        """Return whether the height is out of (0.8, 2) m or the pitch out of (-1, 1) rad."""
        height, pitch = state["qpos"][:, 1], state["qpos"][:, 2]
        return (height <= 0.8) | (height >= 2.0) | (np.abs(pitch) >= 1.0)


@register("walker2d-rand-params")
@described(WALKER2D_TABLES)
@dataclass(frozen=True)
class Walker2dRandParams(Walker2d):
    """A walker runs with masses, inertias, frictions and dampings that it is not told.

    Reward: dx/dt + 1 - 0.001 |a|^2. Ends when the height leaves (0.8, 2) m or the pitch (-1, 1) rad. Task, each a factor of its own for each
    element and no unit: `body_mass` (7 bodies), `body_inertia` (7 bodies, 3 axes) and `geom_friction` (8 geoms; sliding, torsional, rolling), 1.5^U(-L, L);
    `dof_damping` (9 degrees of freedom), 1.3^U(-L, L), with L the setting `log_scale_limit`; extrapolation: masses 1.5^U(L, L + 1). 200 steps of five physics steps
    of 0.002 s, on the walker model of Gymnasium's v4, as in the source. Preset: `varibad`.
    """

    source: ClassVar[str] = "github.com/dennisl88/rand_param_envs, as used by PEARL, ProMP and VariBAD"
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {"varibad": {}}
    asset: ClassVar[str] = "walker2d.xml"
    gymnasium_id: ClassVar[str] = ""
    frame_skip: ClassVar[int] = 5
    log_scale_limit: Annotated[float, Field(gt=0)] = 3.0

    @property
    def parameters(self) -> Mapping[str, Parameter]:
        """A factor for each element."""
        return rand_params(self.model, self.log_scale_limit)

    @property
    def changes(self) -> Mapping[str, tuple[Change, ...]]:
        """Each scales the field of its name."""
        return RAND_PARAMS
