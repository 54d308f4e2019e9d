"""Means and moments over the tasks of all processes that train together; of this one's alone, if there is no other."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from metarl.base.ranks import numbers_of_all, ranks


def sum_over_ranks(values: Sequence[Tensor]) -> list[Tensor]:
    """Return the sum of each tensor over all processes, in one exchange."""
    if ranks().size == 1:
        return list(values)
    flat = torch.cat([value.reshape(-1) for value in values])
    parts = ranks().total(flat).split([value.numel() for value in values])
    return [part.reshape(value.shape).to(value.dtype) for part, value in zip(parts, values, strict=True)]


def mean_over_tasks(values: Mapping[str, Tensor]) -> tuple[dict[str, Tensor], int]:
    """Return the mean of tensors [task, ...] over the tasks of all processes, and their number, in one exchange."""
    first = next(iter(values.values()))
    if ranks().size == 1:
        return {name: value.mean(0) for name, value in values.items()}, len(first)
    count = first.new_tensor([float(len(first))])
    total, *sums = sum_over_ranks([count, *(value.sum(0) for value in values.values())])
    means = {name: value / total[0] for name, value in zip(values, sums, strict=True)}
    return means, int(total)


def mean_of_all(total: Tensor, count: Tensor) -> float:
    """Return a mean over all processes, of which this one has `count` values whose sum is `total`."""
    sums = numbers_of_all([float(total), float(count)]).sum(axis=0)
    return float(sums[0] / max(sums[1], 1.0))


def shares(counts: Sequence[float]) -> list[float]:
    """Return this process's shares in the sums of some counts over all processes."""
    found = numbers_of_all(counts)
    totals = found.sum(axis=0)
    return [float(own / total) if total else 0.0 for own, total in zip(found[ranks().rank], totals, strict=True)]


def place_of(count: int) -> tuple[int, int]:
    """Return the place of this process's first row among the rows of all, and their number; it has `count` rows."""
    counts = numbers_of_all([count])[:, 0].astype(np.int64)
    return int(counts[: ranks().rank].sum()), int(counts.sum())


class Moments(NamedTuple):
    """Count, mean and sum of squared deviations of rows of numbers."""

    num_rows: float
    """Number of rows."""
    mean: np.ndarray
    """Mean of each column. [...]"""
    squares: np.ndarray
    """Sum of the squared deviations from the mean. [...]"""

    @property
    def variance(self) -> np.ndarray:
        """Variance of each column; 0 without rows."""
        return self.squares / max(self.num_rows, 1.0)


def moments_of_all(rows: np.ndarray) -> Moments:
    """Return the moments of the rows [n, ...] of all processes (Chan, Golub and LeVeque, 1979)."""
    count, columns = len(rows), rows.shape[1:]
    mean = rows.mean(axis=0, dtype=np.float64) if count else np.zeros(columns)
    squares = np.square(rows - mean).sum(axis=0, dtype=np.float64)
    found = Moments(float(count), mean, squares)
    if ranks().size == 1:
        return found
    parts = numbers_of_all([count, *np.ravel(mean), *np.ravel(squares)])
    found = Moments(0.0, np.zeros(columns), np.zeros(columns))
    for part in parts:
        means, deviations = (each.reshape(columns) for each in np.split(part[1:], 2))
        found = _merge(found, Moments(float(part[0]), means, deviations))
    return found


def _merge(one: Moments, other: Moments) -> Moments:
    total = one.num_rows + other.num_rows
    if total == 0:
        return one
    shift = other.mean - one.mean
    squares = one.squares + other.squares + np.square(shift) * one.num_rows * other.num_rows / total
    return Moments(total, one.mean + shift * other.num_rows / total, squares)


def normal_by_task(shape: Sequence[int], rng: np.random.Generator) -> np.ndarray:
    """Return standard normal numbers [task, ...]: those that a process alone with all tasks draws for these ones."""
    first, total = place_of(shape[0])
    drawn: np.ndarray = rng.standard_normal((total, *shape[1:]))
    return drawn[first : first + shape[0]]


class TaskNoise:
    """Standard normal numbers for the tasks of an update, the same on every device and however tasks are shared."""

    def __init__(self, generator: torch.Generator, num_tasks: int) -> None:
        self.generator, self.num_tasks = generator, num_tasks
        self.first, self.total = place_of(num_tasks)

    def normal(self, like: Tensor) -> Tensor:
        """Return numbers of the shape, type and device of `like` [task, ...]."""
        shape = (self.total, *like.shape[1:])
        drawn = torch.randn(shape, generator=self.generator, dtype=torch.float64, device="cpu")
        return drawn[self.first : self.first + self.num_tasks].to(like)
