"""Statistics over seeds and tasks that outliers cannot move: interquartile means and bootstrap intervals."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from ..base.errors import MetarlError

_BLOCK = 2**24
"""Most numbers that are resampled at once."""


def iqm(values: np.ndarray, axis: int = 0) -> np.ndarray:
    """Return the interquartile mean along `axis`: the mean without the lowest and the highest quarter of values.

    Quarters are rounded down, so that fewer than four values give their mean. NaN anywhere along the axis gives NaN.
    Agarwal et al., "Deep Reinforcement Learning at the Edge of the Statistical Precipice" (NeurIPS 2021).
    """
    ordered = np.sort(np.moveaxis(values, axis, -1), axis=-1)
    count = ordered.shape[-1]
    cut = count // 4
    middle = ordered[..., cut : count - cut].mean(axis=-1)
    # Sorting puts NaN last, into the quarter that is cut off: it must not vanish there.
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

    `values` is [seed, task, ...]: every training seed met the same tasks. Each resample draws seeds and tasks with
    replacement and takes `statistic(pooled, axis)` over all drawn seeds in all drawn tasks: the pigeonhole bootstrap of
    Owen, "The pigeonhole bootstrap" (2007). Drawing tasks for each seed alone would count an easy task as luck of one
    seed; intervals would be too narrow by up to the root of the number of seeds. Rounds of a task stay together. The
    statistic must shift with its values.

    There are few seeds. Resampling n seeds shows (n - 1) / n of their variance, with tails that are too short. So the
    deviations of the seeds' statistics from their mean are stretched to give the width of a Student's t interval with
    n - 1 degrees of freedom. The interval of one seed is over tasks alone and says nothing of other seeds.
    """
    _require_options(resamples, confidence)
    drawn_tasks, drawn_seeds = (rng.integers(size, size=(resamples, size)) for size in (values.shape[1], len(values)))
    return _ends(_resample(values, statistic, drawn_seeds, drawn_tasks, confidence), confidence)


def gap_bootstrap(
    ours: np.ndarray,
    theirs: np.ndarray,
    statistic: Callable[[np.ndarray, int], np.ndarray],
    *,
    resamples: int = 2000,
    confidence: float = 0.95,
    rng: np.random.Generator,
) -> tuple[np.ndarray, np.ndarray]:
    """Return the low and high ends of the interval of a difference of statistics, each of shape [...].

    It is the statistic of `ours` [seed, task, ...] minus that of `theirs` [seed, other task, ...]: the same training
    seeds in two kinds of task, such as training tasks and new ones. Each resample draws the seeds for both together and
    the tasks of each apart; the rest is as in `crossed_bootstrap`.
    """
    _require_options(resamples, confidence)
    drawn_seeds = rng.integers(len(ours), size=(resamples, len(ours)))
    mine, others = (
        _resample(values, statistic, drawn_seeds, rng.integers(tasks, size=(resamples, tasks)), confidence)
        for values, tasks in ((ours, ours.shape[1]), (theirs, theirs.shape[1]))
    )
    return _ends(mine - others, confidence)


MOST_RESAMPLES = 100_000
"""Most resamples of a bootstrap: 2,000 already give ends of an interval to a few hundredths of its width."""


def _require_options(resamples: int, confidence: float) -> None:
    if not 1 <= resamples <= MOST_RESAMPLES:
        raise MetarlError(f"resamples is {resamples}; it must be from 1 to {MOST_RESAMPLES}")
    if not 0 < confidence < 1:
        raise MetarlError(f"confidence is {confidence}; it must be between 0 and 1, such as 0.95")


def _resample(
    values: np.ndarray,
    statistic: Callable[[np.ndarray, int], np.ndarray],
    drawn_seeds: np.ndarray,
    drawn_tasks: np.ndarray,
    confidence: float,
) -> np.ndarray:
    """Return the statistic of each resample of values [seed, task, ...], [resample, ...]."""
    rest, resamples = values.shape[2:], len(drawn_seeds)
    stretched = _stretch_seeds(values, statistic, confidence)
    # In blocks: all resamples of a thousand tasks and a hundred rounds would not fit into memory.
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


def _stretch_seeds(
    values: np.ndarray, statistic: Callable[[np.ndarray, int], np.ndarray], confidence: float
) -> np.ndarray:
    """Return values [seed, task, ...] with the seeds moved apart; see `crossed_bootstrap`."""
    levels = statistic(values, 1)
    return values + ((_stretch_factor(len(values), confidence) - 1) * (levels - levels.mean(axis=0)))[:, None]


def _stretch_factor(seeds: int, confidence: float) -> float:
    """Return the factor by which seeds move away from their mean; 1 for a single seed."""
    if seeds == 1:
        return 1.0
    from scipy import stats

    tail = (1 + confidence) / 2
    return math.sqrt(seeds / (seeds - 1)) * float(stats.t.ppf(tail, seeds - 1) / stats.norm.ppf(tail))


def paired_bootstrap(
    cells: np.ndarray, *, resamples: int = 2000, confidence: float = 0.95, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Return the low and high ends of the percentile bootstrap interval of the mean of `cells`, each of shape [...].

    `cells` is [seed, other seed, task, ...] and compares a seed of one agent with a seed of another in a task that both
    met: their difference, or whether the one beats the other. Each resample draws tasks, seeds of the one and seeds of
    the other with replacement, all crossed. The seeds of both are moved apart as in `crossed_bootstrap`.
    """
    _require_options(resamples, confidence)
    drawn = [_counts(rng, resamples, size) for size in (cells.shape[2], cells.shape[0], cells.shape[1])]
    mean = cells.mean(axis=(0, 1, 2), keepdims=True)
    levels = [cells.mean(axis=tuple({0, 1, 2} - {axis}), keepdims=True) - mean for axis in (0, 1)]
    for axis, level in enumerate(levels):
        cells = cells + (_stretch_factor(cells.shape[axis], confidence) - 1) * level
    of_tasks, of_seeds, of_others = (counts / counts.shape[1] for counts in drawn)
    estimates = np.einsum("rt,rs,ro,sot...->r...", of_tasks, of_seeds, of_others, cells, optimize=True)
    return _ends(estimates, confidence)


def _counts(rng: np.random.Generator, resamples: int, size: int) -> np.ndarray:
    """Return how often each of `size` items is drawn in `size` draws with replacement, [resample, item]."""
    return rng.multinomial(size, np.full(size, 1 / size), size=resamples)


def mean_margin(values: np.ndarray) -> np.ndarray:
    """Return 1.96 standard errors of the mean of `values` [task, ...] over tasks, [...]; NaN for a single task.

    Papers on few-shot learning print it behind a plus-minus: half of a normal 95 % interval, for one trained model.
    """
    if len(values) == 1:
        return np.full(values.shape[1:], np.nan)
    return np.asarray(1.96 * values.std(axis=0, ddof=1) / math.sqrt(len(values)))


def mean_interval(values: np.ndarray, *, rng: np.random.Generator) -> np.ndarray:
    """Return the 95 % bootstrap interval of the mean of `values` [seed, task, ...] over seeds and tasks, [..., 2].

    NaN for a single task.
    """
    if values.shape[1] == 1:
        return np.full((*values.shape[2:], 2), np.nan)
    return np.stack(crossed_bootstrap(values, lambda pooled, axis: pooled.mean(axis=axis), rng=rng), axis=-1)


def iqm_interval(values: np.ndarray, *, rng: np.random.Generator) -> np.ndarray:
    """Return the 95 % interval of the IQM of `values` [seed, task, ...] over seeds and tasks, [..., 2].

    NaN for a single task.
    """
    if values.shape[1] == 1:  # one task is resampled as itself: no interval, rather than one of width zero
        return np.full((*values.shape[2:], 2), np.nan)
    return np.stack(crossed_bootstrap(values, iqm, rng=rng), axis=-1)
