"""Tasks in a running Gymnasium environment: fields of its MuJoCo model, and attributes of its object."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any

import gymnasium
import numpy as np

from metarl.base.errors import MetarlError, did_you_mean
from metarl.families.mujoco.changes import apply, restore
from metarl.families.variation import Variation


def find_model(env: gymnasium.Env[Any, Any]) -> Any:
    """Return the MuJoCo model of an environment, None where it has none.

    Gymnasium's own have it as `model`; those of dm_control, which Shimmy wraps, have it inside their physics.
    """
    inner: Any = env.unwrapped
    for way in (("model",), ("physics", "model", "ptr"), ("_env", "physics", "model", "ptr")):
        found = inner
        for name in way:
            found = getattr(found, name, None)
        if hasattr(found, "opt"):
            return found
    return None


class TaskEnv(gymnasium.Wrapper[Any, Any, Any, Any]):
    """An environment whose MuJoCo model and attributes have the values of a task, in every episode."""

    def __init__(self, env: gymnasium.Env[Any, Any], declared: Mapping[str, Variation]) -> None:
        super().__init__(env)
        self.changes = {name: variation.changes for name, variation in declared.items() if variation.changes}
        self.attributes = {name: variation.attributes for name, variation in declared.items() if variation.attributes}
        self.task: Mapping[str, Any] = {}
        if self.changes:
            self.model = find_model(env)
            self.original = copy.copy(self.model)

    def set_task(self, task: Mapping[str, Any]) -> None:
        """Give the environment another task, whose values have the types that attributes expect."""
        self.task = task
        if self.changes:
            self._change_model(task)
        self._set_attributes()

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        """Begin an episode. An environment may write its attributes anew in a reset, so they are set again."""
        began = super().reset(seed=seed, options=options)
        self._set_attributes()
        return began

    def _set_attributes(self) -> None:
        for name, paths in self.attributes.items():
            for path in paths:
                try:
                    set_attribute(self.env.unwrapped, path, self.task[name])
                except MetarlError as error:
                    raise MetarlError(f"varies.{name}: {error}") from None

    def _change_model(self, task: Mapping[str, Any]) -> None:
        """Change the model in place, because the environment's data and renderer refer to it."""
        import mujoco

        targets = {change.target for changes in self.changes.values() for change in changes}
        restore(self.model, self.original, targets)
        apply(self.model, self.changes, {name: np.asarray(task[name]) for name in self.changes})
        mujoco.mj_setConst(self.model, mujoco.MjData(self.model))


def set_attribute(env: Any, path: str, value: Any) -> None:
    """Set a dotted attribute of an environment's object, unless it has the value already.

    Raises MetarlError for an attribute that does not exist, that is no number, text, boolean or array, that has
    another shape, or that cannot be set.
    """
    *way, name = path.split(".")
    holder = env
    for part in way:
        holder = _get(holder, part, path)
    old = _get(holder, name, path)
    new = _convert(path, old, value)
    if type(new) is type(old) and np.array_equal(np.asarray(new), np.asarray(old)):
        return
    try:
        if isinstance(holder, dict):
            holder[name] = new
        else:
            setattr(holder, name, new)
    except (AttributeError, TypeError) as error:
        raise MetarlError(f"attribute {path!r} cannot be set ({error}); vary an argument of the constructor") from None


def _get(holder: Any, name: str, path: str) -> Any:
    if type(holder).__module__.startswith("mujoco"):
        raise MetarlError(f"attribute {path!r} is a part of the MuJoCo model; vary it by set, scale or add")
    if isinstance(holder, dict) and name in holder:
        return holder[name]
    if not isinstance(holder, dict) and hasattr(holder, name):
        return getattr(holder, name)
    known = [each for each in (holder if isinstance(holder, dict) else vars_of(holder)) if isinstance(each, str)]
    raise MetarlError(
        f"attribute {path!r}: {type(holder).__name__} has no {name!r}; {did_you_mean(name, known or ['none'])}"
    )


def vars_of(thing: Any) -> list[str]:
    """Return the names of an object's own attributes that are not private."""
    return [name for name in getattr(thing, "__dict__", {}) if not name.startswith("_")]


def _convert(path: str, old: Any, value: Any) -> Any:
    """Return a task's value in the type and shape of the attribute's old value."""
    if type(old).__module__.startswith("mujoco"):
        raise MetarlError(f"attribute {path!r} is a part of the MuJoCo model; vary it by set, scale or add")
    if isinstance(old, np.ndarray):
        new = np.asarray(value, dtype=old.dtype)
        if new.shape not in ((), old.shape):
            raise MetarlError(f"attribute {path!r} has shape {old.shape}, its values {new.shape}; give it that shape")
        return np.broadcast_to(new, old.shape).copy()
    if isinstance(old, (list, tuple)):
        if not isinstance(value, list) or len(value) != len(old):
            raise MetarlError(f"attribute {path!r} has {len(old)} elements; draw it with shape: [{len(old)}]")
        return type(old)(value)
    if isinstance(value, list) or not (old is None or isinstance(old, (bool, str, int, float, np.generic))):
        remedy = "name a number in it" if not isinstance(value, list) else "draw one number"
        raise MetarlError(f"attribute {path!r} is of type {type(old).__name__} and takes no {value!r}; {remedy}")
    if old is not None and any(isinstance(old, kind) != isinstance(value, kind) for kind in (bool, str)):
        raise MetarlError(f"attribute {path!r} is {old!r} and takes no {value!r}; draw values of its type")
    whole = isinstance(old, (int, np.integer)) and isinstance(value, float) and value.is_integer()
    return int(value) if whole else value
