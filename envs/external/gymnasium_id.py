"""Any environment of Gymnasium, with constructor arguments or fields of its MuJoCo model as the task."""

from __future__ import annotations

import contextlib
import copy
import functools
import inspect
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import gymnasium
import numpy as np
from gymnasium.envs.registration import load_env_creator

from metarl.base.errors import MetarlError, did_you_mean, first_line
from metarl.families.classes import ClassFamily
from metarl.families.distributions import Choice
from metarl.families.family import register
from metarl.families.mujoco.changes import Change, apply, restore
from metarl.families.mujoco.varied import require_applicable
from metarl.families.task import Horizon, Parameter
from metarl.families.variation import Variation, parse_variations

PENDULUM: Mapping[str, Any] = {
    "env": "Pendulum-v1",
    "varies": {
        "g": {
            "train": {"uniform": [5, 15]},
            "extrapolation": {"uniform": [15, 20]},
            "unit": "m/s^2",
            "meaning": "gravity, an argument of the environment",
        }
    },
}
INVERTED_PENDULUM: Mapping[str, Any] = {
    "env": "InvertedPendulum-v5",
    "horizon": 1000,
    "varies": {
        "mass": {
            "train": {"log_uniform": [0.5, 2]},
            "extrapolation": {"log_uniform": [2, 3]},
            "meaning": "factor of the pole's mass, a field of the model",
            "scale": ["body_mass[pole]", "body_inertia[pole]"],
        }
    },
}


@register("gymnasium")
@dataclass(frozen=True)
class AnyGymnasium(ClassFamily):
    """Any environment of Gymnasium, with constructor arguments or model fields as the task.

    Observations, actions and reward are the environment's own. Observations other than arrays are flattened. `env` is
    the environment's id and `arguments` are constructor arguments for every task. `varies` declares the task parameters
    (see `metarl.families.variation.parse_variations`): with `set`, `scale` or `add` a parameter changes a field of the
    MuJoCo model (see `metarl.families.mujoco.changes.Change`), without them it is the constructor argument of its name.
    `horizon` replaces the environment's time limit. Worlds step one after the other; a MuJoCo family of metarl with the
    option `varies` is faster, because it steps all worlds in one native call. Presets, as examples:
    `pendulum-gravity`, `inverted-pendulum-mass`.
    """

    source = "gymnasium.farama.org"
    presets = {
        "pendulum-gravity": PENDULUM,
        "inverted-pendulum-mass": INVERTED_PENDULUM,
    }
    env: str = "Pendulum-v1"
    arguments: Mapping[str, Any] = field(default_factory=dict)
    varies: Mapping[str, Any] = field(default_factory=lambda: PENDULUM["varies"])
    horizon: Horizon = 200

    def __post_init__(self) -> None:
        entry_point = _spec(self.env).entry_point
        twice = [name for name in self.declared if name in self.arguments]
        if twice:
            raise MetarlError(f"varies.{twice[0]} and arguments.{twice[0]} are both given; leave one out")
        if entry_point is None:
            raise MetarlError(
                f"environment {self.env!r} exists in Gymnasium as a vector environment only; take another"
            )
        changed = [name for name, variation in self.declared.items() if variation.changes]
        if changed:
            arguments = self._arguments_of(self.sample("train", 1, seed=0)[0])
            _require_model(changed[0], self._construct(arguments), self.declared)
        self._try_tasks()

    @functools.cached_property
    def declared(self) -> Mapping[str, Variation]:
        """The declared parameters, with their changes of the model."""
        return parse_variations(self.varies)

    @property
    def parameters(self) -> Mapping[str, Parameter]:
        """The declared parameters."""
        return {name: variation.parameter for name, variation in self.declared.items()}

    def make(self, task: dict[str, Any], render_mode: str | None) -> gymnasium.Env[Any, Any]:
        """Return the environment with the task's arguments and model."""
        env = self._construct(self._arguments_of(task), render_mode)
        changes = {name: variation.changes for name, variation in self.declared.items() if variation.changes}
        if changes:
            env = _ModelTask(env, changes)
            env.set_task(task)
        is_array = isinstance(env.observation_space, gymnasium.spaces.Box)
        return env if is_array else gymnasium.wrappers.FlattenObservation(env)

    def change(self, env: gymnasium.Env[Any, Any], task: dict[str, Any]) -> None:
        """Change the model of a running environment. Raises MetarlError where the task has constructor arguments."""
        self.require_changeable()
        while not isinstance(env, _ModelTask):
            env = env.env  # type: ignore[attr-defined]
        env.set_task(task)

    def require_changeable(self) -> None:
        """Raise MetarlError where the task has constructor arguments."""
        for name, variation in self.declared.items():
            if not variation.changes:
                raise MetarlError(
                    f"varies.{name} is a constructor argument of {self.env!r}, which cannot change in a running "
                    "environment; load it without switch_at, or vary fields of its model"
                )

    def _try_tasks(self) -> None:
        """Play one step in a few tasks. Raises MetarlError where the environment's own code fails."""
        for task in self._extreme_tasks():
            try:
                with contextlib.closing(self.make(task, None)) as env:
                    env.action_space.seed(0)
                    env.reset(seed=0)
                    _, _, _, _, _ = env.step(env.action_space.sample())
            except MetarlError:
                raise
            except Exception as error:
                raise MetarlError(
                    f"environment {self.env!r} fails in its first step in task {task}: {first_line(error)}; give "
                    "arguments and ranges that it takes"
                ) from None

    def _extreme_tasks(self) -> list[dict[str, Any]]:
        """Return a task, and for each varied argument two more with the least and the greatest of a few draws."""
        tasks = [self.sample("train", 1, seed=0)[0]]
        for split in self.splits:
            drawn = self.sample(split, 64, seed=0).values
            for name in self._arguments_of(tasks[0]):
                sizes = drawn[name].reshape(64, -1)[:, 0]
                tasks += [{**tasks[0], name: drawn[name][i].tolist()} for i in (sizes.argmin(), sizes.argmax())]
        return tasks

    def _arguments_of(self, task: Mapping[str, Any]) -> dict[str, Any]:
        """Return the constructor arguments of a task."""
        return {name: self._convert(name, value) for name, value in task.items() if not self.declared[name].changes}

    def _convert(self, name: str, value: Any) -> Any:
        """Return a value in the type that the constructor expects: a whole number of a choice becomes an int."""
        is_choice = isinstance(self.declared[name].parameter.train, Choice)
        return int(value) if is_choice and isinstance(value, float) and value.is_integer() else value

    def _construct(self, given: Mapping[str, Any], render_mode: str | None = None) -> gymnasium.Env[Any, Any]:
        arguments = {**self.arguments, **given}
        try:
            # -1 removes the environment's own time limit, which `horizon` replaces.
            return gymnasium.make(
                self.env,
                max_episode_steps=-1,
                disable_env_checker=True,
                render_mode=render_mode,
                **arguments,
            )
        except Exception as error:  # the environment's code may raise anything
            if isinstance(error, TypeError):
                _require_known_arguments(self.env, arguments)
            missing = isinstance(error, (ImportError, gymnasium.error.DependencyNotInstalled))
            remedy = (
                "install its dependency, or take another" if missing else "give arguments that its constructor takes"
            )
            raise MetarlError(
                f"environment {self.env!r} cannot be made with {arguments}: {first_line(error)}; {remedy}"
            ) from None


def _require_known_arguments(env: str, arguments: Mapping[str, Any]) -> None:
    """Raise MetarlError for an argument that the environment's constructor does not have."""
    entry = gymnasium.spec(env).entry_point
    creator = load_env_creator(entry) if isinstance(entry, str) else entry
    if creator is None:
        return
    parameters = inspect.signature(creator).parameters.values()
    known = {each.name for each in parameters} - {"self"}
    if any(each.kind is each.VAR_KEYWORD for each in parameters):
        return
    for name in arguments:
        if name not in known:
            raise MetarlError(f"argument {name!r} is unknown to environment {env!r}; {did_you_mean(name, known)}")


class _ModelTask(gymnasium.Wrapper[Any, Any, Any, Any]):
    """A MuJoCo environment with the model of a task."""

    def __init__(self, env: gymnasium.Env[Any, Any], changes: Mapping[str, tuple[Change, ...]]) -> None:
        super().__init__(env)
        self.changes, self.model = changes, env.unwrapped.model  # type: ignore[attr-defined]
        self.original = copy.copy(self.model)

    def set_task(self, task: Mapping[str, Any]) -> None:
        """Change the model in place, because the environment's data and renderer refer to it."""
        import mujoco

        targets = {change.target for changes in self.changes.values() for change in changes}
        restore(self.model, self.original, targets)
        apply(self.model, self.changes, {name: np.asarray(task[name]) for name in self.changes})
        mujoco.mj_setConst(self.model, mujoco.MjData(self.model))


def _spec(env: str) -> Any:
    try:
        return gymnasium.spec(env)
    except Exception as error:  # an id may name a module, whose import may raise anything
        raise MetarlError(
            f"environment {env!r} is unknown to Gymnasium ({first_line(error)}); "
            f"{did_you_mean(env, gymnasium.registry)}"
        ) from None


def _require_model(first: str, env: gymnasium.Env[Any, Any], declared: Mapping[str, Variation]) -> None:
    model = getattr(env.unwrapped, "model", None)
    env.close()
    if not hasattr(model, "opt"):
        raise MetarlError(
            f"varies.{first} names a field of a MuJoCo model, but the environment has no model; remove set, "
            "scale and add"
        )
    for name, variation in declared.items():
        if any(change.target.startswith("limb_length") for change in variation.changes):
            raise MetarlError(
                f"varies.{name}: limb_length works with families of metarl only; write `family: NAME` instead of `env`"
            )
    require_applicable(model, declared)
