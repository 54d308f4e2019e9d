"""Statistics over tasks that a few lucky ones cannot move: interquartile means and bootstrap intervals."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

_BLOCK = 2**24
"""Numbers that are resampled at once."""


def iqm(values: np.ndarray, axis: int = 0) -> np.ndarray:
    """Return the interquartile mean along `axis`: the mean of what is left without the lowest and highest quarter.

    Quarters are rounded down, so fewer than four values give their mean, as in Agarwal et al., "Deep Reinforcement
    Learning at the Edge of the Statistical Precipice" (NeurIPS 2021). NaN anywhere along the axis gives NaN.
    """
    ordered = np.sort(np.moveaxis(values, axis, -1), axis=-1)
    count = ordered.shape[-1]
    cut = count // 4
    middle = ordered[..., cut : count - cut].mean(axis=-1)
    # Sorting puts NaN last, into the quarter that is cut off: a result that is not a number must not vanish there.
    return np.where(np.isnan(ordered[..., -1]), np.nan, middle)


def crossed_bootstrap(
    values: np.ndarray,
    statistic: Callable[[np.ndarray, int], np.ndarray],
    *,
    resamples: int = 2000,
    confidence: float = 0.95,
    rng: np.random.Generator,
) -> tuple[np.ndarray, np.ndarray]:
    """Return the low and high ends of the percentile bootstrap interval of a statistic, each of shape [...].

    `values` is [seed, task, ...]: every training seed met the same tasks. Each resample draws tasks with replacement, and
    seeds, and takes `statistic(pooled, axis)` over all seeds in all tasks drawn: the "pigeonhole bootstrap" of Owen (2007).
    Drawing tasks for each seed by itself would count a lucky task as luck of one seed alone, and give intervals too narrow by
    up to the root of the number of seeds. Rounds of a task stay together. The statistic must shift with its values.

    Seeds are few. Resampling n of them shows (n - 1) / n of their variance, and its tails are not Student's: distances of
    the seeds' own statistics are stretched by what is missing, as for an interval of Student's t of n - 1 degrees. Of one seed the
    interval is over tasks alone, and says nothing of other seeds.
    """
    drawn_tasks, drawn_seeds = (rng.integers(size, size=(resamples, size)) for size in (values.shape[1], len(values)))
    return _ends(_resampled(values, statistic, drawn_seeds, drawn_tasks, confidence), confidence)


def gap_bootstrap(
    ours: np.ndarray,
    theirs: np.ndarray,
    statistic: Callable[[np.ndarray, int], np.ndarray],
    *,
    resamples: int = 2000,
    confidence: float = 0.95,
    rng: np.random.Generator,
) -> tuple[np.ndarray, np.ndarray]:
    """Return the low and high ends of the interval of a statistic of `ours` less that of `theirs`, each of shape [...].

    [seed, task, ...] and [seed, other task, ...]: the same training seeds in tasks of two kinds, such as those trained on and new ones.
    Each resample draws the tasks of both apart, and the seeds for both together; else it is `crossed_bootstrap`.
    """
    drawn_seeds = rng.integers(len(ours), size=(resamples, len(ours)))
    mine, others = (
        _resampled(values, statistic, drawn_seeds, rng.integers(tasks, size=(resamples, tasks)), confidence)
        for values, tasks in ((ours, ours.shape[1]), (theirs, theirs.shape[1]))
    )
    return _ends(mine - others, confidence)


def _resampled(
    values: np.ndarray,
    statistic: Callable[[np.ndarray, int], np.ndarray],
    drawn_seeds: np.ndarray,
    drawn_tasks: np.ndarray,
    confidence: float,
) -> np.ndarray:
    """Return the statistic of each resample of values [seed, task, ...], [resample, ...]."""
    rest, resamples = values.shape[2:], len(drawn_seeds)
    stretched = _stretched(values, statistic, confidence)
    # In blocks: of a thousand tasks and a hundred rounds, all resamples at once would not fit into memory.
    blocks = max(1, min(resamples, resamples * values.size // _BLOCK))
    return np.concatenate(
        [
            statistic(stretched[of_seeds[:, :, None], of_tasks[:, None, :]].reshape(len(of_seeds), -1, *rest), 1)
            for of_seeds, of_tasks in zip(
                np.array_split(drawn_seeds, blocks), np.array_split(drawn_tasks, blocks), strict=True
            )
        ]
    )


def _ends(estimates: np.ndarray, confidence: float) -> tuple[np.ndarray, np.ndarray]:
    """Return the ends of the percentile interval of estimates [resample, ...]."""
    tail = (1 - confidence) / 2
    low, high = np.quantile(estimates, (tail, 1 - tail), axis=0)
    return low, high


def _stretched(values: np.ndarray, statistic: Callable[[np.ndarray, int], np.ndarray], confidence: float) -> np.ndarray:
    """Return values [seed, task, ...], each seed moved away from the mean of seeds as few seeds ask for."""
    levels = statistic(values, 1)
    return values + ((_stretch(len(values), confidence) - 1) * (levels - levels.mean(axis=0)))[:, None]


def _stretch(seeds: int, confidence: float) -> float:
    """Return by which factor to move seeds away from their mean: 1 where there is one, which says nothing of others."""
    if seeds == 1:
        return 1.0
    from scipy import stats

    tail = (1 + confidence) / 2
    return math.sqrt(seeds / (seeds - 1)) * float(stats.t.ppf(tail, seeds - 1) / stats.norm.ppf(tail))


def paired_bootstrap(
    cells: np.ndarray, *, resamples: int = 2000, confidence: float = 0.95, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Return the low and high ends of the percentile bootstrap interval of the mean of `cells`, each of shape [...].

    `cells` is [seed, other seed, task, ...] and says how a seed of one agent compares to one of another in a task that both met: their
    difference, or whether the one beat the other. Each resample draws tasks, seeds of the one and seeds of the other, each with
    replacement and crossed, and the seeds of both are moved apart as few of them ask for, as in `crossed_bootstrap`.
    """
    drawn = [_counts(rng, resamples, size) for size in (cells.shape[2], cells.shape[0], cells.shape[1])]
    mean = cells.mean(axis=(0, 1, 2), keepdims=True)
    levels = [cells.mean(axis=tuple({0, 1, 2} - {axis}), keepdims=True) - mean for axis in (0, 1)]
    for axis, level in enumerate(levels):
        cells = cells + (_stretch(cells.shape[axis], confidence) - 1) * level
    of_tasks, of_seeds, of_others = (counts / counts.shape[1] for counts in drawn)
    estimates = np.einsum("rt,rs,ro,sot...->r...", of_tasks, of_seeds, of_others, cells, optimize=True)
    return _ends(estimates, confidence)


def _counts(rng: np.random.Generator, resamples: int, size: int) -> np.ndarray:
    """Return how often each of `size` is drawn in each resample of `size` draws with replacement, [resample, size]."""
    return rng.multinomial(size, np.full(size, 1 / size), size=resamples)


def iqm_interval(values: np.ndarray, *, rng: np.random.Generator) -> np.ndarray:
    """Return the ends of the 95 % interval of the IQM of `values` [seed, task, ...] over both, [..., 2].

    NaN where there is one task only.
    """
    if values.shape[1] == 1:  # one task resampled is itself every time: no interval, rather than one of width zero
        return np.full((*values.shape[2:], 2), np.nan)
    return np.stack(crossed_bootstrap(values, iqm, rng=rng), axis=-1)
