"""Which action each primitive word of a task means, and which of these tasks are for training, validation and test."""

from __future__ import annotations

import hashlib
import itertools
import math
from dataclasses import dataclass

import numpy as np

from metarl.base.streams import Streams
from metarl.families.distributions import Distribution

NUM_USED = 4
"""Primitive words of a task."""
NUM_VALIDATION = 3
"""Permutations for validation."""


def share_permutations(num_test: int) -> tuple[tuple[tuple[float, ...], ...], ...]:
    """Return the permutations of the four meanings for training, validation and test.

    With one for the test, it is the identity, SCAN's own meanings. A hash of permutations decides on the others.
    """
    rest = sorted(itertools.permutations(range(NUM_USED)), key=lambda each: hashlib.blake2b(bytes(each)).digest())
    test = [tuple(range(NUM_USED))] if num_test == 1 else rest[:num_test]
    rest = [each for each in rest if each not in test]
    shared = rest[NUM_VALIDATION:], rest[:NUM_VALIDATION], test
    return tuple(tuple(tuple(map(float, each)) for each in sorted(part)) for part in shared)


def with_others(permutations: tuple[tuple[float, ...], ...], num_others: int) -> tuple[tuple[float, ...], ...]:
    """Return permutations in which `num_others` further words mean nothing, -1."""
    return tuple((*each, *(-1.0,) * num_others) for each in permutations)


@dataclass(frozen=True)
class Borrowed(Distribution):
    """Any four of `4 + num_others` words mean any four of as many actions; the others mean nothing, -1.

    Where all are of the first four words and actions, the last one means the first of the other actions: no task has
    only SCAN's own words and actions.
    """

    num_others: int

    def __str__(self) -> str:
        return f"{NUM_USED} of {NUM_USED + self.num_others} words mean {NUM_USED} of as many actions"

    @property
    def shape(self) -> tuple[int, ...]:
        """(words,)."""
        return (NUM_USED + self.num_others,)

    @property
    def num_values(self) -> int:
        """Number of different values."""
        words = NUM_USED + self.num_others
        return math.comb(words, NUM_USED) * math.perm(words, NUM_USED) - math.factorial(NUM_USED)

    @property
    def range(self) -> tuple[float, float]:
        """-1 and the last action."""
        return -1.0, NUM_USED + self.num_others - 1.0

    def sample(self, streams: Streams) -> np.ndarray:
        """Return float64 [n, words]."""
        words, actions = (
            np.argsort(streams.uniform(self.shape), axis=-1)[:, :NUM_USED].astype(np.int64) for _ in range(2)
        )
        plain = (words < NUM_USED).all(axis=1) & (actions < NUM_USED).all(axis=1)
        actions[plain, -1] = NUM_USED
        meanings = np.full((len(words), *self.shape), -1.0)
        np.put_along_axis(meanings, words, actions.astype(np.float64), axis=1)
        return meanings

    def contains(self, values: np.ndarray) -> np.ndarray:
        """Return bool [n]."""
        plain = (values[:, NUM_USED:] < 0).all(axis=1) & (values < NUM_USED).all(axis=1)
        return are_meanings(values) & ~plain


def are_meanings(values: np.ndarray) -> np.ndarray:
    """Return whether four words mean different actions and the others nothing, bool [n]; `values` are [n, words]."""
    whole = (values == np.floor(values)) & (values >= -1) & (values < values.shape[1])
    ordered = np.sort(values, axis=1)[:, -NUM_USED:]
    different = (ordered[:, 1:] > ordered[:, :-1]).all(axis=1) & (ordered[:, 0] >= 0)
    return np.logical_and.reduce(whole, axis=1) & different & ((values >= 0).sum(axis=1) == NUM_USED)
