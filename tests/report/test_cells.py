"""Cells as plain text: what each type says, in at most 40 characters."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from metarl.report.cells import MAX_LENGTH, MISSING, NEVER, Cell, Name, Number, Numbers, Seeds, Text, plain
from metarl.report.rows import number_cell

NUMBERS = st.floats(allow_nan=True, allow_infinity=True)


@pytest.mark.parametrize(
    ("cell", "text"),
    [
        (Text("train tasks"), "train tasks"),
        (Name("rl2 [1]", "rl2 agent.memory=linear"), "rl2 [1]"),
        (Number(1234.5, 1), "1,234.5"),
        (Number(-0.001, 1), "0.0"),
        (Number(2.0, 1, (1.0, 3.25)), "2.0 [1.0, 3.2]"),
        (Number(2.0, 1, (math.nan, math.nan)), "2.0 none"),
        (Number(math.nan, 1, (math.nan, math.nan)), "not finite"),
        (Number(math.inf, 1, (1.0, 2.0)), "not finite"),
        (Number(50.0, 1, unit="%", signed=True), "+50.0%"),
        (Number(-50.0, 1, unit="%", signed=True), "-50.0%"),
        (Number(14.4, 1, note="unfinished"), "14.4 (unfinished)"),
        (Number(-12345678.0, 0, (-2e8, 3e8)), "-1.23e+07 [-2.00e+08, 3.00e+08]"),
        (Numbers((1.0, 2.5), 1), "1.0 / 2.5"),
        (Numbers(tuple(map(float, range(1000, 1020))), 0), "1,000 / ... / 1,019"),
        (Seeds((1, 2, 3)), "1, 2, 3"),
        (Seeds(tuple(range(100, 120))), "20 seeds"),
        (Seeds(count=3), "3 seeds"),
        (MISSING, "-"),
        (NEVER, "never"),
    ],
)
def test_cell_as_plain_text(cell: Cell, text: str) -> None:
    assert plain(cell) == text


@given(value=NUMBERS, low=NUMBERS, high=NUMBERS)
@example(value=-9_999_999.0, low=-9_999_999.0, high=-9_999_999.0)
@example(value=-999_999.9, low=-999_999.9, high=-999_999.9)
def test_number_with_its_interval_fits_into_a_cell(value: float, low: float, high: float) -> None:
    assert len(plain(number_cell(value, np.array([low, high])))) <= MAX_LENGTH


@given(values=st.lists(NUMBERS, min_size=1, max_size=9), decimals=st.integers(0, 2))
@example(values=[-9_999_999.99] * 4, decimals=2)
def test_numbers_of_many_rounds_fit_into_a_cell(values: list[float], decimals: int) -> None:
    assert len(plain(Numbers(tuple(values), decimals))) <= MAX_LENGTH


@given(st.lists(st.integers(0, 2**32), max_size=40))
def test_seeds_fit_into_a_cell(seeds: list[int]) -> None:
    assert len(plain(Seeds(tuple(seeds)))) <= MAX_LENGTH
