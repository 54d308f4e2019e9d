"""Hopper, the body."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from metarl.families.batch import State
from metarl.families.task import Values

from .bodies import PlanarWalker


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
