"""`metarl train` with several seeds: a process for each, as many at once as there are cores, and one view of all."""

from __future__ import annotations

import os
import signal
import sys
import tempfile
import time
from collections import deque
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from ..base.child import METARL, Child, told_by
from ..base.errors import MetarlError
from ..base.progress import Progress, ProgressOfAll, warn
from ..base.ranks import GOES_ON
from ..runs.tail import Tail

if TYPE_CHECKING:
    from ..runs.config import TrainConfig

SECONDS_BETWEEN_LOOKS = 0.1


class _Training:
    """The training of one seed, in a process of its own."""

    def __init__(self, config: TrainConfig, run_dir: Path, words: Sequence[str], shown: Progress) -> None:
        self.config, self.run_dir, self.words, self.shown = config, run_dir, words, shown
        self.told = tempfile.TemporaryFile()  # noqa: SIM115 - closed at the end of the process
        self.process: Child | None = None
        self._tail = Tail(run_dir)

    def start(self, threads: int) -> None:
        """Start the process."""
        self.shown.start(self.config.num_updates, sum(1 for _ in self._tail.new()))
        environment = {"OMP_NUM_THREADS": str(threads), **os.environ, GOES_ON: "1"}
        self.process = Child([*METARL, *self.words], self.told, environment)

    def look(self) -> bool:
        """Show the updates that were made since the last look, and return whether the process has ended."""
        assert self.process is not None
        over = self.process.status is not None
        for metrics in self._tail.new():
            self.shown.report(metrics)
        return over

    def error(self) -> str:
        """Return the line that the process ended with, '' where it did not fail, and pass its warnings on."""
        assert self.process is not None
        self.told.seek(0)
        errors, warnings, others = told_by(self.told.read())
        self.told.close()
        for each in warnings:
            warn(f"seed {self.config.seed}: {each}")
        if self.process.status == 0:
            return ""
        if errors and others:  # an author's traceback stands before the line
            sys.stderr.write("\n".join(others) + "\n")
        return errors[-1] if errors else f"the process ended with status {self.process.status}"

    def stop(self, number: int) -> None:
        """Pass a signal on, and wait until the process has saved its run."""
        if self.process is not None:
            self.process.stop(number)


def train_seeds(
    runs: Sequence[tuple[TrainConfig, Path, Sequence[str]]], *, at_once: int, threads: int, shown: bool
) -> None:
    """Train each run by the words of its command, up to `at_once` at a time with `threads` threads of torch each.

    A run that its folder holds already goes on; a finished one stays as it is. One that fails does not stop the
    others. A signal is passed on to each, and raised when all have saved what they had. Raises MetarlError that names
    the seeds that failed.
    """
    titles = [f"seed {config.seed}" for config, _, _ in runs]
    with ProgressOfAll(shown=shown, title_width=max(map(len, titles))) as progress:
        trainings = [_Training(*each, progress.of(title)) for each, title in zip(runs, titles, strict=True)]
        try:
            failed = {each.config.seed: why for each in _trained(trainings, at_once, threads) if (why := each.error())}
        except KeyboardInterrupt as interrupt:
            for each in trainings:
                each.stop(getattr(interrupt, "number", signal.SIGINT))
            raise
    if failed:
        told = "; ".join(f"seed {number}: {why}" for number, why in failed.items())
        rest = len(runs) - len(failed)
        raise MetarlError(f"{told} ({rest} of {len(runs)} seeds are trained)")


def _trained(trainings: Sequence[_Training], at_once: int, threads: int) -> Iterator[_Training]:
    """Yield each training as it ends."""
    waiting, running = deque(trainings), list[_Training]()
    while waiting or running:
        while waiting and len(running) < at_once:
            running.append(waiting.popleft())
            running[-1].start(threads)
        for each in [each for each in running if each.look()]:
            each.look()  # what it wrote between the last look and its end
            running.remove(each)
            yield each
        time.sleep(SECONDS_BETWEEN_LOOKS)
