"""The axis of environment steps: linear where agents spend similar numbers, else logarithmic."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from metarl.report.step_axis import step_axis


def test_axis_of_similar_steps_is_linear() -> None:
    axis = step_axis([np.array([0.0, 200.0, 400.0]), np.array([0.0, 3000.0])])
    np.testing.assert_array_equal(axis.place(np.array([0.0, 200.0])), [0.0, 200.0])
    assert (axis.furthest, axis.ticks()) == (3000.0, None)


def test_axis_of_steps_a_thousand_times_apart_is_logarithmic_from_zero() -> None:
    axis = step_axis([np.array([0.0, 200.0, 400.0]), np.array([0.0, 200_000.0, 400_000.0])])
    np.testing.assert_allclose(axis.place(np.array([0.0, 200.0, 1800.0, 19_800.0])), [0.0, np.log10(2), 1.0, 2.0])
    ticks = axis.ticks()
    assert ticks is not None
    assert ticks[1] == ["0", "1,000", "10,000", "100,000"]
    np.testing.assert_allclose(ticks[0], axis.place(np.array([0, 1e3, 1e4, 1e5])))


@pytest.mark.parametrize("spent", [[np.zeros(1)], [np.zeros(1), np.array([0.0, 50.0])], [np.zeros(3)]])
def test_agents_that_spend_nothing_have_an_axis(spent: list[np.ndarray]) -> None:
    assert step_axis(spent).unit is None


@given(st.lists(st.lists(st.floats(1, 1e9), min_size=1, max_size=4), min_size=1, max_size=4))
def test_more_steps_are_further_along_the_axis(drawn: list[list[float]]) -> None:
    spent = [np.array([0.0, *sorted(each)]) for each in drawn]
    axis = step_axis(spent)
    for steps in spent:
        places = axis.place(steps)
        assert places[0] == 0 and (np.diff(places)[np.diff(steps) > 1e-6 * axis.furthest] > 0).all()
    ticks = axis.ticks()
    assert ticks is None or (np.diff(ticks[0]) > 0).all()
