"""Measures of lists, against scikit-learn and against loops."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from metarl.envs.recommender.diversity import coverage, feature_distance, gini
from metarl.envs.recommender.ranking import first_items, gains, ndcg, precision

LISTS = st.lists(st.tuples(st.integers(0, 4), st.integers(1, 10)), min_size=2, max_size=6)
"""Foretold and true ratings; few values, so that many are equal."""


@given(LISTS, st.integers(1, 7))
def test_ndcg_is_that_of_scikit_learn(pairs: list[tuple[int, int]], most: int) -> None:
    metrics = pytest.importorskip("sklearn.metrics")
    foretold, right = np.array(pairs, dtype=float).T
    gain = gains(right / 2, (0.5, 5.0))
    expected = metrics.ndcg_score([gain], [foretold], k=most)
    assert ndcg(foretold, gain, most) == pytest.approx(expected)


@given(LISTS, st.integers(1, 7))
def test_equal_answers_count_as_the_mean_over_their_orders(pairs: list[tuple[int, int]], most: int) -> None:
    foretold, right = np.array(pairs, dtype=float).T
    liked = right > 5
    shares = []
    for order in itertools.permutations(range(len(pairs))):
        if all(foretold[a] >= foretold[b] for a, b in itertools.pairwise(order)):
            shares.append(liked[list(order[:most])].mean())
    assert precision(foretold, liked, most) == pytest.approx(np.mean(shares))


def test_gains_are_those_of_the_papers_and_long_scales_are_moved() -> None:
    assert gains(np.array([1.0, 3.0, 5.0]), (1.0, 5.0)).tolist() == [1, 7, 31]
    assert gains(np.array([0.0, 50.0, 100.0]), (0.0, 100.0)).tolist() == [1, 7, 31]
    assert np.isnan(ndcg(np.zeros(3), np.zeros(3), 2))


def test_lists_of_many_users_are_measured_at_once() -> None:
    rng = np.random.default_rng(0)
    foretold, gain = rng.normal(size=(2, 3, 4, 8))
    both = ndcg(foretold, np.exp(gain), 5)
    assert both.shape == (3, 4)
    assert both[1, 2] == ndcg(foretold[1, 2], np.exp(gain[1, 2]), 5)
    assert first_items(np.array([1.0, 3.0, 3.0, 2.0]), 3).tolist() == [1, 2, 3]


@given(st.lists(st.lists(st.integers(-2, 2), min_size=3, max_size=3), min_size=2, max_size=5))
def test_distance_within_a_list_is_that_of_a_loop_over_pairs(rows: list[list[int]]) -> None:
    def cosine(a: np.ndarray, b: np.ndarray) -> float:
        lengths = np.linalg.norm(a) * np.linalg.norm(b)
        return float(a @ b / lengths) if lengths else 0.0

    features = np.array(rows, dtype=float)
    expected = np.mean([1 - cosine(a, b) for a, b in itertools.combinations(features, 2)])
    assert feature_distance(features) == pytest.approx(expected)
    assert np.isnan(feature_distance(features[:1]))


@given(st.lists(st.integers(0, 9), min_size=1, max_size=8))
def test_gini_is_half_the_relative_mean_difference(counts: list[int]) -> None:
    array = np.array(counts, dtype=float)
    if not array.sum():
        assert np.isnan(gini(array))
        return
    expected = np.abs(array[:, None] - array).mean() / (2 * array.mean())
    assert gini(array) == pytest.approx(expected)
    assert coverage(array) == np.mean([count > 0 for count in counts])
