"""What a start from another run is worth: training curves beside those of the same setting from scratch.

The measures are those of Taylor and Stone, Transfer Learning for Reinforcement Learning Domains: A Survey, JMLR 2009.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import NamedTuple

import numpy as np

from ..base.text import with_noun
from .captions import training_sentence
from .cells import MISSING, Cell, Number, Text
from .columns import Column
from .groups import Group, setting_of
from .rows import number_cell, page_decimals, table_of
from .runs import RunResult
from .table import Table

AFTER = "validation/return_after"
"""Name of the validation of the last round in a line of metrics."""


class Transfer(NamedTuple):
    """A group that started from another run, beside the same setting from scratch."""

    group: Group
    """The group that started from another run."""
    scratch: Group
    """The group that did not."""
    steps: np.ndarray
    """Environment steps of its own training at each validation that all runs have, mean over seeds. [validation]"""
    fresh_steps: np.ndarray
    """The same of the training from scratch. [validation]"""
    started: np.ndarray
    """Validations of `group`. [seed, validation]"""
    fresh: np.ndarray
    """Validations of `scratch`, of the same seeds. [seed, validation]"""
    spent_before: float
    """Environment steps of the runs that were started from, mean over seeds."""

    @property
    def differences(self) -> np.ndarray:
        """Validations of `group` less those of `scratch`. [seed, validation]"""
        return self.started - self.fresh


_MAY_DIFFER: Mapping[str, None] = {"start_from": None, "num_updates": None}
"""Settings in which both may differ: curves are compared as far as both go."""


def transfers(groups: Sequence[Group]) -> list[Transfer]:
    """Return each group that started from another run with its group from scratch, where the page has one."""
    trained = [group for group in groups if group.runs]
    fresh = [group for group in trained if setting_of(group.runs[0])["start_from"] is None]
    found = []
    for group in (each for each in trained if each not in fresh):
        alike = {**setting_of(group.runs[0]), **_MAY_DIFFER}
        for other in (each for each in fresh if {**setting_of(each.runs[0]), **_MAY_DIFFER} == alike):
            if (pair := _pair(group, other)) is not None:
                found.append(pair)
    return found


def _pair(group: Group, scratch: Group) -> Transfer | None:
    """Return both groups at the validations of all runs; None where no seed or no validation is shared."""
    theirs = {run.seed: run for run in scratch.runs}
    pairs = [(run, theirs[run.seed]) for run in group.runs if run.seed in theirs]
    curves = [(_curve(run), _curve(fresh)) for run, fresh in pairs]
    shared = sorted(set.intersection(*(set(curve) for both in curves for curve in both))) if curves else []
    if not shared:
        return None
    started, fresh = (
        group.measure.tell(np.array([[both[side][update][1] for update in shared] for both in curves]))
        for side in (0, 1)
    )
    steps, fresh_steps = (
        np.mean([[both[side][update][0] for update in shared] for both in curves], axis=0) for side in (0, 1)
    )
    spent = float(np.mean([_spent_before(run) for run, _ in pairs]))
    return Transfer(group, scratch, steps, fresh_steps, started, fresh, spent)


def _spent_before(run: RunResult) -> float:
    """Return the environment steps of the run that a run started from."""
    origin: Mapping[str, float] | None = run.sessions[0].get("started_from") if run.sessions else None
    return 0.0 if origin is None else float(origin["env_steps"])


def _curve(run: RunResult) -> dict[int, tuple[float, float]]:
    """Return a run's own environment steps and its validation, by update."""
    before = _spent_before(run)
    return {int(line["update"]): (line["env_steps"] - before, line[AFTER]) for line in run.metrics if AFTER in line}


def transfer_table(groups: Sequence[Group]) -> Table:
    """Return what starts were worth; no rows where no group that started has its like from scratch on the page."""
    columns = [
        Column("env steps before", "Environment steps of the run that it started from.", unit="M"),
        Column("jump start", "Its first validation less that from scratch."),
        Column("area", "The same, mean over all validations."),
        Column("final", "The same at the last validation."),
        Column("level", "The last validation from scratch, mean over seeds."),
        Column("env steps to it", "Of its own training, to the first validation that reaches the level.", unit="M"),
        Column("from scratch", "The same of the training from scratch.", unit="M"),
        Column("transfer", "Positive or negative where the interval of the area excludes zero."),
    ]
    found = transfers(groups)
    rows = [(each.group, _cells(each)) for each in found]
    seeds = " or ".join(dict.fromkeys(with_noun(len(each.started), "seed") for each in found))
    statistic = (
        f"Validations of the last round, {seeds}: differences to the same setting, seed and update from "
        "scratch, means with Student's t intervals over seeds. The steps of the run that was started from come on top: "
        "the first column."
    )
    table = table_of("transfer", "Transfer", statistic, columns, rows, groups)
    return replace(table, caption=f"{statistic} {training_sentence(groups)}")


def _cells(transfer: Transfer) -> list[Cell]:
    differences = transfer.differences
    area = _difference(differences.mean(axis=1))
    curve = transfer.fresh.mean(axis=0)
    level = float(curve[-1])
    assert area.interval is not None
    low, high = area.interval
    verdict = "positive" if low > 0 else "negative" if high < 0 else "not shown"
    return [
        Number(transfer.spent_before / 1e6, 2),
        _difference(differences[:, 0]),
        area,
        _difference(differences[:, -1]),
        Number(level, page_decimals(np.array([level]))),
        _reach(transfer.steps, transfer.started.mean(axis=0), level),
        _reach(transfer.fresh_steps, curve, level),
        Text(verdict),
    ]


def _difference(values: np.ndarray) -> Number:
    """Return the mean of differences [seed] with its t interval, which of a single seed is unknown."""
    from scipy import stats

    mean, count = float(values.mean()), len(values)
    ends = np.full(2, np.nan)
    if count > 1:
        margin = float(stats.t.ppf(0.975, count - 1) * values.std(ddof=1) / np.sqrt(count))
        ends = np.array([mean - margin, mean + margin])
    cell = number_cell(mean, np.nan_to_num(ends, nan=mean))
    return Number(mean, cell.decimals, (float(ends[0]), float(ends[1])), signed=True)


def _reach(steps: np.ndarray, curve: np.ndarray, level: float) -> Cell:
    """Return the millions of steps at the first point of a curve that reaches a level; '-' where none does."""
    reached = np.flatnonzero(curve >= level)
    return Number(float(steps[reached[0]]) / 1e6, 2) if len(reached) else MISSING
