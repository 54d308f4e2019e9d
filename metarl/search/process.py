"""Trainings in processes of their own, and the scores that they have so far."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from ..base.child import Child, told_by
from ..base.errors import MetarlError
from ..base.files import lock
from ..runs.record import METRICS
from ..runs.run import holds_run
from ..runs.tail import Tail

STOP_SECONDS = 60.0
"""Longest wait for a training to save its last update."""


@dataclass(frozen=True)
class Job:
    """A training of a study."""

    run_dir: Path
    """Its run folder."""
    begin: tuple[str, ...]
    """Words of the command that begins it."""
    score: str
    """Metric that its best checkpoint is kept by."""
    environment: Mapping[str, str] = field(default_factory=dict)
    """Variables of its process beside our own."""


class Score(NamedTuple):
    """A validation of a training."""

    env_steps: int
    """Environment steps spent."""
    best: float
    """Best score so far, that of the run's best checkpoint."""


class Process(Child):
    """A command whose standard error goes to a file."""

    def __init__(self, words: Sequence[str], errors: Path, environment: Mapping[str, str] | None = None) -> None:
        self._errors = errors
        with errors.open("wb") as stream:
            super().__init__(words, stream, environment)

    def require_success(self) -> None:
        """Raise MetarlError with the line of its error, if the process ended in one."""
        if self.status == 0:
            return
        errors, _, _ = told_by(self._errors.read_bytes())
        if errors:
            raise MetarlError(errors[-1])
        assert self.status is not None, "it still runs"
        how = f"was ended by signal {-self.status}" if self.status < 0 else f"ended with status {self.status}"
        raise MetarlError(f"the process {how}; {self._errors} has its last words")


class Training:
    """A training in progress: it begins, or goes on from the last checkpoint of its run."""

    def __init__(self, job: Job, metarl: Sequence[str]) -> None:
        self._job = job
        job.run_dir.parent.mkdir(parents=True, exist_ok=True)
        _await(job.run_dir)
        resume = ("train", "--resume", str(job.run_dir), "--quiet")
        words = resume if holds_run(job.run_dir) else job.begin
        errors = job.run_dir.with_name(f"{job.run_dir.name}.log")
        self._process = Process([*metarl, *words], errors, job.environment)
        self._tail = Tail(job.run_dir)
        self.best: float | None = None
        """Best score so far."""
        self.env_steps = 0
        """Environment steps spent so far."""

    @property
    def is_running(self) -> bool:
        """Whether the process runs. What it wrote before it ended can be read once this is false."""
        return self._process.status is None

    def scores(self) -> Iterator[Score]:
        """Yield the validations that were not seen before."""
        for metrics in self._tail.new():
            self.env_steps = int(metrics["env_steps"])
            if self._job.score in metrics:
                score = metrics[self._job.score]
                self.best = score if self.best is None else max(self.best, score)
                yield Score(self.env_steps, self.best)

    def require_success(self) -> None:
        """Raise MetarlError with the line of its error, if the training ended in one."""
        self._process.require_success()

    def finish(self) -> float:
        """Return the best score of a training that has ended. Raises MetarlError as `require_success` does."""
        self.require_success()
        if self.best is None:
            raise MetarlError(f"{self._job.run_dir} has no validation; its metrics are damaged")
        return self.best

    def stop(self) -> None:
        """Let the training save its last update, and end it."""
        self._process.stop(seconds=STOP_SECONDS)
        for _ in self.scores():
            pass  # counts the environment steps to the end


def _await(run_dir: Path) -> None:
    """Wait until no training writes a run: one of a study that was killed may still save."""
    path, deadline = run_dir / METRICS, time.monotonic() + STOP_SECONDS
    while path.is_file() and time.monotonic() < deadline:
        with path.open("rb") as file:
            if lock(file.fileno()):
                return
        time.sleep(0.05)
