"""Measures of variety against plain loops."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from metarl.envs.recommender.diversity import (
    cosine_distances,
    coverage,
    first_shown,
    gini,
    intra_list_distance,
)

COUNTS = st.lists(st.integers(0, 50), min_size=1, max_size=12)


def test_first_shown_equals_a_plain_loop() -> None:
    slates = np.random.default_rng(0).integers(4, size=(5, 6, 4))
    found = first_shown(slates)
    for place in np.ndindex(5, 6):
        slate = slates[place].tolist()
        assert found[place].tolist() == [item not in slate[:slot] for slot, item in enumerate(slate)]


@given(COUNTS)
def test_gini_index_is_half_the_relative_mean_difference(counts: list[int]) -> None:
    found = gini(np.array(counts))
    if not sum(counts):
        assert math.isnan(found)
        return
    pairs = sum(abs(a - b) for a, b in itertools.product(counts, repeat=2))
    assert found == pytest.approx(pairs / (2 * len(counts) * sum(counts)), abs=1e-12)


@given(COUNTS)
def test_coverage_counts_the_items_that_were_shown(counts: list[int]) -> None:
    assert coverage(np.array(counts)) == pytest.approx(sum(1 for count in counts if count) / len(counts))


@given(arrays.arrays(np.float64, (5, 3), elements=st.floats(-3, 3).filter(lambda x: x == 0 or abs(x) > 1e-3)))
def test_intra_list_distance_is_the_mean_over_pairs(features: np.ndarray) -> None:
    slates = np.array([[[0, 3, 2], [1, 1, 4]]])
    found = intra_list_distance(cosine_distances(features), slates)
    for place in np.ndindex(1, 2):
        pairs = []
        for a, b in itertools.combinations(slates[place].tolist(), 2):
            lengths = float(np.linalg.norm(features[a]) * np.linalg.norm(features[b]))
            pairs.append(1 - float(features[a] @ features[b]) / lengths if lengths else 1.0)
        assert found[place] == pytest.approx(np.mean(pairs), abs=1e-9)
