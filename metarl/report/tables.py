"""The tables of a page, in their order."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from .adaptation import measure_table, recovery_table
from .answers import calibration_table, instance_table, mean_table
from .comparison import comparison_table, gap_table, score_table
from .groups import Group
from .outcomes import outcome_table
from .shots import shots_table
from .summary import seed_table, summary_table
from .table import Table
from .teachers import teacher_table
from .trade_offs import trade_off_table
from .transfer import transfer_table


@dataclass(frozen=True)
class Asked:
    """What a page shows only on request."""

    threshold: float | None = None
    """A return: the page shows how many tasks reach it, and how soon."""
    normalize: tuple[str, str] | None = None
    """Names of the groups whose last rounds are 0 and 1 on the scale of scores."""


NOTHING = Asked()
"""No request: the page shows what every page does."""


def build_tables(groups: Sequence[Group], asked: Asked = NOTHING) -> list[Table]:
    """Return the tables that have rows, in the order of a page: the summary first, the single seeds last.

    Raises MetarlError where scores are asked for and a named group is missing or the scale has no width.
    """
    tables = [
        summary_table(groups),
        mean_table(groups),
        instance_table(groups),
        shots_table(groups),
        calibration_table(groups),
        outcome_table(groups),
        trade_off_table(groups),
        teacher_table(groups),
        transfer_table(groups),
        measure_table(groups, asked.threshold),
        recovery_table(groups),
        *([] if asked.normalize is None else [score_table(groups, *asked.normalize)]),
        gap_table(groups),
        comparison_table(groups),
        seed_table(groups),
    ]
    return [table for table in tables if table.rows]
