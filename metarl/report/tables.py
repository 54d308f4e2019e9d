"""The tables of results: rows of text, header first, whatever form they are written in."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ..base.errors import MetarlError
from ..base.text import decimals_for, interval_text, number_text
from ..evaluation.measures import (
    adaptation_speed,
    cvar,
    differences,
    improvements,
    normalized,
    recovery,
    shortfalls,
    steps_to,
)
from ..evaluation.statistics import iqm
from ..trials.agent import ORACLE
from .groups import Group
from .runs import OTHER_SPLITS


@dataclass(frozen=True)
class Asked:
    """What a page tells only where it is asked to."""

    threshold: float | None = None
    """A return: how many tasks reach it, and how soon."""
    normalize: tuple[str, str] | None = None
    """Names of the groups whose last rounds are 0 and 1 on the scale of scores."""


NOTHING = Asked()
"""Nothing but what every page tells."""


def tables(groups: Sequence[Group], asked: Asked = NOTHING) -> dict[str, list[tuple[str, ...]]]:
    """Return the tables that have rows beside their header, by title, in the order of a page.

    Raises MetarlError where scores are asked for and cannot be told.
    """
    found = {
        SUMMARY: summary_rows(groups),
        "Measures of adaptation": measure_rows(groups, asked.threshold),
        "Changes of the task": recovery_rows(groups),
    }
    if asked.normalize is not None:
        low, high = asked.normalize
        found[f"Scores between {low}, 0, and {high}, 1"] = score_rows(groups, low, high)
    found["Other tasks"] = gap_rows(groups)
    found["Side by side, paired by task"] = comparison_rows(groups)
    found[SEEDS] = seed_rows(groups)
    return {title: rows for title, rows in found.items() if len(rows) > 1}


SUMMARY, SEEDS = "Summary", "Single seeds"
"""Titles of the first table and the last."""


def summary_rows(groups: Sequence[Group]) -> list[tuple[str, ...]]:
    """Return the table of all groups, header first; of trials of many rounds the first, the last and their sum."""
    rounds = max(group.returns.shape[-1] for group in groups)
    shown = list(range(rounds)) if rounds <= _ROUNDS else [0, -1]
    names = [f"round {n + 1}" for n in shown] if rounds <= _ROUNDS else ["first round", "last round"]
    sums = any(group.returns.shape[-1] == 1 or group.returns.shape[-1] > _ROUNDS for group in groups)
    totals = ["trial", "trial, mean"]
    if rounds == 1:  # which is the trial
        names, totals = [], ["return", "return, mean"]
    header = ["problem", "", "seeds", "env steps", "minutes", *names]
    header += [*(["gain"] if rounds > 1 else []), *(totals if sums else [])]
    knows_success = any(group.success_rate is not None for group in groups)
    rows = [(*header, *(["success by round"] if knows_success else []))]
    for group in groups:
        cells = [*_training_cells(group)]
        if rounds > 1:
            cells += [_round_cell(group, n) for n in shown]
            cells.append(_with_interval(*group.gain) if group.returns.shape[-1] > 1 else "")
        if sums:
            trials = group.totals
            cells.append(_with_interval(float(iqm(trials.reshape(-1))), group.interval_of(trials)))
            cells.append(_with_interval(float(trials.mean()), group.mean_interval_of(trials)))
        if knows_success:
            rate = group.success_rate
            cells.append("" if rate is None else " / ".join(f"{rate[n]:.2f}" for n in shown if n < len(rate)))
        rows.append((group.problem, group.name, *cells))
    return _told_apart(rows, groups)


def _told_apart(rows: list[tuple[str, ...]], groups: Sequence[Group]) -> list[tuple[str, ...]]:
    """Return a table, whose first column is the problem, without that column where all groups are on one."""
    return rows if len({group.problem for group in groups}) > 1 else [row[1:] for row in rows]


_ROUNDS = 4
"""Rounds that have a column each; of longer trials there are the first and the last, and their sum."""


def _training_cells(group: Group) -> tuple[str, str, str]:
    """Return seeds, environment steps and minutes of training; nothing for a reference, seeds alone of a trained agent's variant."""
    if not group.runs:
        told = (each.trained.get("training_seed", "?") for each in group.evaluations if each.trained is not None)
        return ", ".join(map(str, told)), "", ""
    unfinished = " (unfinished)" if any(run.unfinished for run in group.runs) else ""
    seeds = ", ".join(str(run.seed) for run in group.runs)
    steps = np.mean([run.env_steps for run in group.runs]) / 1e6
    return seeds, f"{steps:.3g} M{unfinished}", f"{np.mean([run.minutes for run in group.runs]):.1f}"


def _round_cell(group: Group, number: int) -> str:
    known = number < group.returns.shape[-1]
    return _with_interval(group.iqm[number], group.interval[number]) if known else ""


def measure_rows(groups: Sequence[Group], threshold: float | None = None) -> list[tuple[str, ...]]:
    """Return the measures of adaptation of groups of several rounds, header first; `threshold` is a return to be reached."""
    header = ["problem", "", "worst tenth, first round", "worst tenth, last round"]
    header += ["rounds to 90 % of the gain", "env steps to 90 % of the gain"]
    if threshold is not None:
        header += [f"reach {threshold:g}", f"rounds to {threshold:g}, median", f"env steps to {threshold:g}, median"]
    rows: list[tuple[str, ...]] = [tuple(header)]
    for group in groups:
        if group.returns.shape[-1] > 1:
            worst = np.array([cvar(group.returns[..., n].reshape(-1)) for n in (0, -1)])
            cells = [
                *(number_text(value, _decimals(worst)) for value in worst),
                *_soon(*adaptation_speed(group.iqm, group.env_steps)),
            ]
            if threshold is not None:
                steps = np.stack([evaluation.env_steps_per_task for evaluation in group.evaluations])
                reached, *soon = steps_to(group.returns, steps, threshold)
                cells += [f"{reached:.0%}", *_soon(*soon)]
            rows.append((group.problem, group.name, *cells))
    return _told_apart(rows, groups)


def _soon(rounds: float, env_steps: float) -> tuple[str, str]:
    if math.isinf(rounds):
        return "never", "never"
    return number_text(rounds, 0), number_text(env_steps, 0)


def score_rows(groups: Sequence[Group], low: str, high: str) -> list[tuple[str, ...]]:
    """Return scores on the scale from the group named `low`, 0, to that named `high`, 1, on each problem; header first.

    Raises MetarlError for a name that is none of a group on every problem, and where `high` did not do better than `low`.
    """
    header = ("problem", "", "score, first round", "score, last round", "optimality gap", f"regret beside {high}")
    rows: list[tuple[str, ...]] = [header]
    for problem in dict.fromkeys(group.problem for group in groups):
        alike = [group for group in groups if group.problem == problem]
        best = _named(high, alike)
        ends = float(_named(low, alike).iqm[-1]), float(best.iqm[-1])
        for group in alike:
            first, last = (normalized(group.returns[..., n], *ends) for n in (0, -1))
            cells = [_with_interval(float(iqm(each.reshape(-1))), group.interval_of(each)) for each in (first, last)]
            # In each task beside what HIGH earns there: tasks that are worth less are no shortfall.
            goals = best.returns[..., -1].mean(axis=0)
            short = shortfalls(group.returns[..., -1], goals) / (ends[1] - ends[0])
            cells.append(_with_interval(float(short.mean()), group.mean_interval_of(short).clip(min=0)))
            rows.append((problem, group.name, *cells, _regret_cell(group, best)))
    return _told_apart(rows, groups)


def _named(name: str, groups: Sequence[Group]) -> Group:
    """Return the group of this name, without which it may be said that it is an oracle. Raises MetarlError where there is none."""
    for group in groups:
        if name in (group.name, group.name.removesuffix(f" ({ORACLE})")):
            return group
    names = ", ".join(repr(group.name) for group in groups)
    raise MetarlError(f"there is no {name!r} on {groups[0].problem} to normalize by; there are {names}")


def _regret_cell(group: Group, best: Group) -> str:
    """Return how much less than `best` a group earns in a trial of as many rounds, '' for itself and for other trials."""
    if group is best or group.returns.shape[-1] != best.returns.shape[-1]:
        return ""
    regret = -differences(group.totals, best.totals)
    return _with_interval(float(regret.mean()), group.interval_beside(regret))


def gap_rows(groups: Sequence[Group]) -> list[tuple[str, ...]]:
    """Return how the last round of trained groups in tasks of other splits compares to that in these, header first."""
    rows: list[tuple[str, ...]] = [("problem", "", "last round in", "return there", "return here", "gap")]
    for group in groups:
        for split in OTHER_SPLITS:
            there, here = group.returns_on(split), group.returns[..., -1]
            if there is None or split == group.evaluations[0].split:
                continue
            last = there[..., -1]
            # Either way round, what is lost by going further from what was trained on is above zero.
            ours, theirs = (last, here) if split == "train" else (here, last)
            gap = float(iqm(ours.reshape(-1))) - float(iqm(theirs.reshape(-1)))
            cells = [_with_interval(float(iqm(each.reshape(-1))), group.interval_of(each)) for each in (last, here)]
            cells.append(_with_interval(gap, group.gap_interval(ours, theirs)))
            rows.append((group.problem, group.name, f"{split} tasks", *cells))
    return _told_apart(rows, groups)


def recovery_rows(groups: Sequence[Group]) -> list[tuple[str, ...]]:
    """Return how rewards recover from each change of the task in mid-trial, header first; none where tasks stay the same."""
    header = ("problem", "", "change at step", "reward a step before", "right after", "at the end", "env steps to 90 %")
    rows: list[tuple[str, ...]] = [header]
    for group in groups:
        rewards, changes = group.rewards, group.evaluations[0].switch_at
        if rewards is None:
            continue
        # As far as every task was played: where episodes end early, trials do.
        played = ~np.isnan(rewards)
        end = int((played.shape[-1] - played[..., ::-1].argmax(axis=-1)).min()) if played.any(axis=-1).all() else 0
        for start, change, until in zip((0, *changes), changes, (*changes[1:], end), strict=False):
            window = min(_WINDOW, change - start, min(until, end) - change)
            cells: tuple[str, ...] = ("not every task came to it",)
            if window > 0:
                found = recovery(rewards, change, min(until, end), window=window, pool=_pooled)
                levels = [
                    _with_interval(float(_pooled(level[..., None])[0]), group.interval_of(level)) for level in found[:3]
                ]
                cells = (*levels, _soon(found.steps, found.steps)[0])
            rows.append((group.problem, group.name, f"{change:,}", *cells, *[""] * (4 - len(cells))))
    return _told_apart(rows, groups)


_WINDOW = 20
"""Steps that rewards around a change are the mean of, where there are as many."""


def _pooled(values: np.ndarray) -> np.ndarray:
    """Return the IQM over seeds and tasks of [seed, task, ...], [...]."""
    return iqm(values.reshape(-1, *values.shape[2:]))


def comparison_rows(groups: Sequence[Group]) -> list[tuple[str, ...]]:
    """Return how each trained group's trials compare to each reference's and each group's before it, header first."""
    header = (
        "problem",
        "",
        "less",
        "mean difference of the trial's return",
        "of the other's",
        "probability of improvement",
    )
    rows: list[tuple[str, ...]] = [header]
    for n, group in enumerate(groups):
        for other in (*(each for each in groups if not each.runs), *(each for each in groups[:n] if each.runs)):
            alike = group.problem == other.problem and group.returns.shape[-1] == other.returns.shape[-1]
            if not group.runs or not alike:
                continue
            change, wins = (compare(group.totals, other.totals) for compare in (differences, improvements))
            whole = abs(float(other.totals.mean()))
            rows.append(
                (
                    group.problem,
                    group.name,
                    other.name,
                    _with_interval(float(change.mean()), group.interval_beside(change)),
                    f"{change.mean() / whole:+.1%}" if whole else "",
                    _with_interval(float(wins.mean()), group.interval_beside(wins).clip(0, 1)),
                )
            )
    return _told_apart(rows, groups)


def _with_interval(value: float, ends: np.ndarray) -> str:
    decimals = _decimals(np.array([value, *ends]))
    return f"{number_text(value, decimals)} {interval_text(ends, lambda end: number_text(end, decimals))}"


def _decimals(values: np.ndarray) -> int:
    """Return the decimals of a page, one less than of a table of one run."""
    return max(0, decimals_for(values) - 1)


def seed_rows(groups: Sequence[Group]) -> list[tuple[str, ...]]:
    """Return the table of single runs, header first."""
    once = all(group.returns.shape[-1] == 1 for group in groups)
    returns = ("return", "return, mean") if once else ("IQM by round", "mean by round", "trial, mean")
    rows: list[tuple[str, ...]] = [("problem", "", "seed", *returns, "checkpoint of update", "minutes", "commit")]
    for group in groups:
        for run in group.runs:
            evaluation = run.evaluation
            decimals = _decimals(evaluation.iqm)
            shown = slice(None) if evaluation.rounds <= _ROUNDS else slice(None, None, evaluation.rounds - 1)
            cells = [
                " / ".join(number_text(value, decimals) for value in values[shown])
                for values in (evaluation.iqm, evaluation.mean)
            ]
            total = float(evaluation.totals.mean())
            cells += [] if once else [number_text(total, _decimals(np.array([total])))]
            cells.append(f"{(evaluation.trained or {}).get('updates', '?')} of {run.config['num_updates']}")
            cells += [f"{run.minutes:.1f}", ", ".join(run.commits)]
            rows.append((group.problem, group.name, str(run.seed), *cells))
    return _told_apart(rows, groups)
