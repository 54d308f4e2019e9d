"""Training runs on one problem by setting, with the references beside them: their returns, pooled over seeds and tasks, and intervals."""

from __future__ import annotations

import itertools
import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from ..base.errors import MetarlError
from ..base.streams import generator
from ..evaluation.record import UNTRAINED, Evaluation
from ..evaluation.statistics import crossed_bootstrap, gap_bootstrap, iqm, iqm_interval, paired_bootstrap
from ..trials.agent import ORACLE
from .runs import EVALUATION, RunResult, difference, flattened

_SAME = frozenset({"seed", "wandb", "threads", "device", "checkpoint_every"})
"""Parts of a config in which runs of one setting may differ."""


@dataclass(frozen=True)
class Group:
    """Runs of one setting, each with a training seed of its own."""

    name: str
    """What tells it from the others on the same problem."""
    problem: str
    """Family, with what tells its settings from those of others."""
    runs: Sequence[RunResult]
    """By seed; none of a reference, which was not trained, and of a trained agent with other settings."""
    evaluations: Sequence[Evaluation]
    """One for each run, or those of the reference."""
    files: Sequence[Path] = ()
    """Files of the evaluations, where there are no runs."""

    @cached_property
    def returns(self) -> np.ndarray:
        """Undiscounted return, mean over replicas. [seed, task, round]"""
        return np.stack([evaluation.returns for evaluation in self.evaluations])

    @property
    def rewards(self) -> np.ndarray | None:
        """Reward of each step of the trial, mean over replicas, NaN where none took it; None of tasks that do not change. [seed, task, step]"""
        rewards = [evaluation.rewards for evaluation in self.evaluations]
        known = [each for each in rewards if each is not None]
        return np.stack(known) if len(known) == len(rewards) else None

    def returns_on(self, split: str) -> np.ndarray | None:
        """Return the returns in tasks of another split, [seed, task, round]; None unless each run was measured in the same ones."""
        measured = [run.elsewhere[split] for run in self.runs if split in run.elsewhere]
        if not measured or len(measured) < len(self.runs):
            return None
        _require_comparable([(run.path / f"evaluation-{split}.json", run.elsewhere[split]) for run in self.runs])
        return np.stack([evaluation.returns for evaluation in measured])

    @property
    def totals(self) -> np.ndarray:
        """Return of the whole trial, the sum over rounds. [seed, task]"""
        return np.stack([evaluation.totals for evaluation in self.evaluations])

    @property
    def env_steps(self) -> np.ndarray:
        """Environment steps spent in the new task by the end of each round, mean over seeds and tasks. [round]"""
        return np.mean([evaluation.env_steps for evaluation in self.evaluations], axis=0)

    @cached_property
    def iqm(self) -> np.ndarray:
        """Interquartile mean of the return over seeds and tasks. [round]"""
        return iqm(self.returns.reshape(-1, self.returns.shape[-1]))

    @cached_property
    def interval(self) -> np.ndarray:
        """Its 95 % interval by bootstrap over seeds and tasks. [round, 2]"""
        return self.interval_of(self.returns)

    @cached_property
    def gain(self) -> tuple[float, np.ndarray]:
        """Last round less first, paired by task: IQM, and the ends of its 95 % interval."""
        change = self.returns[..., -1] - self.returns[..., 0]
        return float(iqm(change.reshape(-1))), self.interval_of(change)

    @property
    def success_rate(self) -> np.ndarray | None:
        """Mean over seeds and tasks of the successes; None where the family knows no success. [round]"""
        rates = [evaluation.success_rate for evaluation in self.evaluations]
        if all(rate is None for rate in rates):
            return None
        # A class may speak of success only where there was one: the seed that says nothing of it had none.
        return np.mean([np.zeros(self.returns.shape[-1]) if rate is None else rate for rate in rates], axis=0)

    def interval_of(self, values: np.ndarray) -> np.ndarray:
        """Return the 95 % interval of the IQM of `values` [seed, task, ...], [..., 2]."""
        return iqm_interval(values, rng=self._draws())

    def mean_interval_of(self, values: np.ndarray) -> np.ndarray:
        """Return the 95 % interval of the mean of `values` [seed, task], [2]; NaN where there is one task only."""
        if values.shape[1] == 1:
            return np.full(2, np.nan)
        return np.stack(crossed_bootstrap(values, lambda pooled, axis: pooled.mean(axis=axis), rng=self._draws()))

    def interval_beside(self, cells: np.ndarray) -> np.ndarray:
        """Return both ends of the 95 % interval of the mean of `cells` [seed, other seed, task, ...], [2, ...].

        NaN where there is one task only.
        """
        if cells.shape[2] == 1:
            return np.full((2, *cells.shape[3:]), np.nan)
        return np.stack(paired_bootstrap(cells, rng=self._draws()))

    def gap_interval(self, ours: np.ndarray, theirs: np.ndarray) -> np.ndarray:
        """Return the 95 % interval of the IQM of `ours` less that of `theirs`, [seed, task] and [seed, other task], [2].

        NaN where there is one task only.
        """
        if ours.shape[1] == 1 or theirs.shape[1] == 1:
            return np.full(2, np.nan)
        return np.stack(gap_bootstrap(ours, theirs, iqm, rng=self._draws()))

    def _draws(self) -> np.random.Generator:
        # The evaluation's own: of a single seed, its file and the page say the same.
        return generator(self.evaluations[0].seed, "bootstrap")


def grouped(runs: Sequence[RunResult]) -> list[Group]:
    """Return the runs by setting, in the order given. Raises MetarlError where their evaluations do not compare."""
    if not runs:
        raise MetarlError("no run given; write `metarl report RUN...`")
    problems: dict[str, list[RunResult]] = {}
    for run in runs:
        key = json.dumps([run.evaluation.family, dict(run.evaluation.settings)], sort_keys=True)
        problems.setdefault(key, []).append(run)
    names = _problem_names([members[0].evaluation for members in problems.values()])
    return [
        group
        for name, members in zip(names, problems.values(), strict=True)
        for group in (*_trained(name, members), *_references(name, members))
    ]


def _trained(problem: str, runs: Sequence[RunResult]) -> list[Group]:
    """Return the runs on one problem by setting."""
    _require_comparable([(run.path / EVALUATION, run.evaluation) for run in runs])
    settings: dict[str, list[RunResult]] = {}
    for run in runs:
        settings.setdefault(json.dumps(setting_of(run), sort_keys=True), []).append(run)
    groups = [sorted(members, key=lambda run: run.seed) for members in settings.values()]
    for members in groups:
        _require_one_of_each_seed(members)
    return [
        group
        for name, members in zip(_names(groups), groups, strict=True)
        for group in (
            Group(name, problem, members, [run.evaluation for run in members]),
            *_variants(name, problem, members),
        )
    ]


def _variants(name: str, problem: str, runs: Sequence[RunResult]) -> list[Group]:
    """Return what runs of one setting came to with other settings, or another budget, in the same tasks."""
    found: dict[str, list[tuple[Path, Evaluation]]] = {}
    note = f" ({ORACLE})"
    end = note if name.endswith(note) else ""
    for path, evaluation in (each for run in runs for each in run.variants):
        told = f"{' '.join([name.removesuffix(note), *evaluation.changes])}{end}"
        found.setdefault(told, []).append((path, evaluation))
    return [_measured(told, problem, members) for told, members in found.items()]


def _measured(name: str, problem: str, members: Sequence[tuple[Path, Evaluation]]) -> Group:
    """Return the group of evaluations that stand beside a run's own."""
    files, evaluations = zip(*members, strict=True)
    return Group(name, problem, (), evaluations, files)


def _references(problem: str, runs: Sequence[RunResult]) -> list[Group]:
    """Return what `metarl evaluate RUN --agent NAME` measured in the runs' tasks.

    Each agent once; of one that would learn, and is untrained, those of all runs, which began it with seeds of their own.
    """
    found: dict[str, list[tuple[Path, Evaluation]]] = {}
    for path, evaluation in sorted((each for run in runs for each in run.references), key=lambda each: each[0]):
        members = found.setdefault(evaluation.label, [])
        if any(np.array_equal(each.returns, evaluation.returns, equal_nan=True) for _, each in members):
            continue
        if members and not evaluation.agent.endswith(UNTRAINED):
            raise MetarlError(
                f"{members[0][0]} and {path} are of agents of one name, {evaluation.label!r}, that played differently: of other "
                "settings or seeds; leave one of them out"
            )
        members.append((path, evaluation))
    return [_measured(label, problem, members) for label, members in found.items()]


def _problem_names(evaluations: Sequence[Evaluation]) -> list[str]:
    """Return each problem's family, with the settings that differ between problems of the same family."""
    names = []
    for evaluation in evaluations:
        others = [other.settings for other in evaluations if other.family == evaluation.family]
        differing = (
            f"{key}={value}"
            for key, value in evaluation.settings.items()
            if any(other.get(key) != value for other in others)
        )
        names.append(" ".join([evaluation.family, *differing]))
    return names


def _require_one_of_each_seed(members: Sequence[RunResult]) -> None:
    """Refuse runs of one setting, by seed, that cannot be pooled."""
    first = members[0]
    for run, following in itertools.pairwise(members):
        if run.seed == following.seed:
            raise MetarlError(
                f"{run.path} and {following.path} have setting and seed in common; give each seed of a setting once"
            )
        rounds = first.evaluation.rounds, following.evaluation.rounds
        if rounds[0] != rounds[1]:
            raise MetarlError(
                f"{first.path / EVALUATION} and {following.path / EVALUATION} differ in rounds: {rounds[0]}, "
                f"{rounds[1]}; evaluate all seeds of a setting alike"
            )


def setting_of(run: RunResult) -> dict[str, Any]:
    """Return what runs of one setting have in common: their config without the seed and what moves no number."""
    return {key: value for key, value in run.config.items() if key not in _SAME}


def _names(groups: Sequence[Sequence[RunResult]]) -> list[str]:
    """Return each group's agent, with what differs between groups of the same agent, and whether it is an oracle."""
    agents = [members[0].config["agent"]["name"] for members in groups]
    flat = [flattened(setting_of(members[0])) for members in groups]
    names = []
    for agent, setting, members in zip(agents, flat, groups, strict=True):
        others = [other for other, name in zip(flat, agents, strict=True) if name == agent]
        differing = [key for key in setting if any(key not in other or other[key] != setting[key] for other in others)]
        told = [f"{key}={setting[key]}" for key in differing]
        names.append(" ".join([agent, *told, *([f"({ORACLE})"] if members[0].evaluation.oracle else [])]))
    return names


def _require_comparable(evaluations: Sequence[tuple[Path, Evaluation]]) -> None:
    """Refuse evaluations, each with its file, of one problem that were not measured alike."""
    (path, first), *others = evaluations
    for other_path, other in others:
        if why := difference(first, other):
            raise MetarlError(f"{path} and {other_path} {why}; evaluate all on one problem alike")
