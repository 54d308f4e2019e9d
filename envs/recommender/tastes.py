"""The population of users: standard normal vectors of taste, of which training sees those of usual length."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from metarl.base.errors import MetarlError
from metarl.base.streams import Streams
from metarl.families.distributions import Distribution

BELOW_ONE = 1.0 - 2.0**-53
"""Largest share below one, whose length is finite."""


@dataclass(frozen=True)
class Tastes(Distribution):
    """Standard normal vectors of `size` numbers, given that their length lies between two quantiles of all lengths.

    Raises MetarlError unless 0 <= low < high <= 1.
    """

    size: int
    low: float = 0.0
    """Share of the population whose vectors are shorter than all of these."""
    high: float = 1.0
    """Share of the population whose vectors are shorter than the longest of these."""

    def __post_init__(self) -> None:
        if not 0 <= self.low < self.high <= 1:
            raise MetarlError(f"{self}: 0 <= low < high <= 1 must hold")

    def __str__(self) -> str:
        ends = (
            f"the {self.low:.0%} shortest to the {self.high:.0%} shortest" if self.low else f"{self.high:.0%} shortest"
        )
        return f"standard normal vectors of {self.size}, {ends}"

    @property
    def shape(self) -> tuple[int, ...]:
        """(size,)."""
        return (self.size,)

    def sample(self, streams: Streams) -> np.ndarray:
        """Return float64 [n, size]: a uniform direction, times a length by inversion of its chi distribution."""
        from scipy.special import gammaincinv  # imported late: it takes longer than everything else in this file

        drawn = streams.normal((self.size,))
        share = np.minimum(self.low + (self.high - self.low) * streams.uniform(), BELOW_ONE)
        length = np.sqrt(2.0 * gammaincinv(self.size / 2.0, share))
        return drawn * (length / _lengths(drawn))[:, None]

    def contains(self, values: np.ndarray) -> np.ndarray:
        """Return bool [n]. Of both ends the lower one belongs to the range, and the upper one where it is 1."""
        from scipy.special import gammainc  # imported late, as above

        share = gammainc(self.size / 2.0, np.square(_lengths(values)) / 2.0)
        return (share >= self.low) & ((share < self.high) | (self.high == 1))


def _lengths(vectors: np.ndarray) -> np.ndarray:
    return np.sqrt(np.square(vectors).sum(axis=-1))
