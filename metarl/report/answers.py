"""The tables of families that ask questions: what papers on few-shot learning print, in place of returns."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ..base.text import ordinal
from ..evaluation.calibration import NUM_BINS, Calibration, pool_calibrations
from ..evaluation.statistics import mean_margin
from .cells import MISSING, Cell, Number
from .columns import MEAN, Column
from .groups import Group
from .measured import measured
from .rows import Row, level_cell, page_decimals, table_of
from .table import Table

_TASKS = Column("tasks", "Tasks of the evaluation, the same for all seeds.")
_SEEDS = Column(
    "SD of seeds", "Standard deviation of the seeds' means in the last round, with n - 1; '-' for one seed."
)


def mean_table(groups: Sequence[Group]) -> Table:
    """Return the means of answers with the normal interval over tasks that papers on few-shot learning print."""
    asked = [group for group in groups if group.measure.per_step]
    once = all(group.returns.shape[-1] == 1 for group in asked)
    what = measured(asked or groups)
    shown = ((-1, "") if once else (0, "first round, "), (-1, "last round, "))[: 1 if once else 2]
    columns = [_TASKS]
    for _, name in shown:
        margin = "1.96 standard errors over tasks of each task's mean over seeds: half of a normal 95 % interval."
        columns.append(Column(f"{name}mean", f"{what.definition}: mean over seeds and tasks."))
        columns.append(Column(f"{name}± 1.96 SE", margin))
    columns.append(_SEEDS)
    rows: list[Row] = [(group, _mean_cells(group, [number for number, _ in shown])) for group in asked]
    statistic = (
        f"{what.title}: mean over seeds and tasks, as papers on few-shot learning print it for one trained model."
    )
    return table_of("means", "Means, as in papers", statistic, columns, rows, groups)


SHOWN_INSTANCES = (1, 2, 3, 4, 5, 10, 20)
"""Instances that have a column, as published tables have the first of them."""


def instance_table(groups: Sequence[Group]) -> Table:
    """Return how answers improve with each instance of a class that a trial shows; no rows where it shows none."""
    found = [(group, values) for group in groups if (values := group.by_instance) is not None]
    what, most = measured([group for group, _ in found] or groups), max((v.shape[2] for _, v in found), default=0)
    shown = [number for number in SHOWN_INSTANCES if number <= most]
    columns = [
        Column(
            ordinal(number), f"{what.label} at the {ordinal(number)} question of a class in the first round: {MEAN}."
        )
        for number in shown
    ]
    rows: list[Row] = [(group, _instance_cells(group, values, shown)) for group, values in found]
    statistic = f"{what.title} by instance of a class in the first round, before its answer is shown: means."
    return table_of("instances", "By instance of a class", statistic, columns, rows, groups)


def _instance_cells(group: Group, values: np.ndarray, shown: Sequence[int]) -> list[Cell]:
    return [MISSING if n > values.shape[2] else level_cell(group, values[..., n - 1]) for n in shown]


def calibration_table(groups: Sequence[Group]) -> Table:
    """Return how sure learners were of their answers in the last round; no rows where none says it."""
    columns = [
        Column(
            "ECE",
            f"Expected calibration error: mean distance between accuracy and confidence in {NUM_BINS} bins of equal "
            "width; mean over seeds.",
        ),
        Column("SD of seeds' ECE", "Standard deviation of the seeds' errors, with n - 1; '-' for one seed."),
        Column("mean confidence", "Probability that the learner gave to its own answers, mean over seeds and answers."),
        Column(
            "right", "Share of right answers, all of them counted alike. Below the mean confidence it was too sure."
        ),
    ]
    rows: list[Row] = [(group, _calibration_cells(group.calibrations)) for group in groups if group.calibrations]
    statistic = "Answers of the last round, pooled over tasks."
    return table_of("calibration", "Calibration", statistic, columns, rows, groups)


def _calibration_cells(found: Sequence[Calibration]) -> list[Cell]:
    errors = np.array([each.error for each in found])
    pooled = pool_calibrations(found)
    shares = (pooled.mean_confidence, pooled.mean_accuracy)
    spread = MISSING if len(errors) == 1 else _percent(float(errors.std(ddof=1)))
    return [_percent(float(errors.mean())), spread, *map(_percent, shares)]


def _percent(share: float) -> Number:
    return Number(100 * share, 1, unit="%")


def _mean_cells(group: Group, shown: Sequence[int]) -> list[Cell]:
    by_seed = group.returns.mean(axis=1)
    decimals = page_decimals(by_seed)
    cells: list[Cell] = [Number(group.returns.shape[1], 0)]
    for number in shown:
        margin = float(mean_margin(group.returns[..., number].mean(axis=0)))
        cells += [Number(float(by_seed[:, number].mean()), decimals)]
        cells += [MISSING if np.isnan(margin) else Number(margin, decimals)]
    last = by_seed[:, -1]
    return [*cells, MISSING if len(last) == 1 else Number(float(last.std(ddof=1)), decimals)]
