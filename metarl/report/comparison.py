"""The tables that set agents beside each other: on a scale between two of them, in pairs, and across splits."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from ..base.errors import MetarlError
from ..evaluation.measures import differences, improvements, normalize_returns, shortfalls
from ..evaluation.statistics import iqm
from ..trials.agent import ORACLE
from .cells import MISSING, Cell, Number, Numbers, Text
from .columns import INTERVAL, MEAN, POOLED, TRIAL_STEPS, Column, Kind
from .groups import Group
from .measured import measured
from .names import group_cells
from .rows import Row, iqm_cell, mean_cell, number_cell, paired_cell, table_of
from .runs import OTHER_SPLITS
from .table import Table


def score_table(groups: Sequence[Group], low: str, high: str) -> Table:
    """Return scores on the scale from the group named `low`, 0, to the group named `high`, 1, on each problem.

    Every number is a mean, and so are the ends of the scale: score and optimality gap of an agent that exceeds `high`
    in no task add up to one. Raises MetarlError for a name that no group has, and unless `high` did better than `low`.
    """
    rows = [
        row
        for problem in dict.fromkeys(group.problem for group in groups)
        for row in _score_rows([group for group in groups if group.problem == problem], low, high)
    ]
    score = f"{measured(groups).title} of that round on the scale from {low}, 0, to {high}, 1: {MEAN}."
    gap = (
        f"Distance of the last round below that of {high} in the same task, 0 where it is above, on that scale: {MEAN}."
    )
    regret = f"{_compared(groups)} of {high} less that of this agent in the same tasks: {MEAN}."
    columns = [
        Column("score, first round", score),
        Column("score, last round", score),
        Column("optimality gap", gap),
        Column("regret", regret) if measured(groups).per_step else Column("regret of a trial", regret),
        TRIAL_STEPS,
    ]
    title = f"Scores between {low}, 0, and {high}, 1"
    return table_of("scores", title, "All numbers are means over seeds and tasks.", columns, rows, groups)


def _score_rows(groups: Sequence[Group], low: str, high: str) -> Iterator[Row]:
    best = find_group(high, groups)
    goals = best.returns[..., -1].mean(axis=0)
    ends = float(find_group(low, groups).returns[..., -1].mean()), float(goals.mean())
    for group in groups:
        scores = [normalize_returns(group.returns[..., number], *ends) for number in (0, -1)]  # refuses a bad scale
        gap = shortfalls(group.returns[..., -1], goals) / (ends[1] - ends[0])
        yield (
            group,
            [
                *(mean_cell(group, each) for each in scores),
                mean_cell(group, gap, least=0.0),
                _regret_cell(group, best),
                Number(float(group.env_steps[-1]), 0),
            ],
        )


def find_group(name: str, groups: Sequence[Group]) -> Group:
    """Return the group of this name, with or without its note of an oracle. Raises MetarlError where there is none."""
    for group in groups:
        if name in (group.name, group.name.removesuffix(f" ({ORACLE})")):
            return group
    names = ", ".join(repr(group.name) for group in groups)
    raise MetarlError(f"there is no {name!r} on {groups[0].problem} to normalize by; give one of {names}")


def _regret_cell(group: Group, best: Group) -> Cell:
    """Return the regret beside `best`; '-' for itself and for trials of another number of rounds."""
    if group is best or group.returns.shape[-1] != best.returns.shape[-1]:
        return MISSING
    return paired_cell(group, -differences(group.totals, best.totals))


def gap_table(groups: Sequence[Group]) -> Table:
    """Return how trained groups do in the last round in tasks of other splits, beside the tasks of the page."""
    what = measured(groups)
    columns = [
        Column("last round in", "Split of other tasks in which the same agents were measured."),
        Column(f"{what.label} there", f"{what.definition}, the last round in those tasks: {POOLED}."),
        Column(f"{what.label} here", f"{what.definition}, the last round in the tasks of the other tables: {POOLED}."),
        Column(
            "gap",
            "IQM of the split that is nearer to training less IQM of the other: train less these tasks, these less "
            f"extrapolation; {INTERVAL}.",
        ),
    ]
    rows = [
        (group, _gap_cells(group, split, there[..., -1]))
        for group in groups
        for split in OTHER_SPLITS
        if split != group.evaluations[0].plan.split and (there := group.returns_on(split)) is not None
    ]
    statistic = f"{what.title}: IQM over seeds and tasks."
    return table_of("splits", "Other tasks", statistic, columns, rows, groups)


def _gap_cells(group: Group, split: str, there: np.ndarray) -> list[Cell]:
    here = group.returns[..., -1]
    # Either way round, a loss by going further from the training tasks is above zero.
    near, far = (there, here) if split == "train" else (here, there)
    gap = float(iqm(near.reshape(-1))) - float(iqm(far.reshape(-1)))
    return [
        Text(f"{split} tasks"),
        iqm_cell(group, there),
        iqm_cell(group, here),
        number_cell(gap, group.gap_interval(near, far)),
    ]


def comparison_table(groups: Sequence[Group]) -> Table:
    """Return the comparison of each trained group's trials with each reference and each trained group before it."""
    names, what = group_cells(groups), measured(groups)
    difference = f"difference of the last {what.name}" if what.per_step else "difference of the trial's return"
    columns = [
        Column("compared with", "The other agent, in the same tasks.", kind=Kind.NAME),
        Column(difference, f"{_compared(groups)}: this agent less the other, paired by task: {MEAN}."),
        Column(
            "difference, relative",
            "The difference as a share of the other's mean; '-' unless the interval of that mean lies above zero.",
        ),
        Column(
            "probability of improvement",
            f"How often a seed of this agent beats a seed of the other in a task, a draw half: {MEAN}.",
        ),
        Column(
            "env steps of a trial", "Environment steps that either spends in one task over all rounds: this / other."
        ),
    ]
    rows = [(ours, [names[other.name], *_comparison_cells(ours, other)]) for ours, other in _pairs(groups)]
    statistic = "All numbers are means over seeds and tasks, paired by task."
    return table_of("paired", "Side by side, paired by task", statistic, columns, rows, groups)


def _compared(groups: Sequence[Group]) -> str:
    """Return by what trials are compared: the beginning of a sentence."""
    what = measured(groups)
    return f"{what.title} of the last round" if what.per_step else "Return of the trial"


def _pairs(groups: Sequence[Group]) -> Iterator[tuple[Group, Group]]:
    """Yield the pairs of groups to compare: on one problem, of equally many rounds, the first of them trained."""
    for number, group in enumerate(groups):
        references = (each for each in groups if not each.trained)
        before = (each for each in groups[:number] if each.trained)
        for other in (*references, *before):
            alike = group.problem == other.problem and group.returns.shape[-1] == other.returns.shape[-1]
            if group.trained and alike:
                yield group, other


def _comparison_cells(group: Group, other: Group) -> list[Cell]:
    change, wins = (compare(group.totals, other.totals) for compare in (differences, improvements))
    return [
        paired_cell(group, change),
        _share_cell(float(change.mean()), other),
        paired_cell(group, wins, bounds=(0.0, 1.0)),
        Numbers((float(group.env_steps[-1]), float(other.env_steps[-1])), 0),
    ]


def _share_cell(change: float, other: Group) -> Cell:
    """Return a change as a share of the other's mean; '-' where that mean is not known to be positive."""
    whole = float(other.totals.mean())
    if not whole > 0 or other.mean_interval_of(other.totals)[0] <= 0:
        return MISSING
    percent = 100 * change / whole
    return Number(percent, 1 if abs(percent) < 1000 else 0, unit="%", signed=True)
