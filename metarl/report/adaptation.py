"""The tables of how agents adapt: how fast, for how many tasks, and after the task changes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise

import numpy as np

from ..evaluation.measures import Recovery, adaptation_speed, cvar, recovery, steps_to
from ..evaluation.statistics import iqm
from .cells import MISSING, Cell, Number, Text
from .columns import POOLED, Column
from .groups import Group
from .rows import Row, count_cell, iqm_cell, page_decimals, speed_cell, table_of
from .table import Table

_WORST = "Mean of the lowest tenth over seeds and tasks, which an IQM leaves out."
_SPEED = "'-' where the interval of the gain holds zero."
_COLUMNS = (
    Column("worst tenth, first round", _WORST),
    Column("worst tenth, last round", _WORST),
    Column(
        "rounds to 90 % of the gain",
        f"Rounds before the first one whose IQM has 90 % of the gain from the first round to the last; {_SPEED}",
    ),
    Column("env steps to 90 % of the gain", f"Environment steps spent in the new task before that round; {_SPEED}"),
)
WINDOW = 20
"""Steps over which rewards around a change are averaged, where there are as many."""


def measure_table(groups: Sequence[Group], threshold: float | None = None) -> Table:
    """Return the measures of adaptation of groups with several rounds; `threshold` is a level that tasks may reach."""
    rows: list[Row] = []
    for group in groups:
        if group.returns.shape[-1] > 1:
            speed = adaptation_speed(group.iqm, group.env_steps)
            cells = [*_worst_cells(group), *(speed_cell(value, group.gain[1]) for value in speed)]
            rows.append((group, [*cells, *([] if threshold is None else _threshold_cells(group, threshold))]))
    columns = [*_COLUMNS, *([] if threshold is None else _threshold_columns(threshold))]
    statistic = "Speeds are read from the IQM over seeds and tasks."
    return table_of("measures", "Measures of adaptation", statistic, columns, rows, groups)


def _worst_cells(group: Group) -> list[Cell]:
    worst = np.array([cvar(group.returns[..., number].reshape(-1)) for number in (0, -1)])
    return [Number(float(value), page_decimals(worst)) for value in worst]


def _threshold_columns(threshold: float) -> list[Column]:
    level = f"{threshold:g}"
    rule = "median over seeds and tasks, 'never' where half of them do not reach it."
    return [
        Column(f"reach {level}", "Share of seeds and tasks with a round at or above that level."),
        Column(f"rounds to {level}, median", f"Rounds before the first one at that level; {rule}"),
        Column(f"env steps to {level}, median", f"Environment steps before the first round at that level; {rule}"),
    ]


def _threshold_cells(group: Group, threshold: float) -> list[Cell]:
    steps = np.stack([evaluation.env_steps_per_task for evaluation in group.evaluations])
    found = steps_to(group.returns, steps, threshold)
    return [Number(100 * found.reached, 0, unit="%"), count_cell(found.rounds), count_cell(found.env_steps)]


def recovery_table(groups: Sequence[Group]) -> Table:
    """Return how rewards recover from each change of the task within a trial; no rows where tasks stay the same."""
    columns = [
        Column("change at step", "Steps of the trial before the task changed."),
        Column("reward before", f"Reward of a step, mean over the last steps before the change: {POOLED}."),
        Column("right after", "The same over the first steps after the change."),
        Column("at the end", "The same over the last steps before the next change or the end of the trial."),
        Column(
            "env steps to 90 %",
            "Steps from the change until rewards have made 90 % of the rise from right after to the end; '-' where the "
            "interval of the rise holds zero.",
        ),
    ]
    rows = [
        (group, _change_cells(group, group.rewards, change, window, until))
        for group in groups
        if group.rewards is not None
        for change, window, until in _changes(group.rewards, group.evaluations[0].switch_at)
    ]
    statistic = (
        f"Rewards are means over {WINDOW} steps, fewer where changes are closer, then IQMs over seeds and tasks."
    )
    return table_of("changes", "Changes of the task", statistic, columns, rows, groups)


def _changes(rewards: np.ndarray, switch_at: Sequence[int]) -> Iterator[tuple[int, int, int]]:
    """Yield the step of each change, the steps of the window around it, and the step that ends what follows it."""
    if not switch_at:
        return
    shared = shared_steps(rewards)
    for (start, change), following in zip(pairwise((0, *switch_at)), (*switch_at[1:], shared), strict=True):
        end = min(following, shared)
        yield change, min(WINDOW, change - start, end - change), end


def shared_steps(rewards: np.ndarray) -> int:
    """Return how many steps every seed played in every task: trials are shorter where episodes end early."""
    known = ~np.isnan(rewards)
    return int((known.shape[-1] - known[..., ::-1].argmax(axis=-1)).min()) if known.any(axis=-1).all() else 0


def _change_cells(group: Group, rewards: np.ndarray, change: int, window: int, until: int) -> list[Cell]:
    if window <= 0:
        return [Number(change, 0), Text("not every task came to it"), MISSING, MISSING, MISSING]
    found: Recovery = recovery(rewards, change, until, window=window, pool=_pooled_iqm)
    levels = [iqm_cell(group, level) for level in (found.before, found.after, found.end)]
    return [Number(change, 0), *levels, speed_cell(found.steps, group.interval_of(found.end - found.after))]


def _pooled_iqm(values: np.ndarray) -> np.ndarray:
    """Return the IQM over seeds and tasks of [seed, task, ...], [...]."""
    return iqm(values.reshape(-1, *values.shape[2:]))
