"""The Pareto front against a plain loop."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

import metarl
from metarl.base.errors import MetarlError

POINTS = arrays.arrays(np.float64, st.tuples(st.integers(0, 12), st.integers(1, 4)), elements=st.integers(-3, 3))


@given(POINTS)
def test_front_equals_a_plain_loop_over_pairs(points: np.ndarray) -> None:
    def beats(one: list[float], other: list[float]) -> bool:
        pairs = list(zip(one, other, strict=True))
        return all(a >= b for a, b in pairs) and any(a > b for a, b in pairs)

    rows = points.tolist()
    assert metarl.pareto_front(points).tolist() == [not any(beats(other, row) for other in rows) for row in rows]


@given(POINTS.filter(len))
def test_every_point_off_the_front_is_beaten_by_one_on_it(points: np.ndarray) -> None:
    front = metarl.pareto_front(points)
    assert front.any()
    for point in points[~front]:
        assert ((points[front] >= point).all(axis=1) & (points[front] > point).any(axis=1)).any()


@pytest.mark.parametrize(
    ("points", "told"),
    [
        ([1.0, 2.0], r"points have shape \(2,\); it must be \[point, objective\]"),
        (np.zeros((3, 0)), "of one objective or more"),
        ([[1.0, np.nan]], "points have a NaN"),
    ],
)
def test_other_arrays_are_refused_in_one_line(points: np.ndarray, told: str) -> None:
    with pytest.raises(MetarlError, match=told):
        metarl.pareto_front(points)
