"""Measures of adaptation beside the return, each with its definition and source.

docs/evaluation.md has every formula and the reason for it.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from ..base.errors import MetarlError


class Speed(NamedTuple):
    """The time at which a curve first reaches a level."""

    rounds: float
    """Rounds of adaptation before the first round at the level: 0 for a curve that starts there, infinite for a curve
    that never reaches it."""
    env_steps: float
    """Environment steps spent in the new task by then; infinite likewise."""


def steps_before(env_steps: np.ndarray) -> np.ndarray:
    """Return the steps spent before each round from the steps spent by its end, [..., round]. The first is zero."""
    return np.concatenate([np.zeros_like(env_steps[..., :1]), env_steps[..., :-1]], axis=-1)


def first_at(curve: np.ndarray, env_steps: np.ndarray, level: float) -> Speed:
    """Return when `curve` [round] first reaches `level`. `env_steps` [round] are spent by the end of each round."""
    at = np.flatnonzero(curve >= level)
    return Speed(float(at[0]), float(steps_before(env_steps)[at[0]])) if len(at) else Speed(math.inf, math.inf)


def adaptation_speed(curve: np.ndarray, env_steps: np.ndarray, share: float = 0.9) -> Speed:
    """Return when the curve [round] first has `share` of its gain from the first round to the last.

    Infinite for a curve that gains nothing, NaN for a curve with a NaN. `env_steps` [round] are spent by the end of
    each round.
    """
    if np.isnan(curve).any():
        return Speed(math.nan, math.nan)
    gain = curve[-1] - curve[0]
    # A level that is missed by rounding alone is reached.
    level = curve[0] + (share - 1e-9) * gain
    return first_at(curve, env_steps, min(level, curve[-1])) if gain > 0 else Speed(math.inf, math.inf)


class Threshold(NamedTuple):
    """How soon single seeds and tasks reach a return."""

    reached: float
    """Share of them that reach it."""
    rounds: float
    """Median of the rounds of adaptation before they reach it; infinite if half or more never do."""
    env_steps: float
    """The same median in environment steps."""


def steps_to(returns: np.ndarray, env_steps: np.ndarray, level: float) -> Threshold:
    """Return how soon `returns` [..., round] reach `level`.

    `env_steps` [..., round] are spent by the end of each round. A seed and task that never reaches the level is
    censored: it takes longer than the evaluation, by an unknown time.
    It counts as infinite, so that the median is that of Kaplan and Meier (1958) with equal censoring times. Left out,
    or counted as the length of the evaluation, it would make a failing agent look fast.
    """
    there = returns >= level
    reached, first = there.any(axis=-1), there.argmax(axis=-1)
    before = np.broadcast_to(steps_before(env_steps), returns.shape)
    spent = np.take_along_axis(before, first[..., None], axis=-1)[..., 0]
    # Of an even number the upper of the middle two: the mean of a number and infinity is no number of steps.
    rounds, steps = (
        float(np.quantile(np.where(reached, each, math.inf), 0.5, method="higher")) for each in (first, spent)
    )
    return Threshold(float(reached.mean()), rounds, steps)


def cvar(values: np.ndarray, share: float = 0.1, axis: int = -1) -> np.ndarray:
    """Return the mean of the worst `share` of values along `axis`, the conditional value at risk.

    Rockafellar and Uryasev, "Optimization of Conditional Value-at-Risk" (2000). The number of values is rounded up.
    Raises MetarlError unless `share` is above 0 and at most 1.
    """
    if not 0 < share <= 1:
        raise MetarlError(f"share is {share}; it must be above 0 and at most 1")
    ordered = np.sort(np.moveaxis(values, axis, -1), axis=-1)
    # 0.1 * 30 is above 3 by rounding alone.
    worst = ordered[..., : max(1, math.ceil(round(share * ordered.shape[-1], 9)))].mean(axis=-1)
    return np.where(np.isnan(ordered[..., -1]), np.nan, worst)


def normalize_returns(returns: np.ndarray, low: float, high: float) -> np.ndarray:
    """Return `returns` on the scale from `low`, 0, to `high`, 1.

    Raises MetarlError unless `high` is above `low`, and for a scale so narrow that scores on it are not finite.
    """
    if not high > low:  # also true if one is NaN
        raise MetarlError(f"the scale goes from {low:.6g} to {high:.6g}; give the lower score first")
    with np.errstate(over="ignore"):
        scores = (returns - low) / (high - low)
    if np.isinf(scores).any():
        raise MetarlError(
            f"the scale goes from {low:.6g} to {high:.6g}, which is too narrow; give scores further apart"
        )
    return scores


def shortfalls(returns: np.ndarray, goals: np.ndarray | float) -> np.ndarray:
    """Return how far `returns` [..., task] are below `goals` [task]; 0 for returns above.

    The mean on the scale of scores is the optimality gap of Agarwal et al. (2021): a return above the goal in one task
    does not make up for a return below it in another.
    """
    return np.maximum(goals - returns, 0.0)


class Recovery(NamedTuple):
    """Rewards around a change of the task within a trial, and the steps until they recover."""

    before: np.ndarray
    """Mean reward over the last steps before the change. [...]"""
    after: np.ndarray
    """Mean reward over the first steps after it. [...]"""
    end: np.ndarray
    """Mean reward over the last steps before the next change or the end of the trial. [...]"""
    steps: float
    """Steps from the change until rewards are 90 % of the way from `after` to `end`; infinite unless `end` is above
    `after`."""


def recovery(
    rewards: np.ndarray, change: int, until: int, *, window: int, pool: Callable[[np.ndarray], np.ndarray]
) -> Recovery:
    """Return how `rewards` [..., step] recover from a change of the task after `change` steps.

    The next change, or the end of the trial, is after `until` steps. Rewards are means over `window` steps. `pool` maps
    [..., window number] to the curve [window number] whose speed is measured, as `adaptation_speed` does for rounds;
    the recovery ends at the first step of the window that has 90 % of the gain. Raises MetarlError for fewer than
    `window` steps on either side of the change.
    """
    if not window <= change <= until - window:
        raise MetarlError(
            f"window is {window}; it must be at most the steps on either side of step {change} before step {until}"
        )
    means = sliding_window_view(rewards[..., :until], window, axis=-1).mean(axis=-1)
    later = means[..., change:]
    curve = pool(later)
    # Window number n starts n steps after the change.
    steps = adaptation_speed(curve, np.arange(1, len(curve) + 1)).rounds
    return Recovery(means[..., change - window], later[..., 0], later[..., -1], steps)


def differences(ours: np.ndarray, theirs: np.ndarray) -> np.ndarray:
    """Return `ours` [seed, task] minus `theirs` [other seed, task] in each task, [seed, other seed, task]."""
    return ours[:, None] - theirs[None]


def improvements(ours: np.ndarray, theirs: np.ndarray) -> np.ndarray:
    """Return 1 if a seed of `ours` beats a seed of `theirs` in a task, 0.5 for a draw, else 0.

    `ours` is [seed, task], `theirs` [other seed, task], the result [seed, other seed, task]. Its mean is the
    probability of improvement of Agarwal et al. (2021): the Mann-Whitney statistic of each task, mean over tasks.
    """
    return 0.5 * (1.0 + np.sign(differences(ours, theirs)))


def above(values: np.ndarray, levels: np.ndarray) -> np.ndarray:
    """Return 1 if a value of `values` [...] is above a level of `levels` [level], else 0, [..., level].

    The mean over seeds and tasks is the performance profile of Agarwal et al. (2021), equation 3.
    """
    return (values[..., None] > levels).astype(np.float64)
