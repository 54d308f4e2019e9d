"""Statistics over tasks that a few lucky ones cannot move: interquartile means and bootstrap intervals."""

from __future__ import annotations

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


def stratified_bootstrap(
    values: np.ndarray,
    statistic: Callable[[np.ndarray, int], np.ndarray],
    *,
    resamples: int = 2000,
    confidence: float = 0.95,
    rng: np.random.Generator,
) -> tuple[np.ndarray, np.ndarray]:
    """Return the low and high ends of the percentile bootstrap interval of a statistic, each of shape [...].

    `values` is [stratum, unit, ...]. Each resample draws units (tasks) with replacement within every stratum (seed),
    pools the strata and takes `statistic(pooled, axis)`. Whole units are drawn: rounds of one task stay together.
    """
    strata, units, *rest = values.shape
    chosen = rng.integers(units, size=(resamples, strata, units))
    # In blocks: of a thousand tasks and a hundred rounds, all resamples at once would not fit into memory.
    blocks = np.array_split(chosen, max(1, min(resamples, resamples * values.size // _BLOCK)))
    strata_of = np.arange(strata)[:, None]
    estimates = np.concatenate(
        [statistic(values[strata_of, block].reshape(len(block), strata * units, *rest), 1) for block in blocks]
    )
    tail = (1 - confidence) / 2
    low, high = np.quantile(estimates, (tail, 1 - tail), axis=0)
    return low, high


def iqm_interval(values: np.ndarray, *, rng: np.random.Generator) -> np.ndarray:
    """Return the ends of the 95 % interval of the IQM of `values` [seed, task, ...] over both, [..., 2].

    Tasks are resampled within each seed. NaN where there is one task only.
    """
    if values.shape[1] == 1:  # one task resampled is itself every time: no interval, rather than one of width zero
        return np.full((*values.shape[2:], 2), np.nan)
    return np.stack(stratified_bootstrap(values, iqm, rng=rng), axis=-1)
