"""What the MuJoCo families share: how Gymnasium's bodies start, and how their docstrings get their tables."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

import numpy as np
from gymnasium import spaces

from metarl.base.streams import Streams
from metarl.families.batch import State
from metarl.families.distributions import LogUniform
from metarl.families.mujoco.changes import Physics, Scale
from metarl.families.mujoco.family import MujocoFamily
from metarl.families.mujoco.targets import shape_of_target
from metarl.families.task import Horizon, Parameter, Values

if TYPE_CHECKING:
    import mujoco

C = TypeVar("C", bound=type)


def described(tables: str) -> Callable[[C], C]:
    """Append the tables of a body's observations and actions to a family's docstring."""

    def decorate(cls: C) -> C:
        cls.__doc__ = f"{inspect.cleandoc(cls.__doc__ or '')}\n\n{inspect.cleandoc(tables)}\n"
        return cls

    return decorate


def uniform_start(model: mujoco.MjModel, streams: Streams, noise: float) -> tuple[np.ndarray, np.ndarray]:
    """Return positions and velocities off by U(-noise, noise) each, as Gymnasium's walkers have."""
    off = noise * (2 * streams.uniform((model.nq + model.nv,)) - 1)  # in one draw: walkers fall and start often
    return model.qpos0 + off[:, : model.nq], off[:, model.nq :]


def normal_start(model: mujoco.MjModel, streams: Streams, noise: float) -> tuple[np.ndarray, np.ndarray]:
    """Return positions off by U(-noise, noise) and velocities off by N(0, noise^2), as Gymnasium's runners have."""
    qpos = model.qpos0 + noise * (2 * streams.uniform((model.nq,)) - 1)
    return qpos, noise * streams.normal((model.nv,))


def energy(action: np.ndarray) -> np.ndarray:
    """Return |a|^2 of actions [world, *action], float64 [world]."""
    return np.square(action, dtype=np.float64).sum(axis=1)


def rand_params(model: mujoco.MjModel, limit: float) -> Physics:
    """Return what rand_param_envs varies: each element by 1.5^U(-limit, limit), dampings by 1.3^U(-limit, limit)."""
    parameters = {}
    changes = {
        field: (Scale(f"{field}[*]"),) for field in ("body_mass", "body_inertia", "dof_damping", "geom_friction")
    }
    for field, (change,) in changes.items():
        base, shape = 1.3 if field == "dof_damping" else 1.5, shape_of_target(model, change.target)
        beyond = LogUniform(base**limit, base ** (limit + 1), shape) if field == "body_mass" else None
        train = LogUniform(base**-limit, base**limit, shape)
        parameters[field] = Parameter(train, beyond, meaning=f"factors of {field}, element by element")
    return Physics(parameters, changes)


@dataclass(frozen=True)
class PlanarWalker(MujocoFamily):
    """Gymnasium's Hopper and Walker2d, paid as there: dx/dt + 1 - 0.001 |a|^2; when they have fallen is left open."""

    horizon: Horizon = 200

    @property
    def observation_space(self) -> spaces.Box:
        """Numbers without bounds."""
        return spaces.Box(-np.inf, np.inf, (self.model.nq - 1 + self.model.nv,), dtype=np.float64)

    def initial(self, model: mujoco.MjModel, streams: Streams) -> tuple[np.ndarray, np.ndarray]:
        """Return positions and velocities off by U(-0.005, 0.005), as Gymnasium does."""
        return uniform_start(model, streams, 5e-3)

    def observation(self, state: State) -> np.ndarray:
        """Return positions but x, and velocities clipped to (-10, 10)."""
        return np.concatenate([state["qpos"][:, 1:], np.clip(state["qvel"], -10.0, 10.0)], axis=1)

    def reward(self, before: State, action: np.ndarray, after: State, task: Values) -> np.ndarray:
        """Return dx/dt + 1 - 0.001 |a|^2, with dx/dt the mean over the step."""
        velocity = (after["qpos"][:, 0] - before["qpos"][:, 0]) / self.dt
        return velocity + 1.0 - 1e-3 * energy(action)
