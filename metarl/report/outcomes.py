"""The table of what families tell of a round beside their measure."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ..evaluation.outcomes import Told
from .cells import MISSING, Cell, Number
from .columns import MEAN, Column
from .groups import Group
from .rows import Row, mean_cell, page_decimals, table_of
from .table import Table


def outcome_table(groups: Sequence[Group]) -> Table:
    """Return the outcomes of the last round; no rows where no family tells any."""
    found = {name: told for group in groups for name, told in group.evaluations[0].outcomes.items()}
    columns = [Column(name, _meaning(told), unit="%" if told.percent else "") for name, told in found.items()]
    rows: list[Row] = [
        (group, [_cell(group, name) for name in found]) for group in groups if group.evaluations[0].outcomes
    ]
    statistic = "What else the last round is measured by: means over seeds and tasks."
    return table_of("outcomes", "Other measures", statistic, columns, rows, groups)


def _meaning(told: Told) -> str:
    how = "a statistic of all tasks together, mean over seeds" if told.pooled else MEAN
    return f"{told.meaning.rstrip('.')}: {how}."


def _cell(group: Group, name: str) -> Cell:
    """Return the mean of an outcome in the last round, over the tasks that have a value with every seed."""
    told = [evaluation.outcomes.get(name) for evaluation in group.evaluations]
    known = [each for each in told if each is not None]
    if len(known) < len(told):
        return MISSING
    last = np.stack([each.told[..., -1] for each in known])
    if known[0].pooled:
        value = float(last.mean())
        return MISSING if np.isnan(value) else Number(value, page_decimals(np.array([value])))
    last = last[:, ~np.isnan(last).any(axis=0)]
    return mean_cell(group, last) if last.shape[1] else MISSING
