"""Batches of random streams, one a world; the numbers of a world do not depend on its neighbours in the batch."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from typing import Any, TypeVar

import numpy as np

_GOLDEN = np.uint64(0x9E3779B97F4A7C15)
_UINT64 = 1 << 64

T = TypeVar("T")


def _mix(z: np.ndarray) -> np.ndarray:
    """Return the output function of SplitMix64 (Steele, Lea and Flood, OOPSLA 2014), elementwise on uint64."""
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return z ^ (z >> np.uint64(31))


def _word(part: int | str | np.ndarray) -> np.ndarray:
    """Return one element of a stream's address as uint64 of at least one dimension."""
    if isinstance(part, str):
        part = int.from_bytes(hashlib.blake2b(part.encode(), digest_size=8).digest(), "little")
    if isinstance(part, (int, np.integer)):
        return np.array([int(part) % _UINT64], dtype=np.uint64)
    return np.atleast_1d(np.asarray(part)).astype(np.uint64)


class Streams:
    """Independent SplitMix64 streams of random numbers, one for each element of `shape`.

    An address names a stream (a seed, then words and indices), never its place in a batch: the stream of task 7,
    replica 2 gives the same numbers alone and among a thousand others. NumPy's generators would need one Python object
    a world for that; this is one array operation for all.
    """

    def __init__(self, keys: np.ndarray, counters: np.ndarray | None = None, moving: np.ndarray | None = None) -> None:
        self.keys = keys
        """Start of each stream. uint64 [*shape]"""
        self.counters = np.zeros_like(keys) if counters is None else counters
        """Numbers drawn so far from each stream. uint64 [*shape]"""
        self._moving = moving

    @classmethod
    def of(cls, seed: int | np.ndarray, *address: int | str | np.ndarray) -> Streams:
        """Return the streams at an address; integer arrays in it broadcast together and give the shape.

        `Streams.of(seed, "act", task_index[:, None], np.arange(replicas))` has shape (tasks, replicas).
        """
        with np.errstate(over="ignore"):
            keys = _mix(_word(seed) + _GOLDEN)
            for part in address:
                # Two rounds of mixing keep neighbouring indices from giving neighbouring keys.
                keys = _mix(_mix(keys ^ _mix(_word(part) + _GOLDEN)) + _GOLDEN)
        return cls(keys)

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of the batch of streams."""
        return self.keys.shape

    def reshape(self, *shape: int) -> Streams:
        """Return the same streams in another shape; both share their place."""
        moving = None if self._moving is None else self._moving.reshape(*shape)
        return Streams(self.keys.reshape(*shape), self.counters.reshape(*shape), moving)

    def where(self, moving: np.ndarray) -> Streams:
        """Return a view in which a draw advances only the streams marked in `moving`, bool [*shape].

        The stream of a waiting world must stand still, or its later numbers would depend on its neighbours.
        """
        return self if np.count_nonzero(moving) == moving.size else Streams(self.keys, self.counters, moving)

    def at(self, rows: np.ndarray, draw: Callable[[Streams], T]) -> T:
        """Return `draw` of the streams of `rows`, int64 [n]; those that move advance."""
        moving = None if self._moving is None else self._moving[rows]
        chosen = Streams(self.keys[rows], self.counters[rows], moving)
        drawn = draw(chosen)
        self.counters[rows] = chosen.counters
        return drawn

    def _draw(self, size: tuple[int, ...]) -> np.ndarray:
        count = int(np.prod(size, dtype=np.int64))
        with np.errstate(over="ignore"):
            steps = self.counters[..., None] + np.arange(1, count + 1, dtype=np.uint64)
            words = _mix(self.keys[..., None] + steps * _GOLDEN)
            self.counters += np.uint64(count) if self._moving is None else self._moving * np.uint64(count)
        return words.reshape(*self.shape, *size)

    def uniform(self, size: tuple[int, ...] = ()) -> np.ndarray:
        """Return float64 numbers in [0, 1), [*shape, *size]."""
        return (self._draw(size) >> np.uint64(11)) * 2.0**-53

    def normal(self, size: tuple[int, ...] = ()) -> np.ndarray:
        """Return standard normal float64 numbers by inversion, [*shape, *size]."""
        from scipy.special import ndtri  # imported late: it takes longer than everything else in this file

        # 52 bits and a half: strictly inside (0, 1) after rounding, so never infinite.
        return ndtri(((self._draw(size) >> np.uint64(12)) + 0.5) * 2.0**-52)

    def integers(self, high: int, size: tuple[int, ...] = ()) -> np.ndarray:
        """Return int64 numbers in [0, high), [*shape, *size]."""
        return (self.uniform(size) * high).astype(np.int64)


def generator(seed: int, *address: int | str) -> np.random.Generator:
    """Return a NumPy generator for an address, for what is not per world (minibatches, initial weights)."""
    entropy: list[Any] = [seed % _UINT64, *(int(_word(part)[0]) for part in address)]
    return np.random.default_rng(np.random.SeedSequence(entropy))
