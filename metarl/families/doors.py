"""What environments that others wrote may return: its form, shapes and types, checked before it is stored.

A fault is told as the end of a sentence. `BatchedEnv` puts the family, the task and the step in front of it, and checks
that numbers are finite.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, NoReturn

import numpy as np

from ..base.errors import MetarlError, first_line, is_lack_of_memory
from .layout import Layout

STEP = ("observation", "reward", "terminated", "truncated", "info")
"""The values that a step returns."""
RESET = ("observation", "info")
"""The values that a reset returns."""


class WorldError(Exception):
    """A fault of an environment, or with a cause an exception of its author's code, in one world of a batch."""

    def __init__(self, fault: str, world: int | None = None) -> None:
        super().__init__(fault)
        self.fault, self.world = fault, world


def raise_in_world(error: BaseException, world: int) -> NoReturn:
    """Raise the exception of an author's code as a WorldError. Those that need no more words pass as they are."""
    if isinstance(error, MetarlError) or is_lack_of_memory(error):
        raise error
    raise WorldError(first_line(error), world) from error


def read_result(result: Any, names: tuple[str, ...], world: int | None = None) -> tuple[Any, ...]:
    """Return the values that `reset` or `step` returned. Raises WorldError unless it is a tuple of `names`.

    A list of two numbers is no pair of an observation and an info.
    """
    if not isinstance(result, tuple) or len(result) != len(names):
        found = f"a tuple of {len(result)}" if isinstance(result, tuple) else describe(result)
        raise WorldError(f"it returned {found}; it must return ({', '.join(names)})", world)
    if type(result[-1]) is not dict and not isinstance(result[-1], Mapping):  # the first is quick
        raise WorldError(f"its info is {describe(result[-1])}; it must be a dict", world)
    return result


def read_observation(layout: Layout, seen: Any, world: int | None = None, lead: tuple[int, ...] = ()) -> np.ndarray:
    """Return an observation, or with `lead` a batch of them, as one array [*lead, *layout.shape].

    Raises WorldError for another shape, and for a type that cannot be stored without loss.
    """
    if layout.composed:
        try:
            return layout.flatten(seen, lead)
        except MetarlError as error:
            raise WorldError(str(error), world) from None
    due = (*lead, *layout.shape)
    try:
        array = np.asarray(seen)
    except ValueError:  # rows of different lengths
        array = np.array(None)
    if array.dtype == object:
        raise WorldError(f"the observation is {describe(seen)}; it must be numbers of shape {due}", world)
    if array.shape != due:
        raise WorldError(f"the observation has shape {array.shape}; it must be {due}, as in observation_space", world)
    if array.dtype != layout.dtype and not _fits(array, layout.dtype):
        raise WorldError(
            f"the observation has dtype {array.dtype}; it must be {layout.dtype}, as in observation_space", world
        )
    return array


def _fits(array: np.ndarray, dtype: np.dtype[Any]) -> bool:
    """Return whether an array can have another type: of the same kind, or whole numbers in its range."""
    if np.can_cast(array.dtype, dtype, "same_kind"):
        return True
    if not (np.issubdtype(array.dtype, np.integer) and np.issubdtype(dtype, np.integer)) or not array.size:
        return False
    return bool(array.min() >= np.iinfo(dtype).min and array.max() <= np.iinfo(dtype).max)


def read_reward(given: Any, world: int) -> float:
    """Return the reward of one world. Raises WorldError unless it is one number."""
    if isinstance(given, (int, float, np.integer, np.floating, np.bool_)):
        try:
            return float(given)
        except OverflowError:  # a whole number beyond every float
            raise WorldError(f"the reward is {describe(given)}; keep it finite", world) from None
    if isinstance(given, np.ndarray) and given.shape == () and given.dtype.kind in "biuf":
        return float(given)
    raise WorldError(f"the reward is {describe(given)}; it must be one number", world)


def read_flag(name: str, given: Any, world: int) -> bool:
    """Return whether an episode of one world has ended. Raises WorldError unless that is a bool (or 0 or 1)."""
    if given is True or given is False:
        return given
    if isinstance(given, (int, np.bool_, np.integer)) and given in (0, 1):
        return bool(given)
    if isinstance(given, np.ndarray) and given.shape == () and given.dtype == np.bool_:
        return bool(given)
    raise WorldError(f"{name} is {describe(given)}; it must be a bool", world)


def read_row(name: str, given: Any, num_worlds: int, kinds: str) -> np.ndarray:
    """Return an array with one value for each world. Raises WorldError for another shape or kind of numbers."""
    array = np.asarray(given)
    if array.shape != (num_worlds,) or array.dtype.kind not in kinds:
        kind = "bools" if kinds == "b" else "numbers"
        raise WorldError(
            f"{name} are {array.dtype} of shape {array.shape}; they must be {kind} of shape ({num_worlds},)"
        )
    return array


def is_surely_finite(array: np.ndarray) -> bool:
    """Return True only if all numbers are finite. Large ones give False, too: their sum of squares overflows.

    This takes half the time of `np.isfinite(array).all()`.
    """
    # Of NumPy's products, `vdot` alone does not warn of an overflow.
    return array.dtype.kind != "f" or math.isfinite(np.vdot(array, array))


def find_infinite(array: np.ndarray) -> np.ndarray | None:
    """Return the places of values that are NaN or infinite, bool of the same shape; None where there are none."""
    if is_surely_finite(array):
        return None
    infinite = ~np.isfinite(array)
    return infinite if infinite.any() else None


def describe(value: Any, longest: int = 60) -> str:
    """Return a few words for a value of any type, of at most `longest` characters and an ellipsis."""
    if isinstance(value, np.ndarray):
        return f"an array of {value.dtype} and shape {value.shape}"
    try:
        text = repr(value).split("\n", 1)[0]
    except Exception:  # an author's class may fail to print itself
        text = f"a {type(value).__name__}"
    return text if len(text) <= longest else f"{text[:longest]}..."
