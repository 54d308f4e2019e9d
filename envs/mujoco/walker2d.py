"""Walker2d, and the walker with random physics of each element as the task."""

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
class Walker2d(PlanarWalker):
    """Gymnasium's Walker2d-v5 with its reward. Terminates when height or pitch leave their range."""

    source = "Gymnasium's Walker2d-v5"
    shared_doc = """
        Reward: dx/dt + 1 - 0.001 |a|^2, with dx/dt the mean over the step. Terminates when the height leaves
        (0.8, 2) m or the pitch (-1, 1) rad. 200 steps.

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
    asset = "walker2d_v5.xml"
    gymnasium_id = "Walker2d-v5"

    def terminated(self, state: State, task: Values) -> np.ndarray:
        """Return whether the height is out of (0.8, 2) m or the pitch out of (-1, 1) rad."""
        height, pitch = state["qpos"][:, 1], state["qpos"][:, 2]
        return (height <= 0.8) | (height >= 2.0) | (np.abs(pitch) >= 1.0)


@register("walker2d-rand-params")
@dataclass(frozen=True)
class Walker2dRandParams(Walker2d):
    """A walker walks with unknown masses, inertias, frictions and dampings.

    Task: a factor without unit for each element. `body_mass` (7 bodies), `body_inertia` (7 bodies, 3 axes) and
    `geom_friction` (8 geoms; sliding, torsional, rolling) have factors 1.5^U(-L, L); `dof_damping` (9 degrees of
    freedom) has 1.3^U(-L, L). L is the setting `log_scale_limit`. Extrapolation: masses 1.5^U(L, L + 1). A step is four
    physics steps of 0.004 s, as in VariBAD's copy of the source. Preset: `varibad`.
    """

    source = RAND_PARAM_ENVS
    presets = {"varibad": {}}
    asset = "walker2d.xml"
    gymnasium_id = ""
    timestep = 0.004
    log_scale_limit: Annotated[float, Field(gt=0)] = 3.0

    @property
    def physics(self) -> Physics:
        """A factor for each element."""
        return rand_params(self.model, self.log_scale_limit)
