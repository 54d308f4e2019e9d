"""Trainings in processes of their own, and the scores that they have so far."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from ..base.errors import MetarlError
from ..base.files import lock
from ..runs.record import METRICS, is_whole
from ..runs.run import holds_run

STOP_SECONDS = 60.0
"""Longest wait for a training to save its last update."""
BEGINNING = "metarl: error: "
"""What the line of an error begins with."""


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


class Process:
    """A command in a process that ends when this one does, however it ends: its standard input then closes."""

    def __init__(self, words: Sequence[str], errors: Path, environment: Mapping[str, str] | None = None) -> None:
        self._errors = errors
        with errors.open("wb") as stream:
            self._process = subprocess.Popen(
                list(words),
                stdin=subprocess.PIPE,
                stdout=subprocess.DEVNULL,
                stderr=stream,
                env={**os.environ, **(environment or {})},
            )

    @property
    def status(self) -> int | None:
        """Exit status, None while it runs."""
        return self._process.poll()

    def stop(self) -> None:
        """Close its standard input, upon which the process saves and ends, and wait for it."""
        assert self._process.stdin is not None
        with contextlib.suppress(OSError):
            self._process.stdin.close()
        try:
            self._process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def require_success(self) -> None:
        """Raise MetarlError with the line of its error, if the process ended in one."""
        status = self._process.wait()
        if status == 0:
            return
        lines = self._errors.read_text(encoding="utf-8", errors="replace").splitlines()
        told = [line.removeprefix(BEGINNING) for line in lines if line.startswith(BEGINNING)]
        if told:
            raise MetarlError(told[-1])
        if status < 0:
            raise MetarlError(f"the process was ended by signal {-status}; {self._errors} has its last words")
        raise MetarlError(f"the process ended with status {status}; {self._errors} has its last words")


class Tail:
    """Reads the lines that another process appends to a metrics file. A resumed run repeats lines: they count once."""

    def __init__(self, run_dir: Path) -> None:
        self._path = run_dir / METRICS
        self._read = 0
        self._update = -1

    def new(self) -> Iterator[Mapping[str, float]]:
        """Yield the lines of updates that were not seen before."""
        if self._size() < self._read:
            self._read = 0  # the run went back to its last checkpoint
        try:
            with self._path.open("rb") as file:
                file.seek(self._read)
                lines = file.read().splitlines(keepends=True)
        except OSError:
            return
        for line in lines:
            if not is_whole(line):
                # Its writer is not done; or the file has grown again since it was cut: then it is read from the start.
                self._read = self._read if line is lines[-1] and not line.endswith(b"\n") else 0
                return
            self._read += len(line)
            metrics = json.loads(line)
            if metrics["update"] > self._update:
                self._update = metrics["update"]
                yield metrics

    def _size(self) -> int:
        try:
            return self._path.stat().st_size
        except OSError:
            return 0


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
        self._process.stop()
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
