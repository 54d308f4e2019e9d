"""Groups of runs that differ only in their seed, and references: pooled returns with intervals."""

from __future__ import annotations

import itertools
import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from ..base.errors import MetarlError
from ..base.streams import generator
from ..evaluation.calibration import Calibration
from ..evaluation.record import UNTRAINED, Evaluation
from ..evaluation.statistics import gap_bootstrap, iqm, iqm_interval, mean_interval, paired_bootstrap
from ..families.task import Measure
from ..trials.agent import ORACLE
from .runs import EVALUATION, RunResult, describe_difference
from .setting_names import name_settings

_SAME = frozenset({"seed", "wandb", "threads", "device", "checkpoint_every"})
"""Keys of a config in which runs of one setting may differ."""
_PLANNED = {"split": "--split", "replicas": "--replicas", "num_tasks": "--tasks", "seed": "--seed"}
"""Field of a plan to the option of `metarl evaluate` that sets it."""


@dataclass(frozen=True)
class Group:
    """One row of the tables: the runs of one setting by seed, or a reference in the same tasks."""

    name: str
    """Agent, with the settings in which groups of the same agent differ, as far as they are not its defaults."""
    problem: str
    """Family, with the settings in which problems of the same family differ."""
    runs: Sequence[RunResult]
    """Training runs by seed; empty for a reference and for a trained agent that was evaluated with other settings."""
    evaluations: Sequence[Evaluation]
    """The evaluation of each run, or those of the reference."""
    files: Sequence[Path] = ()
    """Files of the evaluations; empty where there are runs."""

    @property
    def trained(self) -> bool:
        """Whether training made its agents, with other settings of the evaluation or without."""
        return bool(self.runs) or any(evaluation.agent.trained for evaluation in self.evaluations)

    @property
    def training_seeds(self) -> tuple[int, ...]:
        """Training seeds of the evaluations; empty where one of them does not know its own."""
        if self.runs:
            return tuple(run.seed for run in self.runs)
        seeds = [(evaluation.agent.trained or {}).get("training_seed") for evaluation in self.evaluations]
        return tuple(seed for seed in seeds if isinstance(seed, int)) if None not in seeds else ()

    @property
    def measure(self) -> Measure:
        """What the family measures an episode by: its name, and the unit of all numbers here."""
        return self.evaluations[0].measure

    @cached_property
    def returns(self) -> np.ndarray:
        """Return, or what else is measured, mean over replicas, as it is told. [seed, task, round]"""
        return self.measure.tell(np.stack([evaluation.returns for evaluation in self.evaluations]))

    @property
    def rewards(self) -> np.ndarray | None:
        """Reward of each step of the trial, mean over replicas; None where tasks do not change. [seed, task, step]

        NaN for steps that no replica took.
        """
        rewards = [evaluation.rewards for evaluation in self.evaluations]
        known = [each for each in rewards if each is not None]
        return np.stack(known) if len(known) == len(rewards) else None

    @property
    def by_instance(self) -> np.ndarray | None:
        """Measure at each instance of a class in the first round, as it is told; None where no class is shown.

        [seed, task, instance]
        """
        found = [each.by_instance for each in self.evaluations if each.by_instance is not None]
        if len(found) < len(self.evaluations) or not (most := min(each.shape[1] for each in found)):
            return None
        return self.measure.tell(np.stack([each[:, :most] for each in found]))

    @property
    def calibrations(self) -> Sequence[Calibration]:
        """Calibration of each seed in the last round; empty unless all say how sure they were."""
        found = [each.calibration for each in self.evaluations if each.calibration is not None]
        return found if len(found) == len(self.evaluations) else ()

    def returns_on(self, split: str) -> np.ndarray | None:
        """Return the returns in tasks of another split, [seed, task, round]; None unless every run was evaluated there.

        Raises MetarlError where the runs met different tasks.
        """
        found = [run.other_splits[split] for run in self.runs if split in run.other_splits]
        if not found or len(found) < len(self.runs):
            return None
        _require_comparable([(run.path / f"evaluation-{split}.json", run.other_splits[split]) for run in self.runs])
        return self.measure.tell(np.stack([evaluation.returns for evaluation in found]))

    @cached_property
    def totals(self) -> np.ndarray:
        """What trials are compared by: the sum over rounds, or the last round of a mean over steps. [seed, task]"""
        return self.returns[..., -1] if self.measure.per_step else self.returns.sum(axis=2)

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
        """95 % interval of `iqm`, by the crossed bootstrap over seeds and tasks. [round, 2]"""
        return self.interval_of(self.returns).clip(*self.bounds)

    @property
    def bounds(self) -> tuple[float, float]:
        """Ends of the range of what a round is measured by, where it has one: an interval goes no further.

        Few seeds that differ much have intervals beyond it.
        """
        return (0.0, 100.0) if self.measure.percent and self.measure.per_step else (-math.inf, math.inf)

    @cached_property
    def gain(self) -> tuple[float, np.ndarray]:
        """Return of the last round less that of the first, paired by task: IQM, and its 95 % interval [2]."""
        change = self.returns[..., -1] - self.returns[..., 0]
        low, high = self.bounds
        return float(iqm(change.reshape(-1))), self.interval_of(change).clip(low - high, high - low)

    @property
    def success_rate(self) -> np.ndarray | None:
        """Success rate, mean over seeds and tasks; None where the family reports no success. [round]"""
        rates = [evaluation.success_rate for evaluation in self.evaluations]
        if all(rate is None for rate in rates):
            return None
        # Some environments report success only when there is one: a seed without a report had none.
        return np.mean([np.zeros(self.returns.shape[-1]) if rate is None else rate for rate in rates], axis=0)

    def interval_of(self, values: np.ndarray) -> np.ndarray:
        """Return the 95 % interval of the IQM of `values` [seed, task, ...], [..., 2]."""
        return iqm_interval(values, rng=self._generator())

    def mean_interval_of(self, values: np.ndarray) -> np.ndarray:
        """Return the 95 % interval of the mean of `values` [seed, task, ...], [..., 2]; NaN for one task."""
        return mean_interval(values, rng=self._generator())

    def paired_interval(self, pairs: np.ndarray) -> np.ndarray:
        """Return the 95 % interval of the mean of `pairs` [seed, other seed, task, ...], [2, ...].

        NaN where there is one task only.
        """
        if pairs.shape[2] == 1:
            return np.full((2, *pairs.shape[3:]), np.nan)
        return np.stack(paired_bootstrap(pairs, rng=self._generator()))

    def gap_interval(self, ours: np.ndarray, theirs: np.ndarray) -> np.ndarray:
        """Return the 95 % interval of the IQM of `ours` less that of `theirs`, [2].

        `ours` is [seed, task], `theirs` [seed, other task]. NaN where there is one task only.
        """
        if ours.shape[1] == 1 or theirs.shape[1] == 1:
            return np.full(2, np.nan)
        return np.stack(gap_bootstrap(ours, theirs, iqm, rng=self._generator()))

    def _generator(self) -> np.random.Generator:
        # The evaluation's own seed: the page and the file of a single run have the same interval.
        return generator(self.evaluations[0].plan.seed, "bootstrap")


def group_runs(runs: Sequence[RunResult]) -> list[Group]:
    """Return the runs by setting and their references, in the order given.

    Raises MetarlError where evaluations on one problem were not measured alike.
    """
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
        for group in (*_trained_groups(name, members), *_reference_groups(name, members))
    ]


def _trained_groups(problem: str, runs: Sequence[RunResult]) -> list[Group]:
    """Return the runs on one problem by setting, each followed by the variants of its evaluation."""
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
            *_variant_groups(name, problem, members),
        )
    ]


def _variant_groups(name: str, problem: str, runs: Sequence[RunResult]) -> list[Group]:
    """Return the evaluations of one setting's agents with other settings or another budget, in the same tasks."""
    found: dict[str, list[tuple[Path, Evaluation]]] = {}
    note = f" ({ORACLE})"
    end = note if name.endswith(note) else ""
    for path, evaluation in (each for run in runs for each in run.variants):
        variant = f"{' '.join([name.removesuffix(note), *evaluation.changes])}{end}"
        found.setdefault(variant, []).append((path, evaluation))
    return [_group_of_files(variant, problem, members) for variant, members in found.items()]


def _group_of_files(name: str, problem: str, members: Sequence[tuple[Path, Evaluation]]) -> Group:
    """Return the group of evaluations that have files of their own, beside that of a run."""
    files, evaluations = zip(*members, strict=True)
    return Group(name, problem, (), evaluations, files)


def _reference_groups(problem: str, runs: Sequence[RunResult]) -> list[Group]:
    """Return the evaluations that `metarl evaluate RUN --agent NAME` wrote, one group for each agent.

    An untrained learner began with another seed beside each run: its evaluations are pooled like training seeds. Raises
    MetarlError for two different evaluations of another agent.
    """
    found: dict[str, list[tuple[Path, Evaluation]]] = {}
    for path, evaluation in sorted((each for run in runs for each in run.references), key=lambda each: each[0]):
        members = found.setdefault(evaluation.label, [])
        if any(np.array_equal(each.returns, evaluation.returns, equal_nan=True) for _, each in members):
            continue
        if members and not evaluation.agent.name.endswith(UNTRAINED):
            raise MetarlError(
                f"{members[0][0]} and {path} are both of agent {evaluation.label!r}, with different returns: their "
                "settings or seeds differ; leave one of them out"
            )
        members.append((path, evaluation))
    return [_group_of_files(label, problem, members) for label, members in found.items()]


def _problem_names(evaluations: Sequence[Evaluation]) -> list[str]:
    """Return the name of each problem: its family, with the settings that differ between problems of that family."""
    names = []
    for evaluation in evaluations:
        others = [other.settings for other in evaluations if other.title == evaluation.title]
        differing = (
            f"{key}={value}"
            for key, value in evaluation.settings.items()
            if key != "title" and any(other.get(key) != value for other in others)
        )
        names.append(" ".join([evaluation.title, *differing]))
    return names


def _require_one_of_each_seed(members: Sequence[RunResult]) -> None:
    """Raise MetarlError for runs of one setting, sorted by seed, that share a seed or differ in rounds."""
    first = members[0]
    for run, following in itertools.pairwise(members):
        if run.seed == following.seed:
            raise MetarlError(
                f"{run.path} and {following.path} have the same setting and seed; give each seed of a setting once"
            )
        rounds = first.evaluation.rounds, following.evaluation.rounds
        if rounds[0] != rounds[1]:
            raise MetarlError(
                f"{first.path / EVALUATION} and {following.path / EVALUATION} differ in rounds: {rounds[0]}, "
                f"{rounds[1]}; evaluate all seeds of a setting alike"
            )


def setting_of(run: RunResult) -> dict[str, Any]:
    """Return the config of a run without the keys in which runs of one setting may differ, such as the seed."""
    return {key: value for key, value in run.config.items() if key not in _SAME}


def _names(groups: Sequence[Sequence[RunResult]]) -> list[str]:
    """Return the name of each group: agent, changed settings in which groups of it differ, note of an oracle."""
    settings = [setting_of(members[0]) for members in groups]
    agents = [setting["agent"]["name"] for setting in settings]
    changes: list[list[str]] = [[] for _ in groups]
    for agent in dict.fromkeys(agents):
        of_agent = [number for number, name in enumerate(agents) if name == agent]
        for number, words in zip(of_agent, name_settings([settings[number] for number in of_agent]), strict=True):
            changes[number] = words
    notes = [[f"({ORACLE})"] if members[0].evaluation.agent.oracle else [] for members in groups]
    return [" ".join([agent, *words, *note]) for agent, words, note in zip(agents, changes, notes, strict=True)]


def _require_comparable(evaluations: Sequence[tuple[Path, Evaluation]]) -> None:
    """Raise MetarlError for evaluations of one problem, each with its file, that were not measured alike."""
    (path, first), *others = evaluations
    for other_path, other in others:
        if why := describe_difference(first, other):
            options = [option for what, option in _PLANNED.items() if _plan_of(first, what) != _plan_of(other, what)]
            same = f" with the same {' and '.join(options)}" if options else ""
            raise MetarlError(f"{path} and {other_path} {why}; evaluate all on one problem alike{same}")


def _plan_of(evaluation: Evaluation, what: str) -> Any:
    return getattr(evaluation.plan, what)
