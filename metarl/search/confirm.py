"""The best settings against the unchanged config, on training seeds that the search never used and on test tasks."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from ..base.errors import MetarlError
from ..base.files import write_atomically
from ..base.streams import generator
from ..base.text import decimals_for, interval_text, number_text, with_noun
from ..evaluation.record import Evaluation
from ..evaluation.statistics import mean_interval
from .plan import Plan
from .process import Job, Process, Training
from .results import Best
from .trial import Work, side_by_side

FOLDER, RESULT, EVALUATION = "confirm", "confirm.json", "evaluation.json"
"""Folder of the runs, file of the result in the study's folder, and file of an evaluation in a run folder."""


@dataclass(frozen=True)
class Confirmation:
    """What the best settings gained on fresh seeds."""

    trial: int
    """Number of the trial with the best settings."""
    seeds: list[int]
    """Training seeds."""
    num_tasks: int
    """Test tasks."""
    measure: str
    """What both are measured by."""
    default: float
    """Mean of the unchanged config over seeds and tasks."""
    best: float
    """Mean of the best settings."""
    difference: float
    """Mean of the paired differences."""
    interval: list[float | None]
    """95 % bootstrap interval of the difference over seeds and tasks; None where there is none."""

    @property
    def line(self) -> str:
        """The result in one line."""
        numbers = [self.best, self.default, self.difference]
        decimals = decimals_for(np.array(numbers))
        best, default, difference = (number_text(number, decimals) for number in numbers)
        ends = [float("nan") if end is None else end for end in self.interval]
        within = interval_text(ends, lambda end: number_text(end, decimals))
        over = "seeds and tasks" if len(self.seeds) > 1 else "tasks alone, of one seed"
        counts = f"{with_noun(self.num_tasks, 'test task')}, {with_noun(len(self.seeds), 'fresh seed')}"
        return (
            f"confirm: {self.measure} on {counts}: trial {self.trial} {best}, unchanged config {default}, "
            f"difference {difference}, 95 % interval over {over} {within}"
        )


def confirm(plan: Plan, best: Best, count: int) -> Confirmation:
    """Train and evaluate both with so many fresh seeds, and return the paired difference, which is written too.

    What an interrupted call has done is kept. Raises MetarlError for a training or an evaluation that fails.
    """
    first = plan.base.seed + plan.seeds
    seeds = list(range(first, first + count))
    jobs = {
        name: [plan.job(plan.folder / FOLDER / f"{name}-seed{seed}", words, seed) for seed in seeds]
        for name, words in (("default", []), (f"trial-{best.number:04}", best.words))
    }
    pairs = zip(*jobs.values(), strict=True)
    side_by_side((_measure(plan, job) for pair in pairs for job in pair), plan.workers)
    default, found = (_evaluations(each) for each in jobs.values())
    result = compare(plan, best.number, seeds, default, found)
    write_atomically(plan.folder / RESULT, f"{json.dumps(asdict(result), indent=2)}\n".encode())
    return result


def _measure(plan: Plan, job: Job) -> Work:
    """Train a run and evaluate it, unless that is done."""
    if (job.run_dir / EVALUATION).exists():
        return
    training = Training(job, plan.metarl)
    try:
        while training.is_running:
            yield
        training.require_success()
    finally:
        training.stop()
    words = [*plan.metarl, "evaluate", str(job.run_dir), "--quiet"]
    process = Process(words, job.run_dir.with_name(f"{job.run_dir.name}.log"), job.environment)
    try:
        while process.status is None:
            yield
        process.require_success()
    finally:
        process.stop()


def _evaluations(jobs: Sequence[Job]) -> list[Evaluation]:
    return [Evaluation.load(job.run_dir / EVALUATION) for job in jobs]


def compare(
    plan: Plan, number: int, seeds: list[int], default: Sequence[Evaluation], best: Sequence[Evaluation]
) -> Confirmation:
    """Return the difference of evaluations that are paired by training seed and by task."""
    ours, theirs = (np.stack([_scores(each, plan.by_trial) for each in evaluations]) for evaluations in (best, default))
    if ours.shape != theirs.shape:
        raise MetarlError(
            f"evaluations in {plan.folder / FOLDER} are of other tasks; remove the folder, and confirm anew"
        )
    ends = mean_interval(ours - theirs, rng=generator(0, "confirm"))
    measure = default[0].measure
    return Confirmation(
        trial=number,
        seeds=seeds,
        num_tasks=ours.shape[1],
        measure=f"{measure.label} of {'all rounds' if plan.by_trial else 'the last round'}",
        default=float(theirs.mean()),
        best=float(ours.mean()),
        difference=float((ours - theirs).mean()),
        interval=[float(end) if np.isfinite(end) else None for end in ends],
    )


def _scores(evaluation: Evaluation, by_trial: bool) -> np.ndarray:
    """Return the score of each task in the unit in which it is told. [task]"""
    return evaluation.measure.tell(evaluation.totals if by_trial else evaluation.returns[:, -1])


def read_confirmation(folder: Path) -> Confirmation | None:
    """Return the result in a study's folder, None without one."""
    path = folder / RESULT
    return Confirmation(**json.loads(path.read_text(encoding="utf-8"))) if path.is_file() else None
