"""A distribution that goes through its values in turn, so that every one of them is met."""

from __future__ import annotations

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
        values, turns = np.array(self.values, dtype=np.float64), index // len(self.values)
        found = np.empty((len(index), *self.shape))
        for turn in np.unique(turns):
            order = generator(seed, *address, "turn", int(turn)).permutation(len(values))
            here = turns == turn
            found[here] = values[order[index[here] % len(values)]]
        return found
