"""Which of several results nobody beats in every objective: the Pareto front."""

from __future__ import annotations

import numpy as np

from ..base.errors import MetarlError


def pareto_front(points: np.ndarray) -> np.ndarray:
    """Return which of `points` [point, objective] lie on the Pareto front, bool [point]. More is better.

    A point is off the front if another one is at least as good in every objective, and better in one. Of equal points
    all are on it, or none. Raises MetarlError for another number of axes, no objective, and NaN.
    """
    points = np.asarray(points, dtype=np.float64)
    if points.ndim != 2 or not points.shape[1]:
        raise MetarlError(f"points have shape {points.shape}; it must be [point, objective], of one objective or more")
    if np.isnan(points).any():
        raise MetarlError("points have a NaN, which is neither better nor worse; leave such points out")
    on_front = np.ones(len(points), dtype=bool)
    for number, point in enumerate(points):  # row by row: all pairs at once would take the square of the memory
        on_front[number] = not ((points >= point).all(axis=1) & (points > point).any(axis=1)).any()
    return on_front
