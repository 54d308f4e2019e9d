"""`metarl train` with several seeds: a process for each, as many at once as there are cores, and one view of all."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections import deque
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from ..base.errors import MetarlError
from ..base.lifeline import lifeline
from ..base.progress import Progress, ProgressOfAll, warn
from ..base.ranks import GOES_ON
from ..runs.record import METRICS
from .workers import METARL

if TYPE_CHECKING:
    from ..runs.config import TrainConfig

SECONDS_BETWEEN_LOOKS = 0.1
ERROR = "metarl: error: "
WARNING = "metarl: warning: "


class _Training:
    """The training of one seed, in a process of its own."""

    def __init__(self, config: TrainConfig, run_dir: Path, words: Sequence[str], shown: Progress) -> None:
        self.config, self.run_dir, self.words, self.shown = config, run_dir, words, shown
        self.told = tempfile.TemporaryFile("w+")  # noqa: SIM115 - closed at the end of the process
        self.process: subprocess.Popen[bytes] | None = None
        self._read = 0

    def start(self, threads: int) -> None:
        """Start the process. It ends with this one, however that ends."""
        metrics = self.run_dir / METRICS
        made = metrics.read_bytes().count(b"\n") if metrics.exists() else 0
        self._read = metrics.stat().st_size if made else 0
        self.shown.start(self.config.num_updates, made)
        environment = {"OMP_NUM_THREADS": str(threads), **os.environ, GOES_ON: "1"}
        with lifeline(environment) as descriptors:
            self.process = subprocess.Popen(
                [*METARL, *self.words],
                env=environment,
                pass_fds=descriptors,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=self.told,
                start_new_session=True,  # Ctrl-C reaches this process alone, which passes it on once
            )

    def look(self) -> bool:
        """Show the updates that were made since the last look, and return whether the process has ended."""
        assert self.process is not None
        over = self.process.poll() is not None
        if (path := self.run_dir / METRICS).exists():
            with path.open("rb") as file:
                file.seek(self._read)
                *lines, _ = file.read().split(b"\n")
            self._read += sum(len(line) + 1 for line in lines)
            for line in lines:
                self.shown.report(json.loads(line))
        return over

    def error(self) -> str:
        """Return the line that the process ended with, '' where it did not fail, and pass its warnings on."""
        assert self.process is not None
        self.told.seek(0)
        lines = self.told.read().splitlines()
        self.told.close()
        for line in lines:
            if line.startswith(WARNING):
                warn(f"seed {self.config.seed}: {line.removeprefix(WARNING)}")
        if self.process.returncode == 0:
            return ""
        errors = [line.removeprefix(ERROR) for line in lines if line.startswith(ERROR)]
        if errors and len(lines) > 1:  # an author's traceback stands before the line
            sys.stderr.write("\n".join(line for line in lines if not line.startswith((ERROR, WARNING))) + "\n")
        return errors[-1] if errors else f"the process ended with status {self.process.returncode}"

    def stop(self, number: int) -> None:
        """Pass a signal on, and wait until the process has saved its run."""
        if self.process is not None and self.process.poll() is None:
            self.process.send_signal(number)
            self.process.wait()


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
