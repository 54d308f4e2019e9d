"""Walker2d, the body."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from metarl.families.batch import State
from metarl.families.task import Values

from .bodies import PlanarWalker


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
