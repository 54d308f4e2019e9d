"""What the MuJoCo families share: how Gymnasium's bodies start, and how their docstrings get their tables."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, TypeVar

import numpy as np

from metarl.distributions import LogUniform
from metarl.dynamics import Change, Scale, shape_of_target
from metarl.streams import Streams
from metarl.task import Parameter

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
    qpos = model.qpos0 + noise * (2 * streams.uniform((model.nq,)) - 1)
    return qpos, noise * (2 * streams.uniform((model.nv,)) - 1)


def normal_start(model: mujoco.MjModel, streams: Streams, noise: float) -> tuple[np.ndarray, np.ndarray]:
    """Return positions off by U(-noise, noise) and velocities off by N(0, noise^2), as Gymnasium's runners have."""
    qpos = model.qpos0 + noise * (2 * streams.uniform((model.nq,)) - 1)
    return qpos, noise * streams.normal((model.nv,))


def energy(action: np.ndarray) -> np.ndarray:
    """Return |a|^2 of actions [world, *action], float64 [world]."""
    return np.square(action, dtype=np.float64).sum(axis=1)


RAND_PARAMS: Mapping[str, tuple[Change, ...]] = {
    field: (Scale(f"{field}[*]"),) for field in ("body_mass", "body_inertia", "dof_damping", "geom_friction")
}
"""The fields of the model that rand_param_envs scales, each element by itself."""


def rand_params(model: mujoco.MjModel, limit: float) -> Mapping[str, Parameter]:
    """Return the parameters of rand_param_envs: 1.5^U(-limit, limit) for each element, of dampings 1.3^U(-limit, limit)."""
    parameters = {}
    for field, (change,) in RAND_PARAMS.items():
        base, shape = 1.3 if field == "dof_damping" else 1.5, shape_of_target(model, change.target)
        beyond = LogUniform(base**limit, base ** (limit + 1), shape) if field == "body_mass" else None
        train = LogUniform(base**-limit, base**limit, shape)
        parameters[field] = Parameter(train, beyond, meaning=f"factors of {field}, element by element")
    return parameters
