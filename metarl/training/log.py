"""The log of a run: a folder with the config, the provenance and one line an update, mirrored to W&B."""

from __future__ import annotations

import errno
import json
import os
import platform
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from ..base.errors import MetarlError
from ..base.files import path_inside, write_atomically
from ..base.progress import warn
from ..base.versions import git_commit, versions
from ..base.yaml_text import dump_yaml
from ..evaluation.figure import plot
from ..families.model_files import keep_models
from ..runs.config import TrainConfig, resolve
from ..runs.record import CONFIG, METRICS, PICTURE, PROVENANCE, is_whole
from .wandb import WandbLog

if TYPE_CHECKING:
    from ..evaluation.record import Evaluation


class Origin(NamedTuple):
    """The checkpoint that a run starts from, and the cost of its training."""

    run: str
    """Folder of its run."""
    updates: int
    """Updates that it had made."""
    env_steps: int
    """Environment steps, with those of the runs that it started from."""
    minutes: float
    """Minutes of rollouts and updates, likewise."""


class RunLog:
    """Writes one run folder. Raises MetarlError while another process writes it."""

    def __init__(
        self, run_dir: str | Path, config: TrainConfig, *, updates: int = 0, origin: Origin | None = None
    ) -> None:
        """Open the log of a run that has made `updates` updates; lines of later updates are dropped.

        `origin` is the checkpoint that a new run starts from.
        """
        self.run_dir = Path(run_dir)
        self._metrics = _open(path_inside(self.run_dir, METRICS))
        try:
            self._begin(config, updates, origin)
        except BaseException:
            os.close(self._metrics)  # this releases the lock too
            raise

    def _begin(self, config: TrainConfig, updates: int, origin: Origin | None) -> None:
        _lock(self._metrics, self.run_dir)
        kept = _truncate(self._metrics, updates)
        if len(kept) < updates:
            warn(f"{self.run_dir / METRICS} holds {len(kept)} of {updates} updates; the other lines are lost")
        write_atomically(path_inside(self.run_dir, CONFIG), dump_yaml(resolve(config)).encode())
        keep_models(self.run_dir, config.family)
        _add_session(path_inside(self.run_dir, PROVENANCE), updates, origin)
        self._wandb = WandbLog(self.run_dir, config)
        # A resumed run becomes a new W&B run with all updates, so that no curve has a gap or a repetition.
        for line in kept:
            self._wandb.log(json.loads(line))

    def write(self, metrics: Mapping[str, float | int]) -> None:
        """Append one line, `update` and `env_steps` first, and send it to W&B. Raises OSError on a full disk."""
        first = {name: metrics[name] for name in ("update", "env_steps")}
        _write(self._metrics, json.dumps({**first, **metrics}, allow_nan=False).encode() + b"\n")
        self._wandb.log(metrics)

    def sync(self) -> None:
        """Flush all lines to disk. A checkpoint relies on them, so it is written afterwards."""
        os.fsync(self._metrics)

    def summarize(self, evaluation: Evaluation, env_steps: int) -> None:
        """Write the adaptation curve to validation.png and send it to W&B with the final tables."""
        picture = path_inside(self.run_dir, PICTURE)
        plot([evaluation], picture)
        self._wandb.summarize(evaluation, env_steps, picture)

    def close(self, *, completed: bool) -> None:
        """Close the file and the W&B run. Without `completed`, W&B marks the run as crashed."""
        self._wandb.finish(completed)
        os.close(self._metrics)


def _open(path: Path) -> int:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        return os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
    except OSError as error:
        raise MetarlError(f"{path} cannot be written ({error.strerror}); take another run folder") from None


def _lock(descriptor: int, run_dir: Path) -> None:
    """Lock the file against a second process. The system releases the lock however this process ends."""
    if sys.platform == "win32":
        return
    import fcntl

    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        # Some network file systems have no locks: go on without.
        if error.errno in (errno.EWOULDBLOCK, errno.EACCES):
            raise MetarlError(f"{run_dir} is being written by another process; wait for it or stop it") from None


def _truncate(descriptor: int, updates: int) -> list[bytes]:
    """Cut the file after the last whole line of the first `updates` updates and return the lines that are left.

    Lines that were lost earlier leave a gap; the lines after it are kept.
    """
    with os.fdopen(os.dup(descriptor), "rb") as file:
        lines = file.read().splitlines(keepends=True)
    kept: list[bytes] = []
    last = -1
    for line in lines:
        update = json.loads(line).get("update") if is_whole(line) else None
        if not isinstance(update, int) or not last < update < updates:
            break
        kept.append(line)
        last = update
    end = sum(map(len, kept))
    os.ftruncate(descriptor, end)
    os.lseek(descriptor, end, os.SEEK_SET)
    return kept


def _write(descriptor: int, data: bytes) -> None:
    # Unbuffered: a buffer that cannot be written would raise a second time when the file is closed.
    while data:
        data = data[os.write(descriptor, data) :]


def _add_session(path: Path, updates: int, origin: Origin | None) -> None:
    """Add a session to the file: the versions, command and machine of this process. A resumed run has several."""
    try:
        sessions = json.loads(path.read_text(encoding="utf-8"))["sessions"] if path.exists() and updates else []
    except (OSError, ValueError, KeyError, TypeError):
        sessions = []  # a file cut off by a full disk must not stop the run
    session = {
        "first_update": updates,
        "versions": versions(),
        "git_commit": git_commit(),
        "command": sys.argv,
        "python": platform.python_version(),
        "platform": platform.platform(),
        "num_cores": os.cpu_count(),
        **({} if origin is None else {"started_from": origin._asdict()}),
    }
    write_atomically(path, (json.dumps({"sessions": [*sessions, session]}, indent=2) + "\n").encode())
