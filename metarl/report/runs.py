"""Reads the results in a run's folder: its training, the evaluations of its agent, and those of references."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from ..base.errors import MetarlError
from ..base.files import path_inside
from ..base.meter import Report, counted, ignore
from ..base.settings import shorten
from ..base.terminal import shell_line
from ..base.text import with_noun
from ..evaluation.agreement import Agreement
from ..evaluation.record import Evaluation
from ..runs.config import resolve
from ..runs.record import CONFIG, TEACHER, minutes_by_update, read_metrics, read_sessions, require_measured
from ..runs.run import run_config

EVALUATION, REFERENCES = "evaluation.json", "evaluation-*.json"
"""Files in a run's folder: the evaluation of its agent, and all others in its tasks."""
BY_SHOTS, CHANGED = "shots-*.json", "changed-*.json"
"""Files of evaluations with other examples, and with other settings of the family."""
OTHER_SPLITS = ("train", "extrapolation")
"""Other splits that a page compares with its own; `metarl evaluate RUN --split S` writes `evaluation-S.json`."""


@dataclass(frozen=True)
class LeftOut:
    """A run or an evaluation that the page leaves out."""

    path: Path
    """Folder of the run, or file of the evaluation."""
    why: str
    """What is wrong and what to do about it, in one line."""


@dataclass(frozen=True)
class RunResult:
    """The results of one training run."""

    path: Path
    """Folder of the run."""
    config: Mapping[str, Any]
    """Resolved config of the run."""
    evaluation: Evaluation
    """Evaluation of its agent, in `evaluation.json`."""
    metrics: Sequence[Mapping[str, float]]
    """One line for each update."""
    sessions: Sequence[Mapping[str, Any]]
    """Command, commit and versions of each session that trained it."""
    other_splits: Mapping[str, Evaluation] = field(default_factory=dict)
    """Evaluations of its agent in tasks of other splits, by split."""
    references: Sequence[tuple[Path, Evaluation]] = ()
    """File and evaluation of each other agent in the run's tasks, from `metarl evaluate RUN --agent NAME`."""
    variants: Sequence[tuple[Path, Evaluation]] = ()
    """File and evaluation of its agent with other settings, from `metarl evaluate RUN agent.KEY=VALUE`."""
    by_shots: Sequence[tuple[Path, Evaluation]] = ()
    """File and evaluation of an agent with another number of examples, from `metarl evaluate RUN --shots N,N`."""
    changed: Sequence[tuple[Path, Evaluation]] = ()
    """File and evaluation of an agent with other objectives, from `metarl evaluate RUN family.KEY=VALUE`."""
    left_out: Sequence[LeftOut] = ()
    """Evaluations in the folder that the page leaves out."""
    agreement: Agreement | None = None
    """Its agent beside its teacher, from `metarl evaluate RUN --teacher`; None where that was not measured."""

    @property
    def seed(self) -> int:
        """Seed of the training."""
        return int(self.config["seed"])

    @property
    def env_steps(self) -> int:
        """Environment steps of training, including those of a run that it started from."""
        return int(self.metrics[-1]["env_steps"]) if self.metrics else 0

    @property
    def unfinished(self) -> bool:
        """Whether updates are left to do."""
        return not self.metrics or self.metrics[-1]["update"] + 1 < self.config["num_updates"]

    @property
    def minutes(self) -> float:
        """Wall-clock minutes of rollouts and updates, including those of a run that it started from."""
        return float(self.minutes_by_update[-1]) if self.metrics else 0.0

    @property
    def minutes_by_update(self) -> np.ndarray:
        """Minutes by the end of each update. [line of `metrics`]"""
        return minutes_by_update(self.metrics, self.sessions)

    @property
    def commits(self) -> tuple[str, ...]:
        """First ten digits of each commit that trained it."""
        return tuple(dict.fromkeys((session.get("git_commit") or "unknown")[:10] for session in self.sessions))


def find_runs(paths: Sequence[str]) -> list[str]:
    """Return the folders of runs among the paths, with a folder of several runs replaced by the runs in it, by name."""
    found: list[str] = []
    for path in paths:
        inside = [] if (Path(path) / CONFIG).exists() else sorted(map(str, _runs_in(Path(path))))
        found += inside or [path]  # of a folder without runs, reading it says what is missing
    return found


def _runs_in(folder: Path) -> list[Path]:
    try:
        return [each for each in folder.iterdir() if (each / CONFIG).is_file()]
    except OSError:
        return []


def read_runs(paths: Sequence[str | Path], report: Report = ignore) -> tuple[list[RunResult], list[LeftOut]]:
    """Return the runs that can be read, and the runs and evaluations that are left out.

    Raises MetarlError where no run can be read.
    """
    runs: list[RunResult] = []
    left_out: list[LeftOut] = []
    for path in counted(paths, report, len(paths)):
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
    """Return the results in a run's folder, without a last line of metrics that a kill cut off.

    Raises MetarlError for a folder without a run, for a damaged run, and for a run that was not evaluated.
    """
    try:
        return _read_run(Path(path))
    except OSError as error:  # of a folder that may not be listed, or whose disk is gone
        raise MetarlError(
            f"run {path} cannot be read ({error.strerror}); see to its permissions, or leave it out"
        ) from None


def _read_run(path: Path) -> RunResult:
    config = resolve(run_config(path))
    if not path_inside(path, EVALUATION).is_file():
        again = shell_line(["metarl", "evaluate", path])
        raise MetarlError(f"run {path} has no {EVALUATION}; write it with `{again}`")
    evaluation, metrics, sessions = Evaluation.load(path / EVALUATION), read_metrics(path), read_sessions(path)
    require_measured(path, metrics)
    others = _read_others(path, evaluation)
    run = RunResult(
        path,
        config,
        evaluation,
        metrics,
        sessions,
        others.other_splits,
        others.references,
        others.variants,
        _read_shots(path, evaluation, others.left_out),
        _read_changed(path, evaluation, others.left_out),
        others.left_out,
        _read_agreement(path, evaluation, others.left_out),
    )
    _require_own(run)
    return run


def _read_agreement(path: Path, own: Evaluation, left_out: list[LeftOut]) -> Agreement | None:
    """Return what was measured beside the teacher; add a file that is damaged, or of another agent, to `left_out`."""
    if not path_inside(path, TEACHER).is_file():
        return None
    try:
        found = Agreement.load(path_inside(path, TEACHER))
    except MetarlError as error:
        left_out.append(LeftOut(path / TEACHER, str(error)))
        return None
    if found.trained != (own.agent.trained or {}):
        again = shell_line(["metarl", "evaluate", path, "--teacher"])
        why = f"{path / TEACHER} and {EVALUATION} are of other checkpoints; write it again with `{again}`"
        left_out.append(LeftOut(path / TEACHER, why))
        return None
    return found


@dataclass(frozen=True)
class _Others:
    """The evaluations beside a run's own, as `RunResult` has them."""

    other_splits: dict[str, Evaluation] = field(default_factory=dict)
    references: list[tuple[Path, Evaluation]] = field(default_factory=list)
    variants: list[tuple[Path, Evaluation]] = field(default_factory=list)
    left_out: list[LeftOut] = field(default_factory=list)


def _read_others(path: Path, own: Evaluation) -> _Others:
    """Return the evaluations in a run's folder beside its own."""
    others = _Others()
    for file in sorted(path.glob(REFERENCES)):
        try:
            other = Evaluation.load(path_inside(path, file.name))
        except MetarlError as error:
            others.left_out.append(LeftOut(file, str(error)))
            continue
        same_agent = other.agent.name == own.agent.name
        if other.plan.split == own.plan.split or (same_agent and other.plan.split in OTHER_SPLITS):
            _sort_in(others, file, other, own)
    return others


def _read_shots(path: Path, own: Evaluation, left_out: list[LeftOut]) -> list[tuple[Path, Evaluation]]:
    """Return the evaluations with another number of examples; add those that do not fit the run's own to `left_out`."""
    found = []
    for file in sorted(path.glob(BY_SHOTS)):
        try:
            other = Evaluation.load(path_inside(path, file.name))
        except MetarlError as error:
            left_out.append(LeftOut(file, str(error)))
            continue
        if type(other.settings.get("shots")) is not int:
            left_out.append(LeftOut(file, f"{file} names no number of shots; write it again with --shots"))
            continue
        alike = replace(other, settings={**other.settings, "shots": own.settings.get("shots")})
        why = describe_difference(alike, own) or _describe_unasked_difference(other, own)
        if other.rounds != own.rounds:
            why = f"differ in rounds: {other.rounds}, {own.rounds}"
        if why:
            left_out.append(LeftOut(file, f"{file} and {EVALUATION} {why}; evaluate both alike"))
        else:
            found.append((file, other))
    return found


def _read_changed(path: Path, own: Evaluation, left_out: list[LeftOut]) -> list[tuple[Path, Evaluation]]:
    """Return the evaluations with other settings of a family that tells objectives; others are of another problem."""
    found = []
    for file in sorted(path.glob(CHANGED)) if any(told.objective for told in own.outcomes.values()) else ():
        try:
            other = Evaluation.load(path_inside(path, file.name))
        except MetarlError as error:
            left_out.append(LeftOut(file, str(error)))
            continue
        plans = [(what, getattr(other.plan, what), getattr(own.plan, what)) for what in _PLAN]
        why = [f"differ in {what}: {theirs}, {mine}" for what, theirs, mine in plans if theirs != mine]
        if why:
            left_out.append(LeftOut(file, f"{file} and {EVALUATION} {why[0]}; evaluate both alike"))
        else:
            found.append((file, other))
    return found


def family_changes(evaluation: Evaluation, own: Evaluation) -> list[str]:
    """Return the settings of the family in which an evaluation differs from the run's own, as `name=value`."""
    names = [name for name, value in evaluation.settings.items() if own.settings.get(name) != value]
    return [f"{name}={json.dumps(evaluation.settings[name], separators=(',', ':'))}" for name in names]


_PLAN = ("split", "replicas", "rounds", "num_tasks", "seed", "deterministic")
"""What evaluations with other settings of the family share with the run's own."""


def _sort_in(others: _Others, file: Path, other: Evaluation, own: Evaluation) -> None:
    """Add an evaluation to the references, variants or other splits of a run, or to those left out."""
    if why := _why_left_out(own, other, file.name):
        others.left_out.append(LeftOut(file, f"{file} {why}"))
    elif other.agent.name != own.agent.name:
        others.references.append((file, other))
    elif twins := [path for path, each in others.variants if each.changes == other.changes]:
        changes = " ".join(other.changes)
        why = f"{file} and {twins[0]} were both evaluated with {changes}; delete one of them"
        others.left_out.append(LeftOut(file, why))
    elif other.changes:
        others.variants.append((file, other))
    else:
        others.other_splits[other.plan.split] = other


def _why_left_out(own: Evaluation, other: Evaluation, name: str) -> str:
    """Return why the page leaves an evaluation out beside the run's own, '' where it shows it."""
    if other.rounds != own.rounds:
        return f"has {with_noun(other.rounds, 'round')}, {EVALUATION} has {own.rounds}; evaluate both alike"
    if other.agent.name != own.agent.name:
        why = describe_difference(other, own)
    elif other.changes and other.plan.split != own.plan.split:
        changes = " ".join(other.changes)
        return f"was evaluated with {changes} in tasks of another split; a page shows those of {own.plan.split} only"
    elif other.changes:
        why = describe_difference(other, own) or _describe_unasked_difference(other, own)
        if not why and np.array_equal(other.returns, own.returns, equal_nan=True):
            return f"has the returns of {EVALUATION} in every round: {' '.join(other.changes)} changed nothing"
    elif other.plan.split == own.plan.split or name != f"evaluation-{other.plan.split}.json":
        files = " and ".join(f"evaluation-{split}.json" for split in OTHER_SPLITS)
        return f"is of the trained agent; a page shows only {EVALUATION} of it, and {files} beside it"
    else:
        why = _describe_unasked_difference(other, own)
    return why and f"and {EVALUATION} {why}; evaluate both alike"


def _describe_unasked_difference(first: Evaluation, other: Evaluation) -> str:
    """Return how two evaluations of one run's agent differ beside their split and settings, '' where they do not."""
    pairs: list[tuple[str, Any, Any]] = [("replicas", first.plan.replicas, other.plan.replicas)]
    trained, theirs = flatten(first.agent.trained or {}), flatten(other.agent.trained or {})
    # A key that only one of them has was introduced between the two evaluations.
    pairs += [(f"trained: {key}", trained[key], theirs[key]) for key in trained if key in theirs]
    for what, mine, others in pairs:
        if mine != others:
            return f"differ in {what}: {shorten(mine)}, {shorten(others)}"
    return ""


def _require_own(run: RunResult) -> None:
    """Raise MetarlError unless the run's evaluation has the agent, seed and settings of the run."""
    trained = run.evaluation.agent.trained or {}
    mine = (run.config["agent"]["name"], run.seed)
    measured = (run.evaluation.agent.name, trained.get("training_seed", run.seed))
    if measured != mine:
        raise MetarlError(
            f"{run.path / EVALUATION} is of agent {measured[0]!r}, training seed {measured[1]}, the run is of "
            f"{mine[0]!r}, {mine[1]}; write it again with `{shell_line(['metarl', 'evaluate', run.path])}`"
        )
    if run.evaluation.changes:
        raise MetarlError(
            f"{run.path / EVALUATION} was evaluated with {' '.join(run.evaluation.changes)}, unlike evaluations of "
            f"other runs; write it again with `{shell_line(['metarl', 'evaluate', run.path])}`"
        )


def describe_difference(first: Evaluation, other: Evaluation) -> str:
    """Return the first difference between two evaluations that makes them incomparable, '' where there is none."""
    plans = [
        (what, getattr(first.plan, what), getattr(other.plan, what))
        for what in ("split", "replicas", "num_tasks", "seed")
    ]
    measures = first.measure.definition, other.measure.definition
    pairs = [("family", first.family, other.family), ("measure", *measures), *plans]
    names = dict.fromkeys([*first.settings, *other.settings])
    pairs[1:1] = [(f"settings: {name}", first.settings.get(name), other.settings.get(name)) for name in names]
    for what, mine, theirs in pairs:
        if mine != theirs:
            return f"differ in {what}: {shorten(mine)}, {shorten(theirs)}"
    for number, (mine, theirs) in enumerate(zip(first.tasks, other.tasks, strict=True), start=1):
        if mine != theirs:
            return f"are of different tasks: number {number} is {shorten(mine)}, {shorten(theirs)}"
    return ""


def flatten(value: Any, prefix: str = "") -> dict[str, Any]:
    """Return nested settings as one flat mapping with dotted keys, such as `agent.inner_lr`."""
    if not isinstance(value, Mapping):
        return {prefix: value}
    parts = (flatten(inner, f"{prefix}.{key}" if prefix else key) for key, inner in value.items())
    return {key: inner for part in parts for key, inner in part.items()}
