"""Swimmer, the body."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from gymnasium.spaces import Box

from metarl.base.streams import Streams
from metarl.families.batch import State
from metarl.families.mujoco.family import MujocoFamily
from metarl.families.task import Horizon, Values

from .bodies import energy, uniform_start

if TYPE_CHECKING:
    import mujoco


@dataclass(frozen=True)
class Swimmer(MujocoFamily):
    """Gymnasium's Swimmer-v5 with its reward. Never terminates."""

    source = "Gymnasium's Swimmer-v5"
    shared_doc = """
        Reward: dx/dt - 0.0001 |a|^2, with dx/dt the mean over the step. Never terminates. 200 steps.

        | observation | meaning | unit |
        |---|---|---|
        | 0 | angle of the front link to the x axis | rad |
        | 1, 2 | angles of the two joints | rad |
        | 3, 4 | velocity of the front link's tip along x, y | m/s |
        | 5-7 | angular velocities of the front link and of the joints | rad/s |

        | action | meaning | range |
        |---|---|---|
        | 0, 1 | torques at the two joints | -1 to 1 of each motor's gear |
        """
    asset = "swimmer.xml"
    gymnasium_id = "Swimmer-v5"
    frame_skip = 4
    observation_space = Box(-np.inf, np.inf, (8,), dtype=np.float64)
    horizon: Horizon = 200

    def initial(self, model: mujoco.MjModel, streams: Streams) -> tuple[np.ndarray, np.ndarray]:
        """Return positions and velocities with noise U(-0.1, 0.1), as Gymnasium does."""
        return uniform_start(model, streams, 0.1)

    def observation(self, state: State) -> np.ndarray:
        """Return positions but x and y, and velocities."""
        return np.concatenate([state["qpos"][:, 2:], state["qvel"]], axis=1)

    def reward(self, before: State, action: np.ndarray, after: State, task: Values) -> np.ndarray:
        """Return dx/dt - 0.0001 |a|^2, with dx/dt the mean over the step."""
        return (after["qpos"][:, 0] - before["qpos"][:, 0]) / self.dt - 1e-4 * energy(action)
