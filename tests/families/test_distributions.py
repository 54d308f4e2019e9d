"""Distributions contain their samples, and the samples follow the named law."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from metarl.base.errors import MetarlError
from metarl.base.streams import Streams
from metarl.families.distributions import (
    Choice,
    Circle,
    Dirichlet,
    Disc,
    Distribution,
    LogUniform,
    Normal,
    Subset,
    Uniform,
)

EXAMPLES: list[Distribution] = [
    Uniform(-1.0, 3.0),
    Uniform(0.0, 1.0, (5,)),
    LogUniform(0.1, 10.0),
    LogUniform(1e-3, 1e3, (2, 2)),
    Normal(1.0, 2.0, (3,)),
    Choice((-1.0, 1.0, 4.0)),
    Choice(((0.0, 2.0), (2.0, 0.0), (1.0, 1.0))),
    Subset((2.0, 3.0, 5.0, 7.0), 3),
    Subset((4.0,), 1),
    Dirichlet(1.0, (4, 3)),
    Dirichlet(0.1, (2,)),
    Dirichlet(20.0, (2, 2, 5)),
    Disc(3.0),
    Disc(1.0, inner=0.75),
    Circle(),
    Circle(2.0, 0.0, math.pi),
    Circle(1.0, math.pi, 2 * math.pi),
]


@pytest.mark.parametrize("distribution", EXAMPLES, ids=str)
def test_every_draw_has_the_shape_and_lies_in_the_support(distribution: Distribution) -> None:
    values = distribution.sample(Streams.of(0, np.arange(5_000)))
    assert values.shape == (5_000, *distribution.shape)
    assert values.dtype == np.float64
    assert distribution.contains(values).all()


@pytest.mark.parametrize(
    ("distribution", "outside"),
    [
        (Uniform(-1.0, 3.0), 3.1),
        (Uniform(0.0, 1.0, (2,)), [0.5, -0.1]),
        (LogUniform(0.1, 10.0), 0.05),
        (Normal(0.0, 1.0), math.nan),
        (Choice((-1.0, 1.0)), 0.0),
        (Choice(((0.0, 2.0), (2.0, 0.0))), [2.0, 2.0]),
        (Subset((2.0, 3.0, 5.0), 2), [2.0, 2.0]),
        (Subset((2.0, 3.0, 5.0), 2), [2.0, 4.0]),
        (Dirichlet(1.0, (2,)), [0.5, 0.6]),
        (Dirichlet(1.0, (2,)), [1.5, -0.5]),
        (Dirichlet(1.0, (2, 2)), [[0.5, 0.5], [0.5, 0.4]]),
        (Disc(1.0, inner=0.75), [0.5, 0.5]),
        (Disc(1.0), [0.8, 0.8]),
        (Circle(1.0, 0.0, math.pi), [0.0, -1.0]),
        (Circle(1.0, 0.0, math.pi), [0.0, 0.9]),
    ],
    ids=str,
)
def test_what_lies_outside_is_not_contained(distribution: Distribution, outside: float | list[float]) -> None:
    assert not distribution.contains(np.array([outside])).any()


def test_draws_follow_the_law_they_name() -> None:
    streams = Streams.of(7, np.arange(20_000))
    checks = [
        stats.kstest(Uniform(2.0, 4.0).sample(streams), stats.uniform(2, 2).cdf),
        stats.kstest(LogUniform(0.1, 10.0).sample(streams), stats.loguniform(0.1, 10.0).cdf),
        stats.kstest(Normal(1.0, 2.0).sample(streams), stats.norm(1, 2).cdf),
        stats.chisquare(np.unique(Choice((-1.0, 1.0)).sample(streams), return_counts=True)[1]),
    ]
    _, pairs = np.unique(Choice(((0.0, 2.0), (2.0, 0.0), (1.0, 1.0))).sample(streams), axis=0, return_counts=True)
    checks.append(stats.chisquare(pairs))
    _, ordered = np.unique(Subset((2.0, 3.0, 5.0, 7.0), 2).sample(streams), axis=0, return_counts=True)
    assert len(ordered) == Subset((2.0, 3.0, 5.0, 7.0), 2).num_values == 12
    checks.append(stats.chisquare(ordered))
    for concentration in (0.3, 1.0, 4.0):
        # Each element is Beta(a, (k - 1) a).
        chances = Dirichlet(concentration, (2, 4)).sample(streams)
        checks.append(stats.kstest(chances[:, 1, 2], stats.beta(concentration, 3 * concentration).cdf))
    disc = Disc(3.0, inner=1.0).sample(streams)
    # Uniform in area: the squared radius is uniform.
    checks.append(stats.kstest(np.square(disc).sum(axis=1), stats.uniform(1, 8).cdf))
    arc = Circle(1.0, 0.0, math.pi).sample(streams)
    checks.append(stats.kstest(np.arctan2(arc[:, 1], arc[:, 0]), stats.uniform(0, math.pi).cdf))
    assert min(check.pvalue for check in checks) > 1e-3


def test_choice_of_pairs_counts_them_and_has_their_shape() -> None:
    pairs = Choice(((0.0, 2.0), (2.0, 0.0), (1.0, 1.0)))
    assert (pairs.num_values, pairs.shape) == (3, (2,))
    np.testing.assert_array_equal(pairs.contains(np.array([[0.0, 2.0], [2.0, 2.0], [1.0, 1.0]])), [True, False, True])


def test_dirichlet_rows_are_chances_whatever_the_concentration() -> None:
    for concentration in (0.1, 1.0, 1000.0):
        chances = Dirichlet(concentration, (2, 10)).sample(Streams.of(0, np.arange(5_000)))
        assert (chances >= 0).all()
        np.testing.assert_allclose(chances.sum(axis=-1), 1.0, atol=1e-12)


@settings(max_examples=30, deadline=None)
@given(low=st.floats(-1e6, 1e6), width=st.floats(1e-3, 1e6))
def test_uniform_contains_its_draws_for_any_bounds(low: float, width: float) -> None:
    distribution = Uniform(low, low + width)
    assert distribution.contains(distribution.sample(Streams.of(0, np.arange(100)))).all()


@pytest.mark.parametrize(
    ("make", "rule"),
    [
        (lambda: Uniform(1.0, 1.0), "low must be below high"),
        (lambda: LogUniform(0.0, 1.0), "0 < low < high"),
        (lambda: Normal(0.0, 0.0), "std must be positive"),
        (lambda: Choice(()), "at least one"),
        (lambda: Choice((1.0, 1.0)), "different"),
        (lambda: Choice(((1.0, 2.0), (1.0,))), "one shape"),
        (lambda: Choice(((1.0, 2.0), (1.0, 2.0))), "different"),
        (lambda: Subset((1.0, 2.0), 3), "1 to the number of values"),
        (lambda: Subset((1.0, 1.0), 1), "different"),
        (lambda: Dirichlet(0.0, (3,)), "concentration must be at least 0.1"),
        (lambda: Dirichlet(1.0, (3, 1)), "last axis"),
        (lambda: Disc(1.0, inner=1.0), "inner < radius"),
        (lambda: Circle(1.0, 1.0, 0.0), "low < high"),
    ],
)
def test_impossible_bounds_are_refused_with_the_rule(make: object, rule: str) -> None:
    with pytest.raises(MetarlError, match=rule):
        make()  # type: ignore[operator]
