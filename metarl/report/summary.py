"""The first table of a page, which has a row for each group, and the last, which has one for each training run."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ..evaluation.statistics import iqm
from .cells import MISSING, Cell, Number, Numbers, Seeds, Text
from .columns import MEAN, MINUTES, POOLED, TRIAL_STEPS, Column
from .groups import Group
from .measured import Measured, measured
from .rows import Row, iqm_cell, level_cell, mean_cell, number_cell, page_decimals, table_of
from .runs import RunResult
from .table import Table

MAX_ROUNDS = 4
"""Rounds that have a column each; of longer trials the first, the last and the sum are shown."""

_SEEDS = Column("seeds", "Seeds of the training runs that are pooled, or their number.")
_ENV_STEPS = Column("env steps", "Environment steps of training, in millions; mean over seeds.", unit="M")
_GAIN = Column("gain", f"Last round less the first, paired by task: {POOLED}.")
_TRIAL = Column("trial", f"Sum of the returns of all rounds, those spent exploring included: {POOLED}.")
_TRIAL_MEAN = Column("trial, mean", f"Sum of the returns of all rounds: {MEAN}. Bandits are scored by it.")
_SUCCESS = Column("success by round", "Share of episodes with a success in any step; mean over seeds and tasks.")
_SEED = Column("seed", "Seed of the training.")
_CHECKPOINT = Column("checkpoint of update", "Update after which the evaluated checkpoint was saved, of all updates.")
_RUN_MINUTES = Column("minutes", "Wall-clock minutes of rollouts and updates, without evaluations.")
_COMMIT = Column("commit", "Commit of metarl that trained the run; unknown for a copy without git.")


def summary_table(groups: Sequence[Group]) -> Table:
    """Return the table of all groups: training cost, return by round, gain, trial and success.

    Of trials of more than four rounds it shows the first round, the last and the sum.
    """
    rounds = max(group.returns.shape[-1] for group in groups)
    shown = list(range(rounds)) if rounds <= MAX_ROUNDS else [0, -1]
    what = measured(groups)
    sums = rounds > 1 and not what.per_step and any(_has_sum(group) for group in groups)
    success = any(group.success_rate is not None for group in groups)
    columns = [_SEEDS, _ENV_STEPS, MINUTES, *_return_columns(rounds, what)]
    columns += [_GAIN] if rounds > 1 else [Column(f"{what.name}, mean", f"{what.definition}: {MEAN}.")]
    columns += [TRIAL_STEPS, _TRIAL, _TRIAL_MEAN] if sums else []
    columns += [_SUCCESS] if success else []
    rows: list[Row] = []
    for group in groups:
        cells = [*_training_cells(group), *(_round_cell(group, number) for number in shown)]
        cells.append(_gain_cell(group) if rounds > 1 else level_cell(group, group.totals))
        cells += _trial_cells(group) if sums else []
        cells += [_success_cell(group, shown)] if success else []
        rows.append((group, cells))
    statistic = f"{what.title}: IQM over seeds and tasks, unless the heading says mean."
    return table_of("summary", "Summary", statistic, columns, rows, groups)


def _has_sum(group: Group) -> bool:
    """Return whether the sum over rounds says more than the columns of the rounds: a single round is its trial."""
    if group.measure.per_step:
        return False
    return group.returns.shape[-1] == 1 or group.returns.shape[-1] > MAX_ROUNDS


def _return_columns(rounds: int, what: Measured) -> list[Column]:
    if rounds == 1:
        return [Column(what.label, f"{what.definition}: {POOLED}.")]
    headings = ["first round", "last round"] if rounds > MAX_ROUNDS else [f"round {n + 1}" for n in range(rounds)]
    return [Column(heading, f"{what.definition}: {POOLED}.") for heading in headings]


def _training_cells(group: Group) -> tuple[Cell, Cell, Cell]:
    """Return seeds, environment steps and minutes of training; seeds alone of a group that has no runs."""
    if not group.runs:
        return _seeds_cell(group), MISSING, MISSING
    millions = float(np.mean([run.env_steps for run in group.runs])) / 1e6
    note = "unfinished" if any(run.unfinished for run in group.runs) else ""
    minutes = float(np.mean([run.minutes for run in group.runs]))
    return _seeds_cell(group), Number(millions, _decimals_of_three_digits(millions), note=note), Number(minutes, 1)


def _seeds_cell(group: Group) -> Cell:
    """Return the seeds of a group, or their number; '-' for one evaluation of an agent that was not trained.

    A single seed has the word with it, since the bare number would read as a count.
    """
    known = group.training_seeds
    if len(known) == 1:
        return Text(f"seed {known[0]}")
    return Seeds(known, len(group.evaluations)) if known or len(group.evaluations) > 1 else MISSING


def _decimals_of_three_digits(value: float) -> int:
    return max(0, 2 - int(np.floor(np.log10(value)))) if value > 0 else 0


def _round_cell(group: Group, number: int) -> Cell:
    return (
        number_cell(float(group.iqm[number]), group.interval[number]) if number < group.returns.shape[-1] else MISSING
    )


def _gain_cell(group: Group) -> Cell:
    return number_cell(*group.gain) if group.returns.shape[-1] > 1 else MISSING


def _trial_cells(group: Group) -> list[Cell]:
    if group.measure.per_step:
        return [Number(float(group.env_steps[-1]), 0), MISSING, MISSING]
    totals = group.totals
    return [Number(float(group.env_steps[-1]), 0), iqm_cell(group, totals), mean_cell(group, totals)]


def _success_cell(group: Group, shown: Sequence[int]) -> Cell:
    rate = group.success_rate
    return MISSING if rate is None else Numbers(tuple(float(rate[n]) for n in shown if n < len(rate)), 2)


def seed_table(groups: Sequence[Group]) -> Table:
    """Return the table of single training runs, and of their agents where they were evaluated with other settings."""
    what = measured(groups)
    once = all(group.returns.shape[-1] == 1 for group in groups)
    sums = not once and not what.per_step
    over = "over tasks, round by round" if not once else "over tasks"
    by_round = "" if once else " by round"
    columns = [
        _SEED,
        Column(f"IQM{by_round}", f"{what.definition}: IQM {over}."),
        Column(f"mean{by_round}", f"{what.definition}: mean {over}."),
        *([Column("trial, mean", "Sum of the returns of all rounds; mean over tasks.")] if sums else []),
        _CHECKPOINT,
        _RUN_MINUTES,
        _COMMIT,
    ]
    rows = [
        (group, _seed_cells(group, number, sums=sums))
        for group in groups
        for number in range(len(group.training_seeds))
    ]
    return table_of("seeds", "Single seeds", f"{what.title} is pooled over tasks.", columns, rows, groups)


def _total_cell(totals: np.ndarray) -> Cell:
    return Number(float(totals.mean()), page_decimals(totals.mean(keepdims=True)))


def _seed_cells(group: Group, number: int, *, sums: bool) -> list[Cell]:
    evaluation, returns = group.evaluations[number], group.returns[number]
    middles = iqm(returns)
    shown = slice(None) if evaluation.rounds <= MAX_ROUNDS else slice(None, None, evaluation.rounds - 1)
    decimals = page_decimals(middles)
    total = MISSING if group.measure.per_step else _total_cell(group.totals[number])
    updates = (evaluation.agent.trained or {}).get("updates")
    return [
        Seeds((group.training_seeds[number],)),
        *(Numbers(tuple(map(float, values[shown])), decimals) for values in (middles, returns.mean(axis=0))),
        *([total] if sums else []),
        *(_source_cells(group.runs[number], updates) if group.runs else [_update_cell(updates), MISSING, MISSING]),
    ]


def _source_cells(run: RunResult, updates: object) -> list[Cell]:
    first, *others = run.commits or ("unknown",)
    commits = f"{first} and {len(others)} more" if len(others) > 1 else ", ".join([first, *others])
    return [_update_cell(updates, f" of {run.config['num_updates']}"), Number(run.minutes, 1), Text(commits)]


def _update_cell(updates: object, of: str = "") -> Cell:
    return MISSING if updates is None else Text(f"{updates}{of}")
