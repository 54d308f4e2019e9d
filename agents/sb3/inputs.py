"""Observations of any space as the policies of stable-baselines3 take them."""

from __future__ import annotations

import functools
import math
import operator
from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from gymnasium import spaces

from metarl.base.errors import MetarlError
from metarl.base.terminal import one_line
from metarl.families.layout import layout_of, map_arrays
from metarl.families.spaces import from_zero, limits, shape_of

LEAST_SIDE = 36
"""Pixels along the shorter side of the smallest image that the library's convolutions take."""
AT_ONCE = 1024
"""Images that a network reads at a time where it reads all steps of a trial: what convolutions compute is large."""
TOLD = "told"
"""Key of the numbers that an agent adds to an observation, beside the observation's own parts."""

Arrays = Any
"""An array [n, *observation], or for `MultiInputPolicy` a dict of them by the key of the part."""


class Inputs:
    """Observations of a family as the library takes them, each followed by numbers that an agent adds.

    Images have their channels first. Other boxes are flat, and of single precision, as in the networks. Discrete parts
    count from 0; the library makes one-hot vectors of them. The parts of a Dict or Tuple, nested ones too, are a dict
    with the keys '0', '1' and so on, as torch does not take every key for the name of a module.

    With `plain`, they are as in the library's own `VecEnv`: parts by their own keys, boxes in their own shape and type.

    Raises MetarlError for an image that is too small for the library's convolutions, unless `plain`.
    """

    def __init__(self, space: spaces.Space[Any], num_told: int = 0, *, plain: bool = False) -> None:
        self.layout, self.num_told = layout_of(space), num_told
        parts = self.layout.parts
        self.names = tuple(part.name if plain else str(number) for number, part in enumerate(parts))
        self._made = [_library_space(part.space, plain=plain) for part in parts]
        first = parts[0].space
        is_vector = isinstance(first, spaces.Box) and not is_image(first)
        if self.layout.composed or (num_told and not is_vector):
            told = {TOLD: _numbers(num_told)} if num_told else {}
            self.kind = "MultiInput"
            self.space: spaces.Space[Any] = spaces.Dict([*zip(self.names, self._made, strict=True), *told.items()])
        else:
            self.kind = "Cnn" if is_image(first) else "Mlp"
            self.space = _join(self._made[0], num_told) if num_told else self._made[0]

    @property
    def policy(self) -> str:
        """Name of the library's policy for the observations."""
        return f"{self.kind}Policy"

    def arrays(self, observations: np.ndarray, told: np.ndarray | None = None) -> Arrays:
        """Return observations [..., *observation], and what is `told` with each [..., number], as the library's."""
        lead = observations.shape[: observations.ndim - len(self.layout.shape)]
        flat = observations.reshape(math.prod(lead), *self.layout.shape)
        parts = [
            _library_values(part.space, made, self.layout.part(part, flat))
            for part, made in zip(self.layout.parts, self._made, strict=True)
        ]
        more = [told.reshape(len(flat), self.num_told).astype(np.float32)] if told is not None and self.num_told else []
        if self.kind == "MultiInput":
            return dict(zip((*self.names, *[TOLD] * len(more)), [*parts, *more], strict=True))
        return np.concatenate([parts[0], *more], axis=1, dtype=np.float32) if more else parts[0]

    def tensors(self, device: Any, observations: np.ndarray, told: np.ndarray | None = None) -> Any:
        """Return the same as tensors on `device`."""
        return as_tensors(self.arrays(observations, told), device)

    def pieces(self, arrays: Arrays) -> Iterator[tuple[slice, Arrays]]:
        """Yield arrays of at least one observation in pieces of at most `AT_ONCE`, in one piece without images."""
        count = len(next(iter(arrays.values())) if isinstance(arrays, dict) else arrays)
        size = AT_ONCE if any(is_image(part.space) for part in self.layout.parts) else count
        for first in range(0, count, size):
            piece = slice(first, first + size)
            yield piece, map_arrays(operator.itemgetter(piece), arrays)


def as_tensors(arrays: Arrays, device: Any) -> Any:
    """Return arrays of `Inputs` as tensors."""
    return map_arrays(functools.partial(torch.as_tensor, device=device), arrays)


def fill(kept: Arrays, arrays: Arrays, places: Any = ...) -> None:
    """Write arrays of `Inputs` into rows of a buffer of the library, [place, 1, ...]."""

    def write(target: np.ndarray, array: np.ndarray) -> None:
        target[places] = array.reshape(len(array), *target.shape[1:])

    map_arrays(write, kept, arrays)


def is_image(space: spaces.Space[Any]) -> bool:
    """Return whether the library takes observations of the space for images: bytes of rank 3."""
    return (
        isinstance(space, spaces.Box)
        and len(space.shape) == 3
        and space.dtype == np.uint8
        and bool((space.low == 0).all() and (space.high == 255).all())
    )


def channels_first(images: np.ndarray) -> np.ndarray:
    """Return images [..., height, width, channel] with the channels first; those that have them there, unchanged."""
    return images if np.argmin(images.shape[-3:]) == 0 else np.moveaxis(images, -1, -3)


def _library_space(space: spaces.Space[Any], *, plain: bool) -> spaces.Space[Any]:
    if not isinstance(space, spaces.Box):
        return from_zero(space)
    if is_image(space):
        shape = channels_first(np.zeros(space.shape, dtype=np.uint8)).shape
        if min(shape[1:]) < LEAST_SIDE and not plain:
            raise MetarlError(
                f"stable-baselines3's convolutions take images of at least {LEAST_SIDE} x {LEAST_SIDE} pixels, not "
                f"{one_line(str(space))}; wrap the environment (gymnasium.wrappers.ResizeObservation or "
                "FlattenObservation), or take rl2 or maml-ppo"
            )
        return spaces.Box(0, 255, shape, dtype=np.uint8)
    if plain:
        return space
    dtype = np.float32 if np.issubdtype(space.dtype, np.floating) else space.dtype.type
    with np.errstate(over="ignore"):  # a bound beyond single precision is none
        low, high = (bound.astype(dtype).reshape(-1) for bound in (space.low, space.high))
    return spaces.Box(low, high, dtype=dtype)


def _library_values(space: spaces.Space[Any], made: spaces.Space[Any], values: np.ndarray) -> np.ndarray:
    """Return values [n, *part] of a part's space in the library's space for it."""
    if isinstance(space, spaces.Box):
        shown = channels_first(values) if is_image(space) else values
    else:  # in a world that waits they may be anything, and the library has no one-hot vector for that
        low, high = limits(space)
        shown = np.clip(values, low, high) - low
    with np.errstate(over="ignore"):  # torch, too, makes infinity of what single precision does not hold
        return np.asarray(shown.reshape(len(values), *shape_of(made)).astype(made.dtype, copy=False))


def _numbers(count: int) -> spaces.Box:
    return spaces.Box(-np.inf, np.inf, (count,), dtype=np.float32)


def _join(space: spaces.Space[Any], count: int) -> spaces.Box:
    """Return the space of vectors of a box with `count` numbers behind them."""
    assert isinstance(space, spaces.Box)
    more = _numbers(count)
    bounds = ((space.low, more.low), (space.high, more.high))
    low, high = (np.concatenate(pair, dtype=np.float32) for pair in bounds)
    return spaces.Box(low, high, dtype=np.float32)
