"""Interquartile means and bootstrap intervals: against scipy, against a loop, and against a known truth."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy import stats

from metarl.base.errors import MetarlError
from metarl.evaluation import statistics
from metarl.evaluation.measures import differences, improvements
from metarl.evaluation.statistics import crossed_bootstrap, gap_bootstrap, iqm, paired_bootstrap

NUMBERS = st.floats(min_value=-1e6, max_value=1e6, allow_subnormal=False)
SAMPLES = hnp.arrays(np.float64, hnp.array_shapes(min_dims=1, max_dims=3, min_side=1, max_side=13), elements=NUMBERS)


@settings(max_examples=100, deadline=None)
@given(values=SAMPLES, data=st.data())
def test_iqm_is_scipys_trimmed_mean_along_any_axis(values: np.ndarray, data: st.DataObject) -> None:
    axis = data.draw(st.integers(-values.ndim, values.ndim - 1))
    np.testing.assert_allclose(iqm(values, axis), stats.trim_mean(values, 0.25, axis=axis), rtol=1e-12, atol=1e-8)


@settings(max_examples=50, deadline=None)
@given(values=hnp.arrays(np.float64, st.integers(1, 30), elements=NUMBERS), data=st.data())
def test_iqm_is_the_same_to_the_bit_in_any_order(values: np.ndarray, data: st.DataObject) -> None:
    shuffled = np.array(data.draw(st.permutations(list(values))))
    assert iqm(shuffled) == iqm(values)


def test_a_quarter_of_wild_values_at_each_end_does_not_move_the_iqm() -> None:
    calm = np.array([-1.0, -1.0, 1.0, 2.0, 3.0, 4.0, 9.0, 9.0])
    wild = np.array([-1e9, -1e6, 1.0, 2.0, 3.0, 4.0, 1e9, np.inf])
    assert iqm(calm) == iqm(wild) == 2.5


def test_one_value_that_is_not_a_number_is_not_trimmed_away() -> None:
    values = np.stack([np.arange(8.0), np.arange(8.0)], axis=1)
    values[3, 1] = np.nan
    np.testing.assert_array_equal(iqm(values), [3.5, np.nan])


def test_bootstrap_equals_an_independent_loop() -> None:
    values = np.random.default_rng(0).normal(size=(3, 7, 2))
    low, high = crossed_bootstrap(values, iqm, resamples=200, confidence=0.9, rng=np.random.default_rng(1))
    rng = np.random.default_rng(1)
    tasks, seeds = rng.integers(7, size=(200, 7)), rng.integers(3, size=(200, 3))
    levels = [[stats.trim_mean(values[seed, :, i], 0.25) for i in range(2)] for seed in range(3)]
    # Student's t of 2 degrees and the normal distribution at 95 %, from printed tables.
    factor = (3 / 2) ** 0.5 * 2.919986 / 1.644854
    estimates = []
    for of_tasks, of_seeds in zip(tasks, seeds, strict=True):
        pooled = [
            [values[seed, task, i] + (factor - 1) * (levels[seed][i] - np.mean(levels, axis=0)[i]) for i in range(2)]
            for seed in of_seeds
            for task in of_tasks
        ]
        estimates.append([stats.trim_mean([row[i] for row in pooled], 0.25) for i in range(2)])
    np.testing.assert_allclose(low, np.percentile(estimates, 5, axis=0), rtol=1e-5)
    np.testing.assert_allclose(high, np.percentile(estimates, 95, axis=0), rtol=1e-5)


def coverage(seeds: int, tasks: int, spread: tuple[float, float, float], statistic: Any = iqm) -> float:
    """Return how often the interval covers the known truth, zero, in 1,000 experiments side by side.

    `spread` is the standard deviation of seeds, of tasks, and of what is left.
    """
    rng = np.random.default_rng(2)
    of_seeds, of_tasks, of_rest = spread
    values = of_seeds * rng.normal(size=(seeds, 1, 1000)) + of_tasks * rng.normal(size=(1, tasks, 1000))
    values = values + of_rest * rng.normal(size=(seeds, tasks, 1000))
    low, high = crossed_bootstrap(values, statistic, resamples=200, rng=np.random.default_rng(3))
    return float(np.mean((low <= 0.0) & (high >= 0.0)))


@pytest.mark.parametrize(
    ("seeds", "tasks", "spread"),
    [
        (1, 40, (0.0, 1.0, 1.0)),
        (3, 40, (1.0, 1.0, 1.0)),
        (5, 40, (1.0, 1.0, 1.0)),
        (10, 40, (0.3, 1.0, 1.0)),
        (10, 40, (1.0, 1.0, 1.0)),
    ],
)
def test_interval_covers_the_known_truth_as_often_as_it_says(
    seeds: int, tasks: int, spread: tuple[float, float, float]
) -> None:
    assert 0.93 <= coverage(seeds, tasks, spread) <= 0.97


@pytest.mark.parametrize("spread", [(0.0, 1.0, 1.0), (0.0, 0.0, 1.0), (0.3, 1.0, 1.0)])
@pytest.mark.parametrize("seeds", [3, 5])
def test_interval_is_wide_rather_than_narrow_where_few_seeds_hardly_differ(
    seeds: int, spread: tuple[float, float, float]
) -> None:
    assert coverage(seeds, 40, spread) >= 0.95


def test_interval_of_the_mean_covers_it_too() -> None:
    assert 0.93 <= coverage(5, 40, (1.0, 1.0, 1.0), np.mean) <= 0.97


def test_tasks_that_all_seeds_share_widen_the_interval_as_they_would_for_one() -> None:
    shared = np.random.default_rng(6).normal(size=(1, 40))
    one = crossed_bootstrap(shared, iqm, rng=np.random.default_rng(7))
    ten = crossed_bootstrap(np.repeat(shared, 10, axis=0), iqm, rng=np.random.default_rng(7))
    assert ten[1] - ten[0] == pytest.approx(one[1] - one[0], rel=0.1)


def test_seeds_that_differ_widen_the_interval_as_students_t_does() -> None:
    levels = np.array([-1.0, 0.2, 0.8, 1.4, 3.0, -0.7])
    values = np.repeat(levels[:, None], 8, axis=1)
    low, high = crossed_bootstrap(values, np.mean, resamples=20_000, rng=np.random.default_rng(0))  # type: ignore[arg-type]
    student = stats.t.interval(0.95, 5, loc=levels.mean(), scale=levels.std(ddof=1) / 6**0.5)
    np.testing.assert_allclose([low, high], student, atol=0.1)


def test_rounds_of_a_task_are_drawn_together() -> None:
    first = np.random.default_rng(6).normal(size=(1, 12, 1))
    values = np.concatenate([first, first + 1.0], axis=2)
    low, high = crossed_bootstrap(values, iqm, rng=np.random.default_rng(7))
    np.testing.assert_allclose(low[1] - low[0], 1.0)
    np.testing.assert_allclose(high[1] - high[0], 1.0)


@settings(max_examples=30, deadline=None)
@given(values=hnp.arrays(np.float64, st.tuples(st.just(1), st.integers(1, 9)), elements=NUMBERS))
def test_interval_of_one_seed_is_ordered_and_inside_the_range_of_its_values(values: np.ndarray) -> None:
    low, high = crossed_bootstrap(values, iqm, resamples=100, rng=np.random.default_rng(0))
    slack = 1e-9 * (1 + np.abs(values).max())
    assert values.min() - slack <= low <= high <= values.max() + slack


@pytest.mark.parametrize(("narrow", "wide"), [(0.5, 0.95), (0.95, 0.99)])
def test_more_confidence_gives_a_wider_interval(narrow: float, wide: float) -> None:
    values = np.random.default_rng(8).normal(size=(1, 20))
    inner = crossed_bootstrap(values, iqm, confidence=narrow, rng=np.random.default_rng(9))
    outer = crossed_bootstrap(values, iqm, confidence=wide, rng=np.random.default_rng(9))
    assert outer[0] < inner[0] < inner[1] < outer[1]


def test_same_generator_gives_the_same_interval_and_another_gives_another() -> None:
    values = np.random.default_rng(10).normal(size=(1, 20))
    first, same, other = (crossed_bootstrap(values, iqm, rng=np.random.default_rng(seed)) for seed in (1, 1, 2))
    assert first == same
    assert first != other


def test_interval_does_not_depend_on_how_many_resamples_are_made_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    values = np.random.default_rng(10).normal(size=(2, 20, 3))
    together = crossed_bootstrap(values, iqm, resamples=100, rng=np.random.default_rng(1))
    monkeypatch.setattr(statistics, "_BLOCK", 130)
    np.testing.assert_array_equal(crossed_bootstrap(values, iqm, resamples=100, rng=np.random.default_rng(1)), together)


def test_interval_of_a_gap_equals_an_independent_loop() -> None:
    rng = np.random.default_rng(0)
    ours, theirs = rng.normal(size=(3, 5)), rng.normal(size=(3, 8))
    interval = gap_bootstrap(ours, theirs, iqm, resamples=300, rng=np.random.default_rng(1))
    drawn = np.random.default_rng(1)
    seeds = drawn.integers(3, size=(300, 3))
    tasks = [drawn.integers(count, size=(300, count)) for count in (5, 8)]
    # Student's t of 2 degrees and the normal distribution at 97.5 %, from printed tables.
    factor = (3 / 2) ** 0.5 * 4.302653 / 1.959964
    estimates = []
    for n in range(300):
        both = []
        for values, of_tasks in zip((ours, theirs), tasks, strict=True):
            levels = [stats.trim_mean(row, 0.25) for row in values]
            moved = [row + (factor - 1) * (level - np.mean(levels)) for row, level in zip(values, levels, strict=True)]
            both.append(stats.trim_mean([moved[seed][task] for seed in seeds[n] for task in of_tasks[n]], 0.25))
        estimates.append(both[0] - both[1])
    np.testing.assert_allclose(interval, np.percentile(estimates, (2.5, 97.5)), rtol=1e-5)


@pytest.mark.parametrize(
    ("seeds", "spread", "statistic", "most"), [(1, 0.0, iqm, 0.97), (5, 1.0, np.mean, 0.97), (5, 1.0, iqm, 0.99)]
)
def test_interval_of_a_gap_covers_the_known_one_as_often_as_it_says(
    seeds: int, spread: float, statistic: Any, most: float
) -> None:
    # What a seed does in tasks of both kinds has a part in common, which cancels, and a part of its own.
    rng = np.random.default_rng(2)
    common = spread * rng.normal(size=(seeds, 1, 1000))
    ours, theirs = (
        sum(rng.normal(size=shape) for shape in ((1, 40, 1000), (seeds, 40, 1000)))
        + common
        + spread * rng.normal(size=(seeds, 1, 1000))
        for _ in range(2)
    )
    low, high = gap_bootstrap(ours + 3.0, theirs, statistic, resamples=500, rng=np.random.default_rng(3))
    # The IQM of seeds and tasks pooled is not linear in them: where seeds differ, it is wide rather than narrow.
    assert 0.93 <= np.mean((low <= 3.0) & (high >= 3.0)) <= most


def test_paired_interval_equals_an_independent_loop() -> None:
    cells = np.random.default_rng(0).normal(size=(3, 2, 6))
    interval = paired_bootstrap(cells, resamples=300, rng=np.random.default_rng(1))
    rng, estimates = np.random.default_rng(1), []
    tasks, seeds, others = (rng.multinomial(n, [1 / n] * n, size=300) for n in (6, 3, 2))
    # Student's t of 2 and of 1 degrees and the normal distribution at 97.5 %, from printed tables.
    stretch, stretch_others = (3 / 2) ** 0.5 * 4.302653 / 1.959964, 2**0.5 * 12.706205 / 1.959964
    for n in range(300):
        total = 0.0
        for s in range(3):
            for o in range(2):
                moved = (stretch - 1) * (cells[s].mean() - cells.mean())
                moved += (stretch_others - 1) * (cells[:, o].mean() - cells.mean())
                total += sum(seeds[n, s] * others[n, o] * tasks[n, t] * (cells[s, o, t] + moved) for t in range(6)) / (
                    3 * 2 * 6
                )
        estimates.append(total)
    np.testing.assert_allclose(interval, np.percentile(estimates, (2.5, 97.5)), rtol=1e-5)


@pytest.mark.parametrize(("seeds", "others"), [(3, 1), (5, 5)])
def test_paired_interval_covers_the_known_difference_as_often_as_it_says(seeds: int, others: int) -> None:
    rng, covered = np.random.default_rng(2), []
    for _ in range(400):
        tasks = 5.0 * rng.normal(size=40)  # which both share, and which cancel
        ours = tasks + 2.0 + rng.normal(size=(seeds, 1)) + rng.normal(size=(seeds, 40))
        theirs = tasks + (rng.normal(size=(others, 1)) if others > 1 else 0.0) + rng.normal(size=(others, 40))
        low, high = paired_bootstrap(differences(ours, theirs), resamples=400, rng=rng)
        covered.append(low <= 2.0 <= high)
    assert 0.92 <= np.mean(covered) <= 0.98


def test_paired_interval_of_agents_that_draw_everywhere_has_no_width() -> None:
    # Seeds that are moved apart, before they are compared, would win and lose by that alone.
    level = np.repeat(np.random.default_rng(3).normal(size=(1, 8)), 3, axis=0)
    assert paired_bootstrap(improvements(level, level[:2]), rng=np.random.default_rng(4)) == (0.5, 0.5)


def test_intervals_of_many_comparisons_at_once_are_those_of_each() -> None:
    cells = np.random.default_rng(5).normal(size=(3, 2, 7, 4))
    together = paired_bootstrap(cells, resamples=100, rng=np.random.default_rng(6))
    for n in range(4):
        alone = paired_bootstrap(cells[..., n], resamples=100, rng=np.random.default_rng(6))
        np.testing.assert_allclose([end[n] for end in together], alone)


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"resamples": 0}, "resamples is 0; it must be from 1 to 100000"),
        ({"resamples": 10**9}, "resamples is 1000000000"),
        ({"confidence": 1.0}, "confidence is 1.0; it must be between 0 and 1"),
        ({"confidence": float("nan")}, "confidence is nan"),
    ],
)
def test_a_bootstrap_of_impossible_options_is_refused(options: dict[str, Any], told: str) -> None:
    values, rng = np.zeros((2, 3)), np.random.default_rng(0)
    for interval in (
        lambda: crossed_bootstrap(values, iqm, rng=rng, **options),
        lambda: gap_bootstrap(values, values, iqm, rng=rng, **options),
        lambda: paired_bootstrap(values[None], rng=rng, **options),
    ):
        with pytest.raises(MetarlError, match=told):
            interval()
