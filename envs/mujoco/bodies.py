"""Rules that several MuJoCo bodies share: their starts, common tasks, and the planar walkers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from gymnasium.spaces import Box

from metarl.base.streams import Streams
from metarl.families.batch import State
from metarl.families.distributions import Choice, Circle
from metarl.families.mujoco.family import MujocoFamily
from metarl.families.task import Horizon, Parameter, Values

if TYPE_CHECKING:
    import mujoco

NAGABANDI = "Nagabandi et al., Learning to Adapt in Dynamic, Real-World Environments, ICLR 2019"

DIRECTION = Parameter(Choice((-1.0, 1.0)), meaning="+1 forward, -1 backward")
"""The parameter of tasks that are a direction along x."""
HEADING = Parameter(Circle(1.0), meaning="unit vector to run along")
"""The parameter of tasks that are a direction in the plane."""


def uniform_start(model: mujoco.MjModel, streams: Streams, noise: float) -> tuple[np.ndarray, np.ndarray]:
    """Return positions [world, nq] and velocities [world, nv] with noise U(-noise, noise), as Gymnasium's walkers."""
    off = noise * (2 * streams.uniform((model.nq + model.nv,)) - 1)  # in one draw: walkers fall and start often
    return model.qpos0 + off[:, : model.nq], off[:, model.nq :]


def normal_start(model: mujoco.MjModel, streams: Streams, noise: float) -> tuple[np.ndarray, np.ndarray]:
    """Return positions with noise U(-noise, noise) and velocities with N(0, noise^2), as Gymnasium's runners."""
    qpos = model.qpos0 + noise * (2 * streams.uniform((model.nq,)) - 1)
    return qpos, noise * streams.normal((model.nv,))


def energy(action: np.ndarray) -> np.ndarray:
    """Return |a|^2 of actions [world, *action], float64 [world]."""
    return np.square(action, dtype=np.float64).sum(axis=1)


def along(heading: np.ndarray, velocity: np.ndarray) -> np.ndarray:
    """Return the part of a velocity [world, 2] along a heading, a unit vector [world, 2]. [world]"""
    return velocity[:, 0] * heading[:, 0] + velocity[:, 1] * heading[:, 1]


@dataclass(frozen=True)
class PlanarWalker(MujocoFamily):
    """Gymnasium's Hopper and Walker2d with their reward; a subclass defines when they have fallen."""

    frame_skip = 4
    horizon: Horizon = 200

    @property
    def observation_space(self) -> Box:
        """All positions but x, and all velocities, without bounds."""
        return Box(-np.inf, np.inf, (self.model.nq - 1 + self.model.nv,), dtype=np.float64)

    def initial(self, model: mujoco.MjModel, streams: Streams) -> tuple[np.ndarray, np.ndarray]:
        """Return positions and velocities with noise U(-0.005, 0.005), as Gymnasium does."""
        return uniform_start(model, streams, 5e-3)

    def observation(self, state: State) -> np.ndarray:
        """Return positions but x, and velocities clipped to (-10, 10)."""
        return np.concatenate([state["qpos"][:, 1:], np.clip(state["qvel"], -10.0, 10.0)], axis=1)

    def reward(self, before: State, action: np.ndarray, after: State, task: Values) -> np.ndarray:
        """Return dx/dt + 1 - 0.001 |a|^2, with dx/dt the mean over the step."""
        velocity = (after["qpos"][:, 0] - before["qpos"][:, 0]) / self.dt
        return velocity + 1.0 - 1e-3 * energy(action)
