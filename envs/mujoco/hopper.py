"""Hopper whose task is its physics, each element by itself."""

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

HOPPER_TABLES = """
    | observation | meaning | unit |
    |---|---|---|
    | 0 | height of the torso | m |
    | 1 | pitch of the torso | rad |
    | 2-4 | angles: thigh, leg, foot | rad |
    | 5, 6 | velocity of the torso along x, z, clipped to (-10, 10) | m/s |
    | 7-10 | angular velocities of the torso and of the joints, in the same order, clipped to (-10, 10) | rad/s |

    | action | meaning | range |
    |---|---|---|
    | 0-2 | torques: thigh, leg, foot | -1 to 1 of each motor's gear |
"""


@dataclass(frozen=True)
class Hopper(PlanarWalker):
    """Gymnasium's Hopper paid as there: dx/dt + 1 - 0.001 |a|^2, ends when it falls."""

    source: ClassVar[str] = "Gymnasium's Hopper-v5"
    asset: ClassVar[str] = "hopper.xml"
    gymnasium_id: ClassVar[str] = "Hopper-v5"
    frame_skip: ClassVar[int] = 4

    def terminated(self, state: State, task: Values) -> np.ndarray:
        """Return whether the height is 0.7 m or less, the pitch 0.2 rad or more, or another number 100 or more."""
        height, pitch = state["qpos"][:, 1], state["qpos"][:, 2]
        rest = np.concatenate([state["qpos"][:, 2:], state["qvel"]], axis=1)
        return (height <= 0.7) | (np.abs(pitch) >= 0.2) | (np.abs(rest) >= 100.0).any(axis=1)


@register("hopper-rand-params")
@described(HOPPER_TABLES)
@dataclass(frozen=True)
class HopperRandParams(Hopper):
    """A hopper hops with masses, inertias, frictions and dampings that it is not told.

    Reward: dx/dt + 1 - 0.001 |a|^2. Ends when the height is 0.7 m or less, the pitch 0.2 rad or more, or any other
    position or velocity 100 or more. Task, each a factor of its own for each element and no unit: `body_mass` (4
    bodies), `body_inertia` (4 bodies, 3 axes) and `geom_friction` (5 geoms; sliding, torsional, rolling), 1.5^U(-L, L);
    `dof_damping` (6 degrees of freedom), 1.3^U(-L, L), with L the setting `log_scale_limit`; extrapolation: masses
    1.5^U(L, L + 1). 200 steps of four physics steps of 0.004 s, as VariBAD's copy of the source has it. Preset:
    `varibad`.
    """

    source: ClassVar[str] = "github.com/dennisl88/rand_param_envs, as in github.com/lmzintgraf/varibad"
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {"varibad": {}}
    gymnasium_id: ClassVar[str] = ""
    timestep: ClassVar[float] = 0.004
    log_scale_limit: Annotated[float, Field(gt=0)] = 3.0

    @property
    def physics(self) -> Physics:
        """A factor for each element."""
        return rand_params(self.model, self.log_scale_limit)
