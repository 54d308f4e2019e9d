"""Observations of any space as one array: how the parts of a Dict or Tuple lie in a vector, and the way back."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from gymnasium import spaces

from ..base.errors import MetarlError
from .spaces import LEAVES, limits, shape_of

Path = tuple[str | int, ...]
"""Keys of Dicts and places in Tuples that lead to a part; () for a space that is not composed."""


@dataclass(frozen=True)
class Part:
    """One array of an observation."""

    path: Path
    """Where it stands in the observation."""
    space: spaces.Space[Any]
    """Its space: Box, Discrete, MultiDiscrete or MultiBinary."""
    start: int
    """Its first place in the vector."""

    @property
    def name(self) -> str:
        """Its path in words, such as 'camera.left'; '' for an observation that is not composed."""
        return ".".join(map(str, self.path))

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of the part of one observation."""
        return shape_of(self.space)

    @property
    def size(self) -> int:
        """Numbers in the part of one observation."""
        return math.prod(self.shape)

    @cached_property
    def dtype(self) -> np.dtype[Any]:
        """The smallest type that holds every value of the part exactly."""
        if isinstance(self.space, spaces.Box) and np.issubdtype(self.space.dtype, np.floating):
            return np.dtype(self.space.dtype)
        low, high = limits(self.space)
        return np.result_type(np.min_scalar_type(low.min()), np.min_scalar_type(high.max()))


@dataclass(frozen=True)
class Layout:
    """How observations of a space lie in one array.

    A Box, Discrete, MultiDiscrete or MultiBinary is its own array. The parts of a Dict or Tuple are flattened, one
    behind the other, into one vector. Its type is the smallest that holds all parts exactly.
    """

    space: spaces.Space[Any]
    """Space of one observation."""
    parts: tuple[Part, ...]
    """The parts, in the order of the vector."""

    @cached_property
    def composed(self) -> bool:
        """Whether the space is a Dict or Tuple."""
        return isinstance(self.space, (spaces.Dict, spaces.Tuple))

    @cached_property
    def shape(self) -> tuple[int, ...]:
        """Shape of the array of one observation."""
        return (self.size,) if self.composed else self.parts[0].shape

    @cached_property
    def size(self) -> int:
        """Numbers in one observation."""
        return sum(part.size for part in self.parts)

    @cached_property
    def dtype(self) -> np.dtype[Any]:
        """Type of the array."""
        if not self.composed:
            return np.dtype(self.space.dtype)
        return np.result_type(*(part.dtype for part in self.parts))

    @property
    def num_bytes(self) -> int:
        """Bytes of the array of one observation."""
        return self.size * self.dtype.itemsize

    def zeros(self, lead: tuple[int, ...] = ()) -> np.ndarray:
        """Return an array of zeros for observations, [*lead, *shape]."""
        return np.zeros((*lead, *self.shape), dtype=self.dtype)

    def flatten(self, values: Any, lead: tuple[int, ...] = ()) -> np.ndarray:
        """Return observations as one array, [*lead, *shape].

        `values` is an observation, or with `lead` a batch of them in Gymnasium's form: a Dict is a dict of arrays
        [*lead, *part]. Raises MetarlError where a part is missing, has another shape, or does not fit its space.
        """
        if not self.composed:
            return np.asarray(values, dtype=self.dtype)
        flat = np.empty((*lead, self.size), dtype=self.dtype)
        for part in self.parts:
            flat[..., part.start : part.start + part.size] = _stored(part, _at(values, part), lead)
        return flat

    def part(self, part: Part, flat: np.ndarray) -> np.ndarray:
        """Return one part of observations [*lead, *shape], [*lead, *part]; its type is that of `flat`."""
        if not self.composed:
            return flat
        return flat[..., part.start : part.start + part.size].reshape((*flat.shape[:-1], *part.shape))

    def unflatten(self, flat: np.ndarray) -> Any:
        """Return the observations of an array [*lead, *shape], as Gymnasium batches them."""
        if not self.composed:
            return _element(self.space, flat)
        found = {part.path: _element(part.space, self.part(part, flat).astype(part.space.dtype)) for part in self.parts}
        return _compose(self.space, (), found)


def map_arrays(function: Callable[..., Any], *observations: Any) -> Any:
    """Return `function` of the arrays that stand in the same place of each observation, composed as they are."""
    first = observations[0]
    if isinstance(first, Mapping):
        return {key: map_arrays(function, *(each[key] for each in observations)) for key in first}
    if isinstance(first, tuple):
        return tuple(map_arrays(function, *parts) for parts in zip(*observations, strict=True))
    return function(*observations)


def layout_of(space: spaces.Space[Any], family: str = "", wrappers: str = "gymnasium.wrappers") -> Layout:
    """Return the layout of a space of observations.

    Raises MetarlError, which names `family` and a wrapper as the remedy, for a space with a part that is no array of
    fixed shape, such as Text, Graph or Sequence.
    """
    parts: list[Part] = []
    start = 0
    owner = f"family {family!r} has" if family else "there is"
    for path, leaf in _leaves(space, ()):
        part = Part(path, leaf, start)
        if not isinstance(leaf, LEAVES):
            where = f" in part {part.name!r} of its observations" if path else " of observations"
            raise MetarlError(
                f"{owner} space {leaf}{where}; observations must be a Box, Discrete, MultiDiscrete or MultiBinary, or "
                f"a Dict or Tuple of them: turn it into one with {wrappers}.TransformObservation, or leave the part "
                "out with FilterObservation"
            )
        if not part.size:
            where = f" of part {part.name!r}" if path else ""
            raise MetarlError(
                f"{owner} observation space {leaf}{where}, which holds no number; leave it out, or give it one"
            )
        parts.append(part)
        start += part.size
    if not parts:
        raise MetarlError(f"{owner} observation space {space} without a part; give it at least one")
    layout = Layout(space, tuple(parts))
    _require_exact(layout, owner)
    return layout


def _require_exact(layout: Layout, owner: str) -> None:
    if not layout.composed or not np.issubdtype(layout.dtype, np.floating):
        return
    for part in layout.parts:
        if np.issubdtype(part.dtype, np.integer) and part.dtype.itemsize == 8:
            raise MetarlError(
                f"{owner} part {part.name!r} of its observations in {part.dtype}, beside parts of other types; give "
                "its space bounds below 2^32 or a 32-bit dtype, so that one array holds all parts exactly"
            )


def _leaves(space: spaces.Space[Any], path: Path) -> list[tuple[Path, spaces.Space[Any]]]:
    match space:
        case spaces.Dict():
            inside: list[tuple[str | int, spaces.Space[Any]]] = list(space.spaces.items())
        case spaces.Tuple():
            inside = list(enumerate(space.spaces))
        case _:
            return [(path, space)]
    return [leaf for key, inner in inside for leaf in _leaves(inner, (*path, key))]


def _at(values: Any, part: Part) -> Any:
    for key in part.path:
        try:
            values = values[key]
        except (KeyError, IndexError, TypeError):
            raise MetarlError(
                f"an observation has no part {part.name!r}; return every part that observation_space names"
            ) from None
    return values


def _stored(part: Part, values: Any, lead: tuple[int, ...]) -> np.ndarray:
    """Return values of a part as rows, [*lead, size]."""
    array = np.asarray(values)
    if array.shape != (*lead, *part.shape):
        raise MetarlError(
            f"part {part.name!r} of an observation has shape {array.shape[len(lead) :]}; it must be {part.shape}, as "
            "in observation_space"
        )
    if np.issubdtype(part.dtype, np.integer):
        low, high = limits(part.space)
        if not ((array >= low) & (array <= high)).all():
            raise MetarlError(f"part {part.name!r} of an observation is not in {part.space}; widen the space or clip")
    return array.reshape((*lead, part.size))


def _element(space: spaces.Space[Any], array: Any) -> Any:
    """Return the array, or the number that one element of a discrete space is."""
    return array[()] if isinstance(space, spaces.Discrete) else np.asarray(array)


def _compose(space: spaces.Space[Any], path: Path, found: dict[Path, Any]) -> Any:
    match space:
        case spaces.Dict():
            return {key: _compose(inner, (*path, key), found) for key, inner in space.spaces.items()}
        case spaces.Tuple():
            return tuple(_compose(inner, (*path, i), found) for i, inner in enumerate(space.spaces))
    return found[path]
