"""What a run's folder holds of results: its agent's evaluations, those of references in its tasks, and its training."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from ..base.errors import MetarlError
from ..base.settings import shortened
from ..base.text import counted
from ..evaluation.record import Evaluation
from ..runs.config import resolved
from ..runs.record import minutes_by_update, read_metrics, read_sessions, require_measured
from ..runs.run import run_config

EVALUATION, REFERENCES = "evaluation.json", "evaluation-*.json"
"""Files in a run's folder: how its agent did in unseen tasks, and how others did in the same."""
OTHER_SPLITS = ("train", "extrapolation")
"""Splits on which an agent may be measured as well: `metarl evaluate RUN --split S` writes `evaluation-S.json`."""


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
    metrics: Sequence[Mapping[str, float]]
    """One line an update."""
    sessions: Sequence[Mapping[str, Any]]
    """What ran it: command, commit, versions."""
    elsewhere: Mapping[str, Evaluation] = field(default_factory=dict)
    """How it did in tasks of other splits, as far as it was measured there."""
    references: Sequence[tuple[Path, Evaluation]] = ()
    """What `metarl evaluate RUN --agent NAME` measured in the run's tasks, with its file."""
    variants: Sequence[tuple[Path, Evaluation]] = ()
    """What `metarl evaluate RUN agent.KEY=VALUE` or a budget measured of its agent in the same tasks, with its file."""
    left_out: Sequence[LeftOut] = ()
    """What was measured and is not shown, and why."""

    @property
    def seed(self) -> int:
        """Seed of the training."""
        return int(self.config["seed"])

    @property
    def env_steps(self) -> int:
        """Environment steps of training, those of a run it started from included."""
        return int(self.metrics[-1]["env_steps"]) if self.metrics else 0

    @property
    def unfinished(self) -> bool:
        """Whether updates are left to make."""
        return not self.metrics or self.metrics[-1]["update"] + 1 < self.config["num_updates"]

    @property
    def minutes(self) -> float:
        """Minutes of rollouts and updates, likewise, without evaluations."""
        return float(self.minutes_by_update[-1]) if self.metrics else 0.0

    @property
    def minutes_by_update(self) -> np.ndarray:
        """The same by the end of each update. [line of `metrics`]"""
        return minutes_by_update(self.metrics, self.sessions)

    @property
    def commits(self) -> tuple[str, ...]:
        """Commits that it was trained at, the first ten digits of each."""
        return tuple(dict.fromkeys((session.get("git_commit") or "unknown")[:10] for session in self.sessions))


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
    path = Path(path)
    config = resolved(run_config(path))
    if not (path / EVALUATION).is_file():
        raise MetarlError(f"run {path} has no {EVALUATION}; write it with `metarl evaluate {path}`")
    evaluation, metrics, sessions = Evaluation.load(path / EVALUATION), read_metrics(path), read_sessions(path)
    require_measured(path, metrics)
    run = RunResult(path, config, evaluation, metrics, sessions, *_read_others(path, evaluation))
    _require_own(run)
    return run


def _read_others(
    path: Path, own: Evaluation
) -> tuple[dict[str, Evaluation], list[tuple[Path, Evaluation]], list[tuple[Path, Evaluation]], list[LeftOut]]:
    """Return what else was measured of a run.

    Its agent on other splits, others in its tasks, its agent with other settings, and what is not shown.
    """
    elsewhere: dict[str, Evaluation] = {}
    references: list[tuple[Path, Evaluation]] = []
    variants: list[tuple[Path, Evaluation]] = []
    left_out: list[LeftOut] = []
    for file in sorted(path.glob(REFERENCES)):
        try:
            other = Evaluation.load(file)
        except MetarlError as error:
            left_out.append(LeftOut(file, str(error)))
            continue
        mine = other.agent == own.agent
        if other.split != own.split and not (mine and other.split in OTHER_SPLITS):
            continue  # of tasks that are none of the page's
        if why := _not_beside(own, other, file.name):
            left_out.append(LeftOut(file, f"{file} {why}"))
        elif not mine:
            references.append((file, other))
        elif twins := [path for path, each in variants if each.changes == other.changes]:
            left_out.append(
                LeftOut(file, f"{file} is of {' '.join(other.changes)}, as {twins[0]} is; delete one of them")
            )
        elif other.changes:
            variants.append((file, other))
        else:
            elsewhere[other.split] = other
    return elsewhere, references, variants, left_out


def _not_beside(own: Evaluation, other: Evaluation, name: str) -> str:
    """Return why an evaluation cannot stand beside the run's own, '' where it can."""
    if other.rounds != own.rounds:
        return f"has {counted(other.rounds, 'round')}, {EVALUATION} has {own.rounds}; evaluate both alike"
    if other.agent != own.agent:
        why = difference(own, other)
    elif other.changes and other.split != own.split:
        return f"is of {' '.join(other.changes)} in tasks of another split; a page shows those of {own.split} only"
    elif other.changes:
        why = difference(own, other) or _more_than_what_was_asked(own, other)
        if not why and np.array_equal(other.returns, own.returns, equal_nan=True):
            return f"has the returns of {EVALUATION} in every round: {' '.join(other.changes)} changed nothing"
    elif other.split == own.split or name != f"evaluation-{other.split}.json":
        told = " and ".join(f"evaluation-{split}.json" for split in OTHER_SPLITS)
        return f"is of the trained agent; a page shows {EVALUATION} of a run, and {told} beside it"
    else:
        why = _more_than_what_was_asked(own, other)
    return why and f"and {EVALUATION} {why}; evaluate both alike"


def _more_than_what_was_asked(first: Evaluation, other: Evaluation) -> str:
    """Return in words what evaluations of one run's agent differ in, beside the split and what was set, '' where nothing does."""
    pairs = [(what, getattr(first, what), getattr(other, what)) for what in ("agent", "replicas")]
    trained, theirs = flattened(first.trained or {}), flattened(other.trained or {})
    # What only one of them tells came into being between the two.
    pairs += [(f"trained: {key}", trained[key], theirs[key]) for key in trained if key in theirs]
    for what, mine, others in pairs:
        if mine != others:
            return f"differ in {what}: {shortened(mine)}, {shortened(others)}"
    return ""


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
    if run.evaluation.changes:
        raise MetarlError(
            f"{run.path / EVALUATION} is of {' '.join(run.evaluation.changes)}, which other runs' are not; write it again with "
            f"`metarl evaluate {run.path}`"
        )


def difference(first: Evaluation, other: Evaluation) -> str:
    """Return in words the first thing that keeps two evaluations from being compared, '' where nothing does."""
    pairs = [
        (what, getattr(first, what), getattr(other, what))
        for what in ("family", "split", "replicas", "num_tasks", "seed")
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


def flattened(value: Any, prefix: str = "") -> dict[str, Any]:
    """Return nested settings by one key each, such as `agent.inner_lr`."""
    if not isinstance(value, Mapping):
        return {prefix: value}
    parts = (flattened(inner, f"{prefix}.{key}" if prefix else key) for key, inner in value.items())
    return {key: inner for part in parts for key, inner in part.items()}
