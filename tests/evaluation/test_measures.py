"""Measures of adaptation: agents of known score have exactly that, and formulas equal independent ones."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy import stats

from metarl.base.errors import MetarlError
from metarl.evaluation.measures import (
    Speed,
    Threshold,
    above,
    adaptation_speed,
    cvar,
    differences,
    first_at,
    improvements,
    normalize_returns,
    recovery,
    shortfalls,
    steps_before,
    steps_to,
)

NUMBERS = st.floats(min_value=-1e6, max_value=1e6, allow_subnormal=False)
STEPS = np.array([100.0, 250.0, 300.0, 700.0])
"""Steps spent by the end of four rounds of episodes of different length."""


def test_a_first_round_is_played_before_any_step_is_spent() -> None:
    np.testing.assert_array_equal(steps_before(STEPS), [0, 100, 250, 300])
    np.testing.assert_array_equal(steps_before(np.stack([STEPS, 2 * STEPS])), [[0, 100, 250, 300], [0, 200, 500, 600]])


@pytest.mark.parametrize(
    ("curve", "speed"),
    [
        ([0.0, 10.0, 10.0, 10.0], Speed(1, 100)),  # all at once
        ([0.0, 0.0, 10.0, 10.0], Speed(2, 250)),  # only after round 2
        ([0.0, 8.9, 9.0, 10.0], Speed(2, 250)),
        ([-40.0, -13.0, -12.0, -10.0], Speed(1, 100)),  # returns below zero
        ([0.0, 1.0, 2.0, 3.0], Speed(3, 300)),  # still rising at the end
        ([0.0, 20.0, 5.0, 10.0], Speed(1, 100)),  # better in between than at last
        ([0.0, 0.0, 0.0, 0.0], Speed(math.inf, math.inf)),  # gains nothing
        ([5.0, 4.0, 3.0, 2.0], Speed(math.inf, math.inf)),  # gets worse
    ],
)
def test_speed_of_scripted_curves_is_exact(curve: list[float], speed: Speed) -> None:
    assert adaptation_speed(np.array(curve), STEPS) == speed


@pytest.mark.parametrize("gain", [0.1, 0.3, 1.0, 7.0, 1e-5, 12345.678])
@pytest.mark.parametrize("first", [0.0, -1.0, 3e4])
def test_a_round_at_nine_tenths_of_the_gain_is_there_whatever_the_rounding(gain: float, first: float) -> None:
    assert adaptation_speed(first + gain * np.array([0.0, 0.9, 0.95, 1.0]), STEPS) == Speed(1, 100)


def test_speed_of_what_is_not_a_number_is_none() -> None:
    assert all(math.isnan(part) for part in adaptation_speed(np.array([0.0, np.nan, 1.0, 2.0]), STEPS))


@settings(max_examples=100, deadline=None)
@given(curve=hnp.arrays(np.float64, 4, elements=NUMBERS), share=st.floats(0.01, 1.0))
def test_what_gained_gets_to_each_share_of_it_within_the_trial(curve: np.ndarray, share: float) -> None:
    assert math.isfinite(adaptation_speed(curve, STEPS, share).rounds) == (curve[-1] > curve[0])


def test_a_level_that_is_never_reached_takes_for_ever() -> None:
    assert first_at(np.array([1.0, 2.0, 3.0, 2.0]), STEPS, 3.0) == Speed(2, 250)
    assert first_at(np.array([1.0, 2.0, 3.0, 2.0]), STEPS, 3.1) == Speed(math.inf, math.inf)


def test_tasks_that_never_reach_a_return_count_as_taking_for_ever() -> None:
    soon, late, never = [0.0, 5.0, 5.0, 1.0], [0.0, 1.0, 2.0, 5.0], [4.0, 4.0, 4.0, 4.0]
    assert steps_to(np.array([[soon, soon, late, never]]), STEPS, 5.0) == Threshold(0.75, 3, 300)
    assert steps_to(np.array([[soon, soon, soon, never]]), STEPS, 5.0) == Threshold(0.75, 1, 100)
    assert steps_to(np.array([[soon, never, never, never]]), STEPS, 5.0) == Threshold(0.25, math.inf, math.inf)
    # Half of them is not more than half: the median lies beyond the budget.
    assert steps_to(np.array([[soon, soon, never, never]]), STEPS, 5.0) == Threshold(0.5, math.inf, math.inf)
    assert steps_to(np.array([[never]]), STEPS, 5.0) == Threshold(0.0, math.inf, math.inf)
    assert steps_to(np.array([[never]]), STEPS, 4.0) == Threshold(1.0, 0, 0)


def test_steps_to_a_return_are_those_of_each_task() -> None:
    returns = np.array([[0.0, 9.0], [0.0, 9.0], [0.0, 9.0]])
    steps = np.array([[10.0, 20.0], [30.0, 60.0], [50.0, 100.0]])
    assert steps_to(returns, steps, 9.0) == Threshold(1.0, 1, 30)


@settings(max_examples=50, deadline=None)
@given(values=hnp.arrays(np.float64, st.tuples(st.integers(1, 9), st.just(4)), elements=NUMBERS), level=NUMBERS)
def test_share_that_reaches_a_return_is_that_of_the_best_rounds(values: np.ndarray, level: float) -> None:
    told = steps_to(values, STEPS, level)
    assert told.reached == pytest.approx((values.max(axis=1) >= level).mean())
    assert math.isfinite(told.rounds) == ((values.max(axis=1) >= level).sum() > len(values) / 2)


def test_worst_tenth_of_twenty_tasks_is_the_mean_of_the_two_worst() -> None:
    values = np.random.default_rng(0).permutation(20).astype(float)
    assert cvar(values) == 0.5


@pytest.mark.parametrize(("count", "worst"), [(1, 1), (9, 1), (10, 1), (11, 2), (30, 3), (31, 4), (1000, 100)])
def test_worst_tenth_is_rounded_up(count: int, worst: int) -> None:
    assert cvar(np.arange(float(count))) == pytest.approx((worst - 1) / 2)


def test_solving_four_tasks_of_twenty_leaves_the_worst_tenth_at_nothing() -> None:
    solved = np.zeros((20, 2))
    solved[:4, 1] = 1.0
    np.testing.assert_array_equal(cvar(solved, axis=0), [0.0, 0.0])
    np.testing.assert_array_equal(cvar(solved, 0.9, axis=0), [0.0, pytest.approx(2 / 18)])


@settings(max_examples=100, deadline=None)
@given(values=hnp.arrays(np.float64, st.integers(1, 50), elements=NUMBERS), share=st.floats(0.01, 1.0))
def test_cvar_is_below_the_mean_and_above_the_least(values: np.ndarray, share: float) -> None:
    slack = 1e-9 * (1 + np.abs(values).max())
    assert values.min() - slack <= cvar(values, share) <= values.mean() + slack


def test_one_result_that_is_not_a_number_is_not_left_out_of_the_worst() -> None:
    assert np.isnan(cvar(np.array([1.0, 2.0, np.nan])))


@pytest.mark.parametrize("share", [0.0, -0.1, 1.1, math.nan])
def test_share_outside_of_its_range_is_refused(share: float) -> None:
    with pytest.raises(MetarlError, match="it must be above 0 and at most 1"):
        cvar(np.ones(3), share)


@settings(max_examples=50, deadline=None)
@given(
    ours=hnp.arrays(np.float64, (3, 5), elements=st.integers(0, 4).map(float)),
    theirs=hnp.arrays(np.float64, (2, 5), elements=st.integers(0, 4).map(float)),
)
def test_probability_of_improvement_is_the_mann_whitney_statistic_of_each_task(
    ours: np.ndarray, theirs: np.ndarray
) -> None:
    expected = [stats.mannwhitneyu(ours[:, task], theirs[:, task]).statistic / 6 for task in range(5)]
    np.testing.assert_allclose(improvements(ours, theirs).mean(axis=(0, 1)), expected)


def test_comparisons_are_within_tasks_and_a_draw_is_half_a_win() -> None:
    level = np.array([[0.0, 100.0, 200.0]])
    np.testing.assert_array_equal(improvements(level + 1, level), np.ones((1, 1, 3)))
    np.testing.assert_array_equal(improvements(level, level + 1), np.zeros((1, 1, 3)))
    np.testing.assert_array_equal(improvements(level, level), np.full((1, 1, 3), 0.5))
    both = differences(np.concatenate([level, level + 1]), level - 5)
    np.testing.assert_array_equal(both, [[[5, 5, 5]], [[6, 6, 6]]])


def test_scale_puts_its_ends_at_zero_and_one_and_keeps_what_lies_beyond() -> None:
    np.testing.assert_array_equal(
        normalize_returns(np.array([-30.0, -10.0, 0.0, -50.0]), -30.0, -10.0), [0.0, 1.0, 1.5, -1.0]
    )


@pytest.mark.parametrize("ends", [(1.0, 1.0), (2.0, 1.0), (math.nan, 1.0), (0.0, math.nan)])
def test_scale_whose_upper_end_is_not_above_its_lower_is_refused(ends: tuple[float, float]) -> None:
    with pytest.raises(MetarlError, match="give the lower score first"):
        normalize_returns(np.zeros(3), *ends)


def test_optimality_gap_does_not_set_off_what_is_above_the_target() -> None:
    scores = np.array([0.0] * 16 + [1.0] * 4)  # solves four tasks of twenty
    assert shortfalls(scores, 1.0).mean() == 0.8
    assert shortfalls(np.array([0.5, 3.0]), 1.0).mean() == 0.25


def test_a_task_that_is_worth_less_to_both_is_no_gap() -> None:
    oracle = np.array([-100.0, -20.0, 0.0])
    assert shortfalls(oracle[None], oracle).mean() == 0.0
    assert shortfalls(oracle - 6.0, oracle).mean() == 6.0


def test_recovery_of_scripted_rewards_is_exact() -> None:
    # 9, then 2 a step; the task changes after 30 steps, 0 for 15 steps, then 1 until the next change, after which
    # nothing is known.
    rewards = np.concatenate([np.full(20, 9.0), np.full(10, 2.0), np.zeros(15), np.ones(25), np.full(10, np.nan)])
    both = np.stack([rewards, 3 * rewards])
    found = recovery(both, 30, 70, window=10, pool=lambda values: values.mean(axis=0))
    np.testing.assert_array_equal(found.before, [2.0, 6.0])
    np.testing.assert_array_equal(found.after, [0.0, 0.0])
    np.testing.assert_array_equal(found.end, [1.0, 3.0])
    # Nine of the ten steps from the 14th on earn 1: nine tenths of what was gained back.
    assert found.steps == 14


def test_recovery_takes_for_ever_where_nothing_is_gained_back_and_none_where_nothing_was_lost() -> None:
    falling = np.linspace(1.0, 0.0, 60)
    assert recovery(falling, 20, 60, window=5, pool=lambda values: values).steps == math.inf
    steady = np.ones(60)
    assert recovery(steady, 20, 60, window=5, pool=lambda values: values).steps == math.inf


@pytest.mark.parametrize(("change", "until"), [(4, 60), (57, 60), (60, 60)])
def test_change_without_steps_around_it_is_refused(change: int, until: int) -> None:
    with pytest.raises(MetarlError, match="window is 5; it must be at most the steps on either side of step"):
        recovery(np.ones(60), change, until, window=5, pool=lambda values: values)


def test_profile_counts_what_is_above_a_level_and_not_at_it() -> None:
    np.testing.assert_array_equal(above(np.array([1.0, 2.0]), np.array([0.5, 1.0, 2.0])), [[1, 0, 0], [1, 1, 0]])


def test_a_scale_too_narrow_for_its_returns_is_refused() -> None:
    with pytest.raises(MetarlError, match="which is too narrow"):
        normalize_returns(np.array([0.0, 1e6]), 0.0, 5e-324)
