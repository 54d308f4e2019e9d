"""Faults of a run's folder: what it holds already, what it lost, and that it cannot be written."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

from ..base.errors import MetarlError
from ..base.progress import warn
from ..base.terminal import shell_line
from ..runs.record import METRICS, read_metrics
from ..runs.run import LAST, holds_run, run_config


def require_new(run_dir: Path) -> None:
    """Raise MetarlError if a folder holds a run already."""
    if holds_run(run_dir):
        command = shell_line(["metarl", "train", "--resume", run_dir])
        raise MetarlError(f"{run_dir} holds a run already; resume it with `{command}`, or take another folder")


def require_no_checkpoint_lost(run_dir: Path) -> None:
    """Raise MetarlError if the last checkpoint was lost; warn if the run stopped before its first checkpoint."""
    made = len(read_metrics(run_dir)) if (run_dir / METRICS).exists() else 0
    if made > run_config(run_dir).checkpoint_every:
        raise MetarlError(
            f"{run_dir} has metrics of {made} updates, but no {LAST}; restore it from a copy, or start a new run from "
            f"the best checkpoint: start_from={run_dir}"
        )
    if made:
        warn(f"{run_dir} stopped before its first {LAST}: it starts again, and its {made} updates are dropped")


@contextlib.contextmanager
def room(run_dir: Path) -> Iterator[None]:
    """Raise MetarlError if the run folder cannot be written. Only around writes: environments raise OSError too."""
    try:
        yield
    except OSError as error:
        again = shell_line(["metarl", "train", "--resume", run_dir])
        raise MetarlError(
            f"{run_dir} cannot be written ({error.strerror}); its last checkpoint is whole: make room, then `{again}`"
        ) from None
