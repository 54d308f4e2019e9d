"""Measures of adaptation: what is told of an agent beside its return, each with its definition and source.

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
    """When a curve got to a level for the first time."""

    rounds: float
    """Rounds of adaptation before the first one at the level: 0 where it began there; infinite where it never came to it."""
    env_steps: float
    """Environment steps spent in the new task by then; infinite likewise."""


def steps_before(env_steps: np.ndarray) -> np.ndarray:
    """Return the steps spent before each round from those spent by its end, [..., round]: the first begins at zero."""
    return np.concatenate([np.zeros_like(env_steps[..., :1]), env_steps[..., :-1]], axis=-1)


def first_at(curve: np.ndarray, env_steps: np.ndarray, level: float) -> Speed:
    """Return when `curve` [round] is at `level` or above for the first time; `env_steps` [round] is spent by a round's end."""
    at = np.flatnonzero(curve >= level)
    return Speed(float(at[0]), float(steps_before(env_steps)[at[0]])) if len(at) else Speed(math.inf, math.inf)


def adaptation_speed(curve: np.ndarray, env_steps: np.ndarray, share: float = 0.9) -> Speed:
    """Return when the curve [round] first had `share` of what it gained from its first round to its last.

    Infinite where it gained nothing: there is no speed of an adaptation that there is not. NaN where it is not a number.
    """
    if np.isnan(curve).any():
        return Speed(math.nan, math.nan)
    gain = curve[-1] - curve[0]
    # What is there but for rounding is there.
    level = curve[0] + (share - 1e-9) * gain
    return first_at(curve, env_steps, min(level, curve[-1])) if gain > 0 else Speed(math.inf, math.inf)


class Threshold(NamedTuple):
    """How soon single seeds and tasks get to a return."""

    reached: float
    """Share of them that ever did, within the budget."""
    rounds: float
    """Median over all of the rounds of adaptation before they did; infinite where half or more never did."""
    env_steps: float
    """The same in environment steps."""


def steps_to(returns: np.ndarray, env_steps: np.ndarray, level: float) -> Threshold:
    """Return how soon `returns` [..., round] come to `level`; `env_steps` [..., round] is spent by a round's end.

    Those that never do are censored: they take longer than the budget, nobody knows how much. They count as infinite in the
    median, which is that of Kaplan and Meier (1958) where all are censored at the same budget; left out, or counted as the
    budget, they would make an agent that fails look fast.
    """
    there = returns >= level
    reached, first = there.any(axis=-1), there.argmax(axis=-1)
    before = np.broadcast_to(steps_before(env_steps), returns.shape)
    spent = np.take_along_axis(before, first[..., None], axis=-1)[..., 0]
    # Of an even number the upper of the two in the middle: half of something and infinity is no number of steps.
    rounds, steps = (
        float(np.quantile(np.where(reached, each, math.inf), 0.5, method="higher")) for each in (first, spent)
    )
    return Threshold(float(reached.mean()), rounds, steps)


def cvar(values: np.ndarray, share: float = 0.1, axis: int = -1) -> np.ndarray:
    """Return the mean of the worst `share` of values along `axis`, at least one: conditional value at risk.

    Rockafellar and Uryasev, Optimization of Conditional Value-at-Risk, 2000, with the number of values rounded up.
    """
    if not 0 < share <= 1:
        raise MetarlError(f"share is {share}; it must be above 0 and at most 1")
    ordered = np.sort(np.moveaxis(values, axis, -1), axis=-1)
    # 0.1 * 30 is above 3 by rounding alone.
    worst = ordered[..., : max(1, math.ceil(round(share * ordered.shape[-1], 9)))].mean(axis=-1)
    return np.where(np.isnan(ordered[..., -1]), np.nan, worst)


def normalized(returns: np.ndarray, low: float, high: float) -> np.ndarray:
    """Return `returns` on the scale where `low` is 0 and `high` is 1. Raises MetarlError unless `high` is above `low`."""
    if not high > low:  # which neither is where one is not a number
        raise MetarlError(f"the upper end of the scale is {high:.6g}, the lower {low:.6g}; give first what scores less")
    return (returns - low) / (high - low)


def shortfalls(returns: np.ndarray, goals: np.ndarray | float) -> np.ndarray:
    """Return how far `returns` [..., task] are below `goals` [task], zero where they are above.

    The mean, on the scale of scores, is the optimality gap of Agarwal et al., 2021: what is above the goal in one task does not make
    up for what is below in another.
    """
    return np.maximum(goals - returns, 0.0)


class Recovery(NamedTuple):
    """Rewards a step around a change of the task, and how soon they are up again."""

    before: np.ndarray
    """Mean over the last steps before the change. [...]"""
    after: np.ndarray
    """Mean over the first steps after it. [...]"""
    end: np.ndarray
    """Mean over the last steps before the next change, or of the trial. [...]"""
    steps: float
    """Steps from the change until rewards were 90 % of the way from `after` to `end`; infinite where `end` is not above `after`."""


def recovery(
    rewards: np.ndarray, change: int, until: int, *, window: int, pool: Callable[[np.ndarray], np.ndarray]
) -> Recovery:
    """Return how `rewards` [..., step] recover from a change after `change` steps, before the next or the end at `until`.

    Rewards are means over `window` steps. `pool` makes one number a window of [..., window]: the curve that the speed is read from, as
    that of rounds is. Where it first is 90 % of the way up, the steps are those from the change to the window's first step. Raises
    MetarlError where there are not `window` steps on both sides of the change.
    """
    if not window <= change <= until - window:
        raise MetarlError(f"there are not {window} steps before step {change} and from it to step {until}; take fewer")
    means = sliding_window_view(rewards[..., :until], window, axis=-1).mean(axis=-1)
    later = means[..., change:]
    curve = pool(later)
    # A window's number is how many steps after the change it begins.
    steps = adaptation_speed(curve, np.arange(1, len(curve) + 1)).rounds
    return Recovery(means[..., change - window], later[..., 0], later[..., -1], steps)


def differences(ours: np.ndarray, theirs: np.ndarray) -> np.ndarray:
    """Return `ours` [seed, task] less `theirs` [other seed, task] in each task of both, [seed, other seed, task]."""
    return ours[:, None] - theirs[None]


def improvements(ours: np.ndarray, theirs: np.ndarray) -> np.ndarray:
    """Return 1 where a seed of `ours` [seed, task] beats one of `theirs` [other seed, task] in a task, 0.5 for a draw, else 0.

    [seed, other seed, task]. The mean is the probability of improvement of Agarwal et al., 2021: the Mann-Whitney statistic of
    each task, mean over tasks.
    """
    return 0.5 * (1.0 + np.sign(differences(ours, theirs)))


def above(values: np.ndarray, levels: np.ndarray) -> np.ndarray:
    """Return 1 where `values` [...] are above each of `levels` [level], else 0, [..., level].

    The mean over seeds and tasks is the performance profile of Agarwal et al., 2021, equation 3.
    """
    return (values[..., None] > levels).astype(np.float64)
