"""Walker2d whose task is its physics, each element by itself."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar

import numpy as np
from pydantic import Field

from metarl.families.batch import State
from metarl.families.family import register
from metarl.families.mujoco.changes import Physics
from metarl.families.task import Values

from .bodies import PlanarWalker, described, rand_params

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
class Walker2d(PlanarWalker):
    """Gymnasium's Walker2d paid as there: dx/dt + 1 - 0.001 |a|^2, ends when height or pitch leave their range."""

    source: ClassVar[str] = "Gymnasium's Walker2d-v5"
    asset: ClassVar[str] = "walker2d_v5.xml"
    gymnasium_id: ClassVar[str] = "Walker2d-v5"
    frame_skip: ClassVar[int] = 4

    def terminated(self, state: State, task: Values) -> np.ndarray:
        """Return whether the height is out of (0.8, 2) m or the pitch out of (-1, 1) rad."""
        height, pitch = state["qpos"][:, 1], state["qpos"][:, 2]
        return (height <= 0.8) | (height >= 2.0) | (np.abs(pitch) >= 1.0)


@register("walker2d-rand-params")
@described(WALKER2D_TABLES)
@dataclass(frozen=True)
class Walker2dRandParams(Walker2d):
    """A walker runs with masses, inertias, frictions and dampings that it is not told.

    Reward: dx/dt + 1 - 0.001 |a|^2. Ends when the height leaves (0.8, 2) m or the pitch (-1, 1) rad. Task, each a
    factor of its own for each element and no unit: `body_mass` (7 bodies), `body_inertia` (7 bodies, 3 axes) and
    `geom_friction` (8 geoms; sliding, torsional, rolling), 1.5^U(-L, L); `dof_damping` (9 degrees of freedom),
    1.3^U(-L, L), with L the setting `log_scale_limit`; extrapolation: masses 1.5^U(L, L + 1). 200 steps of four
    physics steps of 0.004 s, as VariBAD's copy of the source has it. Preset: `varibad`.
    """

    source: ClassVar[str] = "github.com/dennisl88/rand_param_envs, as in github.com/lmzintgraf/varibad"
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {"varibad": {}}
    asset: ClassVar[str] = "walker2d.xml"
    gymnasium_id: ClassVar[str] = ""
    timestep: ClassVar[float] = 0.004
    log_scale_limit: Annotated[float, Field(gt=0)] = 3.0

    @property
    def physics(self) -> Physics:
        """A factor for each element."""
        return rand_params(self.model, self.log_scale_limit)
