"""Distributions of task parameters. Each samples in batches and tells which values it contains."""

from __future__ import annotations

import copy
import json
import math
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..base.errors import MetarlError
from ..base.streams import Streams


class Distribution(ABC):
    """A distribution of one task parameter."""

    @property
    @abstractmethod
    def shape(self) -> tuple[int, ...]:
        """Shape of one value: () for a scalar."""

    @abstractmethod
    def sample(self, streams: Streams) -> np.ndarray:
        """Return one value for each stream, float64 [n, *shape]."""

    def tasks(self, index: np.ndarray, seed: int, *address: int | str) -> np.ndarray:
        """Return the values of tasks `index` [n] of a split's list, each from a stream of its own, [n, *shape]."""
        return self.sample(Streams.of(seed, *address, index))

    @abstractmethod
    def contains(self, values: np.ndarray) -> np.ndarray:
        """Return whether each of `values` [n, *shape] lies in the support, bool [n]."""

    @property
    def num_values(self) -> int | None:
        """Number of different values, or None where there are infinitely many."""
        return None

    @property
    def range(self) -> tuple[float, float]:
        """Least and greatest number of any element of a value."""
        return -math.inf, math.inf

    def encode(self, value: Any) -> Any:
        """Return the numbers of a value that a user wrote: the value itself, unless numbers stand for other things."""
        return value

    def decode(self, numbers: Any) -> Any:
        """Return the value that the numbers in a task stand for."""
        return numbers


LARGEST = 1e100
"""Largest number in a distribution, so that arithmetic on two such numbers stays finite."""


def _require(condition: bool, distribution: Distribution, rule: str) -> None:
    if not condition:
        raise MetarlError(f"{distribution}: {rule}")


def _require_finite(distribution: Distribution, *numbers: float) -> None:
    finite = all(abs(number) <= LARGEST for number in numbers)  # false of NaN too
    _require(finite, distribution, f"numbers must be finite, at most {LARGEST:g} in size")


def _all_inside(inside: np.ndarray) -> np.ndarray:
    return np.logical_and.reduce(inside.reshape(len(inside), -1), axis=1)


class Interval(Distribution):
    """A distribution on the numbers from `low` to `high`, independently in each element."""

    low: float
    high: float

    @property
    def range(self) -> tuple[float, float]:
        """Both ends."""
        return self.low, self.high


@dataclass(frozen=True)
class Uniform(Interval):
    """Uniform on [low, high), independently in each element."""

    low: float
    high: float
    shape: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        _require_finite(self, self.low, self.high)
        _require(self.low < self.high, self, "low must be below high")

    def sample(self, streams: Streams) -> np.ndarray:
        """Return float64 [n, *shape]."""
        return self.low + (self.high - self.low) * streams.uniform(self.shape)

    def contains(self, values: np.ndarray) -> np.ndarray:
        """Return bool [n]. Both ends belong to the range."""
        return _all_inside((values >= self.low) & (values <= self.high))


@dataclass(frozen=True)
class LogUniform(Interval):
    """Uniform in the logarithm on [low, high), independently in each element. 0 < low."""

    low: float
    high: float
    shape: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        _require_finite(self, self.low, self.high)
        _require(0 < self.low < self.high, self, "0 < low < high must hold")
        _require(self.low >= 1 / LARGEST, self, f"low must be at least {1 / LARGEST:g}")

    def sample(self, streams: Streams) -> np.ndarray:
        """Return float64 [n, *shape]."""
        return np.exp(math.log(self.low) + math.log(self.high / self.low) * streams.uniform(self.shape))

    def contains(self, values: np.ndarray) -> np.ndarray:
        """Return bool [n]. Both ends belong to the range, to rounding of the exponential."""
        slack = 1 + 1e-12
        return _all_inside((values >= self.low / slack) & (values <= self.high * slack))


@dataclass(frozen=True)
class Normal(Distribution):
    """Normal with the given mean and standard deviation, independently in each element."""

    mean: float
    std: float
    shape: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        _require_finite(self, self.mean, self.std)
        _require(self.std > 0, self, "std must be positive")

    def sample(self, streams: Streams) -> np.ndarray:
        """Return float64 [n, *shape]."""
        return self.mean + self.std * streams.normal(self.shape)

    def contains(self, values: np.ndarray) -> np.ndarray:
        """Return bool [n]: every finite value."""
        return _all_inside(np.isfinite(values))


@dataclass(frozen=True)
class Choice(Distribution):
    """One of a few values with equal chances: numbers, or tuples of numbers of one length."""

    values: tuple[float, ...] | tuple[tuple[float, ...], ...]

    def __post_init__(self) -> None:
        _require(len({np.shape(value) for value in self.values}) <= 1, self, "values must have one shape")
        _require(all(np.size(value) for value in self.values), self, "each value must have at least one number")
        _require_finite(self, *np.ravel(self.values))
        _require(len(set(self.values)) == len(self.values) > 0, self, "values must be different and at least one")

    @property
    def shape(self) -> tuple[int, ...]:
        """() for numbers, (length,) for tuples."""
        return np.shape(self.values[0])

    @property
    def num_values(self) -> int:
        """Number of different values."""
        return len(self.values)

    @property
    def range(self) -> tuple[float, float]:
        """The least and the greatest number."""
        return float(np.min(self.values)), float(np.max(self.values))

    def sample(self, streams: Streams) -> np.ndarray:
        """Return float64 [n, *shape]."""
        return np.array(self.values, dtype=np.float64)[streams.integers(len(self.values))]

    def contains(self, values: np.ndarray) -> np.ndarray:
        """Return bool [n]."""
        chosen = np.array(self.values).reshape(len(self.values), -1)
        return (values.reshape(len(values), 1, -1) == chosen).all(axis=2).any(axis=1)


@dataclass(frozen=True)
class Subset(Distribution):
    """`size` different ones of a few numbers, in random order: the classes of a task, whose places are their labels."""

    values: tuple[float, ...]
    size: int

    def __post_init__(self) -> None:
        _require_finite(self, *self.values)
        _require(len(set(self.values)) == len(self.values), self, "values must be different")
        _require(1 <= self.size <= len(self.values), self, "size must be from 1 to the number of values")

    def __str__(self) -> str:
        return f"{self.size} of {len(self.values):,} values, in random order"

    @property
    def shape(self) -> tuple[int, ...]:
        """(size,)."""
        return (self.size,)

    @property
    def num_values(self) -> int:
        """Number of different values; another order is another value."""
        return math.perm(len(self.values), self.size)

    @property
    def range(self) -> tuple[float, float]:
        """The least and the greatest number."""
        return float(min(self.values)), float(max(self.values))

    def sample(self, streams: Streams) -> np.ndarray:
        """Return float64 [n, size]."""
        order = np.argsort(streams.uniform((len(self.values),)), axis=-1)
        return np.array(self.values, dtype=np.float64)[order[:, : self.size]]

    def contains(self, values: np.ndarray) -> np.ndarray:
        """Return bool [n]."""
        ascending = np.sort(values, axis=1)
        return _all_inside(np.isin(values, self.values)) & (ascending[:, 1:] > ascending[:, :-1]).all(axis=1)


@dataclass(frozen=True)
class Labels(Distribution):
    """One of a few values that are not all numbers, such as true and false, with equal chances.

    Tasks hold numbers, so a task holds the place of its value among `labels`.
    """

    labels: tuple[Any, ...]
    """Every value of the parameter, in training and in extrapolation: booleans, texts, None, numbers, or lists."""
    places: tuple[int, ...] = ()
    """Places of the values that are drawn; none for all."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "places", self.places or tuple(range(len(self.labels))))
        written = [json.dumps(label, sort_keys=True, default=str) for label in self.labels]
        _require(len(set(written)) == len(written) > 0, self, "values must be different and at least one")

    def __str__(self) -> str:
        return f"one of {', '.join(map(_word, self.drawn))}"

    @property
    def drawn(self) -> tuple[Any, ...]:
        """The values that are drawn."""
        return tuple(self.labels[place] for place in self.places)

    @property
    def shape(self) -> tuple[int, ...]:
        """A task holds one number."""
        return ()

    @property
    def num_values(self) -> int:
        """Number of different values."""
        return len(self.places)

    @property
    def range(self) -> tuple[float, float]:
        """Places of the first and the last value."""
        return float(min(self.places)), float(max(self.places))

    def sample(self, streams: Streams) -> np.ndarray:
        """Return float64 [n], the places of the values."""
        return np.array(self.places, dtype=np.float64)[streams.integers(len(self.places))]

    def contains(self, values: np.ndarray) -> np.ndarray:
        """Return bool [n]."""
        return np.isin(values, self.places)

    def encode(self, value: Any) -> Any:
        """Return the place of a value. Raises MetarlError for a value that is none of the parameter's."""
        for place, label in enumerate(self.labels):
            if type(label) is type(value) and label == value:
                return float(place)
        if isinstance(value, float) and value.is_integer() and 0 <= value < len(self.labels):
            return value  # as in the tasks that `sample` returns
        raise MetarlError(f"{value!r} is none of {', '.join(map(_word, self.labels))}")

    def decode(self, numbers: Any) -> Any:
        """Return the value at a place."""
        return copy.deepcopy(self.labels[int(numbers)])

    def word(self, place: float) -> str:
        """Return the value at a place as YAML writes it."""
        return _word(self.labels[int(place)])


def _word(label: Any) -> str:
    """Return a value as YAML writes it."""
    return label if isinstance(label, str) else json.dumps(label, default=str)


@dataclass(frozen=True)
class Dirichlet(Distribution):
    """Symmetric Dirichlet over the last axis, whose elements are chances that sum to 1. Other axes are independent."""

    concentration: float = 1.0
    shape: tuple[int, ...] = (2,)

    def __post_init__(self) -> None:
        _require_finite(self, self.concentration)
        # Far below a tenth, all gamma numbers of a row may be 0 in float64.
        _require(self.concentration >= 0.1, self, "concentration must be at least 0.1")
        _require(len(self.shape) > 0 and self.shape[-1] > 1, self, "the last axis must have at least 2 elements")

    @property
    def range(self) -> tuple[float, float]:
        """0 and 1, the range of a chance."""
        return 0.0, 1.0

    def sample(self, streams: Streams) -> np.ndarray:
        """Return float64 [n, *shape]: gamma numbers, drawn by inversion, divided by their sum."""
        from scipy import special  # imported here for a fast start

        chance = np.maximum(streams.uniform(self.shape), 2.0**-54)
        if self.concentration == 1:
            weights = -special.log1p(-chance)  # equals the inverse below, 15 times as fast
        else:
            weights = special.gammaincinv(self.concentration, chance)
        return weights / weights.sum(axis=-1, keepdims=True)

    def contains(self, values: np.ndarray) -> np.ndarray:
        """Return bool [n], to rounding of the sum."""
        summed = np.abs(values.sum(axis=-1, keepdims=True) - 1) <= 1e-9
        return _all_inside((values >= 0) & summed)


class Planar(Distribution):
    """A distribution of points of the plane, at most `radius` from the origin."""

    radius: float
    shape = (2,)

    @property
    def range(self) -> tuple[float, float]:
        """Range of each coordinate."""
        return -self.radius, self.radius


@dataclass(frozen=True)
class Disc(Planar):
    """Points between two circles about the origin, uniform in area. `inner` is 0 for a full disc."""

    radius: float
    inner: float = 0.0

    def __post_init__(self) -> None:
        _require_finite(self, self.radius, self.inner)
        _require(0 <= self.inner < self.radius, self, "0 <= inner < radius must hold")

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
class Circle(Planar):
    """Points on an arc of a circle about the origin, uniform in the angle from `low` to `high` in radians."""

    radius: float = 1.0
    low: float = 0.0
    high: float = 2 * math.pi

    def __post_init__(self) -> None:
        _require_finite(self, self.radius, self.low, self.high)
        _require(self.radius > 0, self, "radius must be positive")
        _require(self.low < self.high <= self.low + 2 * math.pi, self, "low < high <= low + 2 pi must hold")

    def sample(self, streams: Streams) -> np.ndarray:
        """Return float64 [n, 2]: radius (cos theta, sin theta), theta = low + (high - low) U."""
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
