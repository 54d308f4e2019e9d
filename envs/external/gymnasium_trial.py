"""A few steps in the extreme tasks of a declared family, before anybody trains on it."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from typing import Any, Protocol

import gymnasium
import numpy as np

from metarl.base.errors import MetarlError, first_line
from metarl.families.task import Tasks
from metarl.families.variation import Variation

EFFECT_STEPS = 100
"""Steps of an episode that looks for the effect of an attribute."""


class Declared(Protocol):
    """The part of a declared family that is tried."""

    @property
    def env(self) -> str:
        """Id of the environment."""
        ...

    @property
    def declared(self) -> Mapping[str, Variation]:
        """Its parameters."""
        ...

    @property
    def splits(self) -> tuple[str, ...]:
        """Its splits."""
        ...

    def sample(self, split: str, num_tasks: int, *, seed: int, start: int = 0) -> Tasks:
        """Return tasks of a split."""
        ...

    def make(self, task: dict[str, Any], render_mode: str | None) -> gymnasium.Env[Any, Any]:
        """Return the environment of a task."""
        ...


def try_tasks(family: Declared) -> None:
    """Play one step in a few tasks, and look for the effect of each varied attribute.

    Raises MetarlError where the environment's own code fails, where tasks have different spaces, and where an attribute
    changes nothing.
    """
    first: gymnasium.Env[Any, Any] | None = None
    usual = family.sample("train", 1, seed=0)[0]
    for task in [usual, *_extreme_tasks(family, usual)]:
        with _told(family, task), contextlib.closing(family.make(task, None)) as env:
            env.action_space.seed(0)
            env.reset(seed=0)
            _, _, _, _, _ = env.step(env.action_space.sample())
            first = first or env
            _require_same_spaces(family, first, usual, env, task)
    for name, variation in family.declared.items():
        if variation.attributes and variation.parameter.train.num_values != 1:
            _require_effect(family, name, usual)


@contextlib.contextmanager
def _told(family: Declared, task: Mapping[str, Any]) -> Iterator[None]:
    """Tell an error of the environment's own code in one line with the task."""
    try:
        yield
    except MetarlError:
        raise
    except Exception as error:
        raise MetarlError(
            f"environment {family.env!r} fails in its first step in task {_show(family, task)}: {first_line(error)}; "
            "give arguments and ranges that it takes"
        ) from None


def _extreme_tasks(family: Declared, usual: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """Yield, for each argument or attribute, two tasks with the least and the greatest of a few draws."""
    for split in family.splits:
        drawn = family.sample(split, 64, seed=0).values
        for name, variation in family.declared.items():
            if not variation.changes:
                sizes = drawn[name].reshape(64, -1)[:, 0]
                for i in (sizes.argmin(), sizes.argmax()):
                    yield {**usual, name: drawn[name][i].tolist()}


def _require_same_spaces(
    family: Declared, first: gymnasium.Env[Any, Any], usual: Mapping[str, Any], env: gymnasium.Env[Any, Any], task: Any
) -> None:
    for what in ("observation_space", "action_space"):
        one, other = getattr(first, what), getattr(env, what)
        if type(one) is not type(other) or one.shape != other.shape or getattr(one, "n", 0) != getattr(other, "n", 0):
            raise MetarlError(
                f"environment {family.env!r} has {what.replace('_', ' ')} {_brief(one)} in task {_show(family, usual)} "
                f"and {_brief(other)} in task {_show(family, task)}; an agent needs one: choose values that keep it, "
                "or add a wrapper that does"
            )


def _show(family: Declared, task: Mapping[str, Any]) -> dict[str, Any]:
    """Return a task with the values that its numbers stand for."""
    return {name: family.declared[name].parameter.train.decode(value) for name, value in task.items()}


def _brief(space: Any) -> str:
    return f"{type(space).__name__}{getattr(space, 'n', space.shape)}"


def _require_effect(family: Declared, name: str, usual: Mapping[str, Any]) -> None:
    """Raise MetarlError where an attribute, varied alone, changes neither observations nor rewards."""
    drawn = family.sample("train", 64, seed=0).values[name]
    sizes = drawn.reshape(64, -1)[:, 0]
    low, high = ({**usual, name: drawn[i].tolist()} for i in (sizes.argmin(), sizes.argmax()))
    for repeats in (False, True):
        with contextlib.closing(family.make(low, None)) as one, contextlib.closing(family.make(high, None)) as other:
            if _differ(one, other, repeats):
                return
    paths = ", ".join(family.declared[name].attributes)
    raise MetarlError(
        f"varies.{name}: attribute {paths} of environment {family.env!r} changes neither observations nor rewards in "
        f"{EFFECT_STEPS} steps; the environment may compute others from it when it is made, as CartPole computes "
        "total_mass from masscart: vary those, or an argument"
    )


def _differ(one: gymnasium.Env[Any, Any], other: gymnasium.Env[Any, Any], repeats: bool) -> bool:
    """Return whether two environments differ in an episode of the same seed and actions, random or repeated."""
    one.action_space.seed(0)
    seen, _ = one.reset(seed=0)
    also, _ = other.reset(seed=0)
    action = one.action_space.sample()
    for _ in range(EFFECT_STEPS):
        if not _equal(seen, also):
            return True
        seen, reward, *ends, _ = one.step(action)
        also, other_reward, *other_ends, _ = other.step(action)
        if reward != other_reward or ends != other_ends:
            return True
        if any(ends):
            seen, _ = one.reset()
            also, _ = other.reset()
        action = action if repeats else one.action_space.sample()
    return not _equal(seen, also)


def _equal(one: Any, other: Any) -> bool:
    return np.array_equal(one, other, equal_nan=bool(np.issubdtype(np.asarray(one).dtype, np.floating)))
