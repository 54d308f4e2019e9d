"""Results of training runs over several seeds and settings: tables, pictures and the commands that repeat them."""

from __future__ import annotations

import itertools
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from .config import resolved, shortened
from .errors import MetarlError
from .evaluation import Evaluation
from .log import METRICS, read_metrics, read_sessions
from .report import counted
from .statistics import crossed_bootstrap, gap_bootstrap, iqm, iqm_interval, paired_bootstrap
from .streams import generator
from .trial import ORACLE

EVALUATION, REFERENCES = "evaluation.json", "evaluation-*.json"
"""Files in a run's folder: how its agent did in unseen tasks, and how others did in the same."""
OTHER_SPLITS = ("train", "extrapolation")
"""Splits on which an agent may be measured as well: `metarl evaluate RUN --split S` writes `evaluation-S.json`."""
_SAME = frozenset({"seed", "wandb", "threads", "device", "checkpoint_every"})
"""Parts of a config in which runs of one setting may differ."""


@dataclass(frozen=True)
class LeftOut:
    """What was asked for and cannot be shown."""

    path: Path
    """Folder of a run, or file of a reference."""
    why: str
    """What is wrong with it and what to do, in one line."""


@dataclass(frozen=True)
class RunResult:
    """What one training run left behind."""

    path: Path
    """Its folder."""
    config: Mapping[str, Any]
    """Its resolved configuration."""
    evaluation: Evaluation
    """How its agent did in unseen tasks."""
    elsewhere: Mapping[str, Evaluation]
    """How it did in tasks of other splits, as far as it was measured there."""
    metrics: Sequence[Mapping[str, float]]
    """One line an update."""
    sessions: Sequence[Mapping[str, Any]]
    """What ran it: command, commit, versions."""
    references: Sequence[tuple[Path, Evaluation]] = ()
    """What `metarl evaluate RUN --agent NAME` measured in the run's tasks, with its file."""
    left_out: Sequence[LeftOut] = ()
    """References whose file cannot be read."""

    @property
    def seed(self) -> int:
        """Seed of the training."""
        return int(self.config["seed"])

    @property
    def env_steps(self) -> int:
        """Environment steps of training."""
        return int(self.metrics[-1]["env_steps"]) if self.metrics else 0

    @property
    def unfinished(self) -> bool:
        """Whether updates are left to make."""
        return not self.metrics or self.metrics[-1]["update"] + 1 < self.config["num_updates"]

    @property
    def minutes(self) -> float:
        """Minutes of rollouts and updates, without evaluations."""
        return float(self.minutes_by_update[-1]) if self.metrics else 0.0

    @property
    def minutes_by_update(self) -> np.ndarray:
        """The same by the end of each update. [line of `metrics`]"""
        steps = np.diff([0.0, *(line["env_steps"] for line in self.metrics)])
        return np.cumsum(steps / [line["time/steps_per_second"] for line in self.metrics]) / 60

    @property
    def commits(self) -> tuple[str, ...]:
        """Commits that it was trained at, the first ten digits of each."""
        return tuple(dict.fromkeys((session.get("git_commit") or "unknown")[:10] for session in self.sessions))


@dataclass(frozen=True)
class Group:
    """Runs of one setting, each with a training seed of its own."""

    name: str
    """What tells it from the others on the same problem."""
    problem: str
    """Family, with what tells its settings from those of others."""
    runs: Sequence[RunResult]
    """By seed; none of a reference, which was not trained."""
    evaluations: Sequence[Evaluation]
    """One for each run, or that of the reference."""
    beside: Path | None = None
    """File of the reference's evaluation; None of a trained agent."""

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


def read_runs(paths: Sequence[str | Path]) -> tuple[list[RunResult], list[LeftOut]]:
    """Return the runs that can be read, and those runs and references that cannot.

    Raises MetarlError where no run is left.
    """
    runs: list[RunResult] = []
    left_out: list[LeftOut] = []
    for path in paths:
        try:
            run = read_run(path)
        except MetarlError as error:
            left_out.append(LeftOut(Path(path), str(error)))
        else:
            runs.append(run)
            left_out += run.left_out
    if paths and not runs:
        alone = len(paths) == 1
        raise MetarlError(left_out[0].why if alone else f"none of {len(paths)} runs can be read: {left_out[0].why}")
    return runs, left_out


def read_run(path: str | Path) -> RunResult:
    """Return what a run's folder holds; a last line of metrics that was cut off is left out.

    Raises MetarlError for a folder that holds no run or a damaged one, and for a run whose agent was not evaluated.
    """
    from .train import run_config

    path = Path(path)
    config = resolved(run_config(path))
    if not (path / EVALUATION).is_file():
        raise MetarlError(f"run {path} has no {EVALUATION}; write it with `metarl evaluate {path}`")
    evaluation, metrics, sessions = Evaluation.load(path / EVALUATION), read_metrics(path), read_sessions(path)
    _require_measured(path, metrics)
    references, left_out = _read_references(path)
    elsewhere, unlike = _read_elsewhere(path, evaluation, references)
    run = RunResult(path, config, evaluation, elsewhere, metrics, sessions, references, [*left_out, *unlike])
    _require_own(run)
    return run


def _read_elsewhere(
    path: Path, evaluation: Evaluation, references: Sequence[tuple[Path, Evaluation]]
) -> tuple[dict[str, Evaluation], list[LeftOut]]:
    """Return how the run's agent did in tasks of other splits, by split, and what differs in more than the split."""
    found, left_out = {}, []
    for file, other in references:
        if other.split in OTHER_SPLITS and file.name == f"evaluation-{other.split}.json":
            if why := _more_than_the_split(evaluation, other):
                left_out.append(LeftOut(file, f"{path / EVALUATION} and {file} {why}; evaluate both alike"))
            else:
                found[other.split] = other
    return found, left_out


def _more_than_the_split(first: Evaluation, other: Evaluation) -> str:
    """Return in words what evaluations of one run on two splits differ in beside the split, '' where nothing does."""
    for what in ("trained", "agent", "rounds", "replicas"):
        mine, theirs = getattr(first, what), getattr(other, what)
        if mine != theirs:
            return f"differ in {what}: {shortened(mine)}, {shortened(theirs)}"
    return ""


def _require_measured(path: Path, metrics: Sequence[Mapping[str, Any]]) -> None:
    """Refuse lines of metrics that lack what every table is made of."""
    for number, line in enumerate(metrics, start=1):
        for key in ("update", "env_steps", "time/steps_per_second"):
            if not isinstance(line.get(key), (int, float)):
                raise MetarlError(
                    f"{path / METRICS}:{number} has no number {key!r}; go back to a copy of the file, or train again"
                )


def _read_references(path: Path) -> tuple[list[tuple[Path, Evaluation]], list[LeftOut]]:
    """Return the references in a run's folder, and those that cannot be read."""
    references, left_out = [], []
    for file in sorted(path.glob(REFERENCES)):
        try:
            references.append((file, Evaluation.load(file)))
        except MetarlError as error:
            left_out.append(LeftOut(file, str(error)))
    return references, left_out


def _require_own(run: RunResult) -> None:
    """Refuse an evaluation that is of somebody else, such as the random agent in the run's tasks."""
    trained = run.evaluation.trained or {}
    mine = (run.config["agent"]["name"], run.seed)
    measured = (run.evaluation.agent, trained.get("training_seed", run.seed))
    if measured != mine:
        raise MetarlError(
            f"{run.path / EVALUATION} is of agent {measured[0]!r}, training seed {measured[1]}, the run is of "
            f"{mine[0]!r}, {mine[1]}; write it again with `metarl evaluate {run.path}`"
        )
    if run.evaluation.budget > 1:
        raise MetarlError(
            f"{run.path / EVALUATION} is of budget {run.evaluation.budget}, which other runs' are not; write it again with "
            f"`metarl evaluate {run.path}`"
        )


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
        Group(name, problem, members, [run.evaluation for run in members])
        for name, members in zip(_names(groups), groups, strict=True)
    ]


def _references(problem: str, runs: Sequence[RunResult]) -> list[Group]:
    """Return what `metarl evaluate RUN --agent NAME` measured in the runs' tasks, each agent once."""
    first = runs[0]
    measured = [
        (path, evaluation)
        for path, evaluation in sorted((each for run in runs for each in run.references), key=lambda each: each[0])
        if evaluation.split == first.evaluation.split and evaluation.trained is None
    ]
    _require_comparable([(first.path / EVALUATION, first.evaluation), *measured])
    for path, evaluation in measured:
        if evaluation.rounds != first.evaluation.rounds:
            raise MetarlError(
                f"{path} has {counted(evaluation.rounds, 'round')}, {first.path / EVALUATION} has "
                f"{first.evaluation.rounds}; evaluate all on one problem alike"
            )
    found: dict[str, Group] = {}
    for path, evaluation in measured:
        same = found.setdefault(evaluation.label, Group(evaluation.label, problem, (), [evaluation], path))
        if not np.array_equal(same.evaluations[0].returns, evaluation.returns, equal_nan=True):
            raise MetarlError(
                f"{same.beside} and {path} are of agents of one name, {evaluation.label!r}, that played differently: of other "
                "settings or seeds; leave one of them out"
            )
    return list(found.values())


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


def flattened(value: Any, prefix: str = "") -> dict[str, Any]:
    """Return nested settings by one key each, such as `agent.inner_lr`."""
    if not isinstance(value, Mapping):
        return {prefix: value}
    parts = (flattened(inner, f"{prefix}.{key}" if prefix else key) for key, inner in value.items())
    return {key: inner for part in parts for key, inner in part.items()}


def _require_comparable(evaluations: Sequence[tuple[Path, Evaluation]]) -> None:
    """Refuse evaluations, each with its file, of one problem that were not measured alike."""
    (path, first), *others = evaluations
    for other_path, other in others:
        if difference := _difference(first, other):
            raise MetarlError(f"{path} and {other_path} {difference}; evaluate all on one problem alike")


def _difference(first: Evaluation, other: Evaluation) -> str:
    """Return in words the first thing that keeps two evaluations from being compared, '' where nothing does."""
    pairs = [
        (what, getattr(first, what), getattr(other, what)) for what in ("family", "split", "replicas", "num_tasks")
    ]
    names = dict.fromkeys([*first.settings, *other.settings])
    pairs[1:1] = [(f"settings: {name}", first.settings.get(name), other.settings.get(name)) for name in names]
    for what, mine, theirs in pairs:
        if mine != theirs:
            return f"differ in {what}: {shortened(mine)}, {shortened(theirs)}"
    for number, (mine, theirs) in enumerate(zip(first.tasks, other.tasks, strict=True), start=1):
        if mine != theirs:
            return f"are of different tasks: number {number} is {shortened(mine)}, {shortened(theirs)}"
    return ""
