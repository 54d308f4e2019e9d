"""A distribution that goes through its values in turn, so that every one of them is met."""

from __future__ import annotations

import functools
from dataclasses import dataclass

import numpy as np

from ..base.streams import generator
from .distributions import Choice


@dataclass(frozen=True)
class InTurn(Choice):
    """Each of some values once in random order, then each again in another order: the users of a data set.

    A list of as many tasks as there are values has every one of them, where a `Choice` has about 63 % of them, some
    several times. So an evaluation of all test users meets each once, and training goes over its users in epochs.
    """

    def tasks(self, index: np.ndarray, seed: int, *address: int | str) -> np.ndarray:
        """Return the values of tasks `index` [n] of a list, float64 [n, *shape]."""
        turns, found = index // len(self.values), np.empty((len(index), *self.shape))
        for turn in np.unique(turns):
            order, here = _order(len(self.values), seed, address, int(turn)), turns == turn
            found[here] = [self.values[place] for place in order[index[here] % len(self.values)]]
        return found


# Each batch of an epoch draws from the order of all values: an epoch would take time that grows with their square.
@functools.lru_cache(maxsize=8)
def _order(count: int, seed: int, address: tuple[int | str, ...], turn: int) -> np.ndarray:
    """Return the places of all values in the order of a turn."""
    return generator(seed, *address, "turn", turn).permutation(count)
