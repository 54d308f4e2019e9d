"""What task parameters are drawn from: each distribution samples in batches and knows what it contains."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass

import numpy as np

from .errors import MetarlError
from .streams import Streams


class Distribution(ABC):
    """A distribution of one task parameter."""

    @property
    @abstractmethod
    def shape(self) -> tuple[int, ...]:
        """Shape of one value: () for a scalar."""

    @abstractmethod
    def sample(self, streams: Streams) -> np.ndarray:
        """Return one value for each of the streams, float64 [n, *shape]."""

    @abstractmethod
    def contains(self, values: np.ndarray) -> np.ndarray:
        """Return whether each of `values` [n, *shape] lies in the support, bool [n]."""

    @property
    def num_values(self) -> int | None:
        """Number of different values, or None where they are not finitely many."""
        return None


def _require(condition: bool, distribution: Distribution, rule: str) -> None:
    if not condition:
        raise MetarlError(f"{distribution}: {rule}")


def _all_inside(inside: np.ndarray) -> np.ndarray:
    return np.logical_and.reduce(inside.reshape(len(inside), -1), axis=1)


@dataclass(frozen=True)
class Uniform(Distribution):
    """Uniform on [low, high), independently in each element."""

    low: float
    high: float
    shape: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        _require(self.low < self.high, self, "low must be below high")

    def sample(self, streams: Streams) -> np.ndarray:
        """Return float64 [n, *shape]."""
        return self.low + (self.high - self.low) * streams.uniform(self.shape)

    def contains(self, values: np.ndarray) -> np.ndarray:
        """Return bool [n]; both ends belong to the range."""
        return _all_inside((values >= self.low) & (values <= self.high))


@dataclass(frozen=True)
class LogUniform(Distribution):
    """Uniform in the logarithm on [low, high), independently in each element."""

    low: float
    high: float
    shape: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        _require(0 < self.low < self.high, self, "0 < low < high must hold")

    def sample(self, streams: Streams) -> np.ndarray:
        """Return float64 [n, *shape]."""
        return np.exp(math.log(self.low) + math.log(self.high / self.low) * streams.uniform(self.shape))

    def contains(self, values: np.ndarray) -> np.ndarray:
        """Return bool [n]; the ends belong to the range, to rounding of the exponential."""
        slack = 1 + 1e-12
        return _all_inside((values >= self.low / slack) & (values <= self.high * slack))


@dataclass(frozen=True)
class Normal(Distribution):
    """Normal with the given mean and standard deviation, independently in each element."""

    mean: float
    std: float
    shape: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        _require(self.std > 0, self, "std must be positive")

    def sample(self, streams: Streams) -> np.ndarray:
        """Return float64 [n, *shape]."""
        return self.mean + self.std * streams.normal(self.shape)

    def contains(self, values: np.ndarray) -> np.ndarray:
        """Return bool [n]: every finite value."""
        return _all_inside(np.isfinite(values))


@dataclass(frozen=True)
class Choice(Distribution):
    """One of a few numbers, each as likely."""

    values: tuple[float, ...]

    def __post_init__(self) -> None:
        _require(len(set(self.values)) == len(self.values) > 0, self, "values must be different and at least one")

    @property
    def shape(self) -> tuple[int, ...]:
        """Always (): a scalar."""
        return ()

    @property
    def num_values(self) -> int:
        """Number of different values."""
        return len(self.values)

    def sample(self, streams: Streams) -> np.ndarray:
        """Return float64 [n]."""
        return np.array(self.values, dtype=np.float64)[streams.integers(len(self.values))]

    def contains(self, values: np.ndarray) -> np.ndarray:
        """Return bool [n]."""
        return np.isin(values, self.values)


@dataclass(frozen=True)
class Disc(Distribution):
    """Points of the plane between two circles about the origin, uniform in area."""

    radius: float
    inner: float = 0.0

    def __post_init__(self) -> None:
        _require(0 <= self.inner < self.radius, self, "0 <= inner < radius must hold")

    @property
    def shape(self) -> tuple[int, ...]:
        """Always (2,)."""
        return (2,)

    def sample(self, streams: Streams) -> np.ndarray:
        """Return float64 [n, 2]: r = sqrt(inner^2 + (radius^2 - inner^2) U), theta = 2 pi U."""
        draws = streams.uniform((2,))
        r = np.sqrt(self.inner**2 + (self.radius**2 - self.inner**2) * draws[:, 0])
        return _polar(r, 2 * math.pi * draws[:, 1])

    def contains(self, values: np.ndarray) -> np.ndarray:
        """Return bool [n], to rounding at the rim."""
        r = np.hypot(values[:, 0], values[:, 1])
        return (r >= self.inner - 1e-12) & (r <= self.radius + 1e-12)


@dataclass(frozen=True)
class Circle(Distribution):
    """Points of an arc of a circle about the origin, uniform in the angle in [low, high) radians."""

    radius: float = 1.0
    low: float = 0.0
    high: float = 2 * math.pi

    def __post_init__(self) -> None:
        _require(self.radius > 0, self, "radius must be positive")
        _require(self.low < self.high <= self.low + 2 * math.pi, self, "low < high <= low + 2 pi must hold")

    @property
    def shape(self) -> tuple[int, ...]:
        """Always (2,)."""
        return (2,)

    def sample(self, streams: Streams) -> np.ndarray:
        """Return float64 [n, 2]."""
        theta = self.low + (self.high - self.low) * streams.uniform()
        return _polar(np.full_like(theta, self.radius), theta)

    def contains(self, values: np.ndarray) -> np.ndarray:
        """Return bool [n], to rounding on the arc and at its ends."""
        on_circle = np.abs(np.hypot(values[:, 0], values[:, 1]) - self.radius) <= 1e-9 * self.radius
        theta = np.arctan2(values[:, 1], values[:, 0])
        beyond = np.mod(theta - self.low + 1e-12, 2 * math.pi)
        return on_circle & (beyond <= self.high - self.low + 2e-12)


def _polar(r: np.ndarray, theta: np.ndarray) -> np.ndarray:
    return np.stack([r * np.cos(theta), r * np.sin(theta)], axis=-1)
