"""What all tables are made with: cells of pooled numbers, and rows that begin with the names of problem and agent."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from ..base.text import decimals_for
from ..evaluation.statistics import iqm
from .captions import caption
from .cells import MISSING, NEVER, Cell, Number
from .columns import AGENT, PROBLEM, Column
from .groups import Group
from .names import group_cells, problem_cells
from .table import Table

Row = tuple[Group, Sequence[Cell]]
"""A group and its cells, without those of its names."""


def table_of(
    key: str, title: str, statistic: str, columns: Sequence[Column], rows: Sequence[Row], groups: Sequence[Group]
) -> Table:
    """Return a table whose rows begin with the problem, where `groups` are on several, and the agent.

    `statistic` is the sentence of the caption that says how the numbers are pooled.
    """
    names, problems = group_cells(groups), problem_cells(groups)
    several = len(problems) > 1
    return Table(
        key,
        title,
        caption(statistic, groups, intervals=_has_interval(rows)),
        (*([PROBLEM] if several else []), AGENT, *columns),
        tuple((*([problems[group.problem]] if several else []), names[group.name], *cells) for group, cells in rows),
    )


def _has_interval(rows: Sequence[Row]) -> bool:
    return any(isinstance(cell, Number) and cell.has_interval for _, cells in rows for cell in cells)


def iqm_cell(group: Group, values: np.ndarray) -> Number:
    """Return the IQM of what rounds were measured by, `values` [seed, task], with its interval."""
    return number_cell(float(iqm(values.reshape(-1))), group.interval_of(values).clip(*group.bounds))


def level_cell(group: Group, values: np.ndarray) -> Number:
    """Return the mean of what rounds were measured by, `values` [seed, task], with an interval within its range."""
    return number_cell(float(values.mean()), group.mean_interval_of(values).clip(*group.bounds))


def mean_cell(group: Group, values: np.ndarray, least: float = -math.inf) -> Number:
    """Return the mean of `values` [seed, task], none of which is below `least`, with its interval."""
    return number_cell(float(values.mean()), group.mean_interval_of(values).clip(min=least))


def paired_cell(group: Group, pairs: np.ndarray, bounds: tuple[float, float] = (-math.inf, math.inf)) -> Number:
    """Return the mean of `pairs` [seed, other seed, task], all within `bounds`, with its interval."""
    return number_cell(float(pairs.mean()), group.paired_interval(pairs).clip(*bounds))


def number_cell(value: float, ends: np.ndarray) -> Number:
    """Return a number with the ends of its interval [2], in as many decimals as the largest of them asks for."""
    low, high = map(float, ends)
    return Number(value, page_decimals(np.array([value, low, high])), (low, high))


def count_cell(value: float) -> Cell:
    """Return a number of rounds or steps without decimals; 'never' for one that is infinite."""
    return NEVER if math.isinf(value) else Number(value, 0)


def speed_cell(value: float, change: np.ndarray) -> Cell:
    """Return after how many rounds or steps a change was made, '-' where its interval `change` [2] holds zero.

    Where nothing is known to change, the time that the change took means nothing.
    """
    low, high = change
    return count_cell(value) if low > 0 or high < 0 else MISSING


def page_decimals(values: np.ndarray) -> int:
    """Return the decimals of a page, one less than those of the table of a single evaluation."""
    return max(0, decimals_for(values) - 1)
