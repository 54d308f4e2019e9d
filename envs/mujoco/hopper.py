"""Hopper, and the hopper with random physics of each element as the task."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import numpy as np
from pydantic import Field

from metarl.families.batch import State
from metarl.families.family import register
from metarl.families.mujoco.changes import Physics
from metarl.families.task import Values

from .bodies import RAND_PARAM_ENVS, PlanarWalker, rand_params


@dataclass(frozen=True)
class Hopper(PlanarWalker):
    """Gymnasium's Hopper-v5 with its reward. Terminates when it falls."""

    source = "Gymnasium's Hopper-v5"
    shared_doc = """
        Reward: dx/dt + 1 - 0.001 |a|^2, with dx/dt the mean over the step. Terminates when the height is 0.7 m or less,
        the pitch 0.2 rad or more, or any other position or velocity 100 or more. 200 steps.

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
    asset = "hopper.xml"
    gymnasium_id = "Hopper-v5"

    def terminated(self, state: State, task: Values) -> np.ndarray:
        """Return whether the height is 0.7 m or less, the pitch 0.2 rad or more, or another number 100 or more."""
        height, pitch = state["qpos"][:, 1], state["qpos"][:, 2]
        rest = np.concatenate([state["qpos"][:, 2:], state["qvel"]], axis=1)
        return (height <= 0.7) | (np.abs(pitch) >= 0.2) | (np.abs(rest) >= 100.0).any(axis=1)


@register("hopper-rand-params")
@dataclass(frozen=True)
class HopperRandParams(Hopper):
    """A hopper hops with unknown masses, inertias, frictions and dampings.

    Task: a factor without unit for each element. `body_mass` (4 bodies), `body_inertia` (4 bodies, 3 axes) and
    `geom_friction` (5 geoms; sliding, torsional, rolling) have factors 1.5^U(-L, L); `dof_damping` (6 degrees of
    freedom) has 1.3^U(-L, L). L is the setting `log_scale_limit`. Extrapolation: masses 1.5^U(L, L + 1). A step is four
    physics steps of 0.004 s, as in VariBAD's copy of the source. Preset: `varibad`.
    """

    source = RAND_PARAM_ENVS
    presets = {"varibad": {}}
    gymnasium_id = ""
    timestep = 0.004
    log_scale_limit: Annotated[float, Field(gt=0)] = 3.0

    @property
    def physics(self) -> Physics:
        """A factor for each element."""
        return rand_params(self.model, self.log_scale_limit)
