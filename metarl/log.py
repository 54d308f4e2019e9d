"""The record of a run: a folder with the resolved config, what produced it, one line an update, and W&B beside it."""

from __future__ import annotations

import errno
import json
import os
import platform
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from .config import TrainConfig, dump_yaml, resolved
from .errors import MetarlError
from .files import write_atomically
from .progress import warn
from .versions import git_commit, versions
from .wandb_log import WandbLog

if TYPE_CHECKING:
    from .evaluation import Evaluation

CONFIG, PROVENANCE, METRICS, PICTURE = "config.yaml", "run.json", "metrics.jsonl", "validation.png"
"""What a run folder holds beside its checkpoints."""


class Origin(NamedTuple):
    """The checkpoint that a run started from, and what had been spent on it."""

    run: str
    """Folder of its run."""
    updates: int
    """Updates that run had made."""
    env_steps: int
    """Environment steps, those of the runs it had started from included."""
    minutes: float
    """Minutes of rollouts and updates, likewise."""


class RunLog:
    """Writes one run folder. Only one process at a time may: raises MetarlError where another is at it."""

    def __init__(
        self, run_dir: str | Path, config: TrainConfig, *, updates: int = 0, origin: Origin | None = None
    ) -> None:
        """Open the log of a new run, or of one that goes on after `updates` updates: later lines are dropped.

        `origin` is what a new run starts from.
        """
        self.run_dir = Path(run_dir)
        self._metrics = _opened(self.run_dir / METRICS)
        try:
            self._begin(config, updates, origin)
        except BaseException:
            os.close(self._metrics)  # and with it the lock
            raise

    def _begin(self, config: TrainConfig, updates: int, origin: Origin | None) -> None:
        _lock(self._metrics, self.run_dir)
        kept = _truncate(self._metrics, updates)
        if len(kept) < updates:
            warn(f"{self.run_dir / METRICS} holds {len(kept)} of the {updates} updates made; the other lines are lost")
        write_atomically(self.run_dir / CONFIG, dump_yaml(resolved(config)).encode())
        _add_session(self.run_dir / PROVENANCE, updates, origin)
        self._wandb = WandbLog(self.run_dir, config)
        # A resumed run becomes a new W&B run that holds all of it, so that no curve has a gap or a repetition.
        for line in kept:
            self._wandb.log(json.loads(line))

    def write(self, metrics: Mapping[str, float | int]) -> None:
        """Append one line, `update` and `env_steps` first, and send it to W&B. Raises OSError where there is no room."""
        first = {name: metrics[name] for name in ("update", "env_steps")}
        _write(self._metrics, json.dumps({**first, **metrics}, allow_nan=False).encode() + b"\n")
        self._wandb.log(metrics)

    def sync(self) -> None:
        """Have every line on disk, before a checkpoint that counts on them."""
        os.fsync(self._metrics)

    def summarize(self, evaluation: Evaluation, env_steps: int) -> None:
        """Draw the adaptation curve (validation.png) and send it to W&B with the final tables."""
        from .report import plot

        picture = self.run_dir / PICTURE
        plot([evaluation], picture)
        self._wandb.summarize(evaluation, env_steps, picture)

    def close(self, *, completed: bool) -> None:
        """Close the file and the W&B run, which is marked as crashed unless the training was completed."""
        self._wandb.finish(completed)
        os.close(self._metrics)


def read_metrics(run_dir: str | Path) -> list[dict[str, Any]]:
    """Return the lines of a run's metrics, one an update; a last line that a killed process left unfinished is dropped.

    Raises MetarlError where the file cannot be read, or is damaged elsewhere.
    """
    path = Path(run_dir) / METRICS
    *lines, last = _read(path).splitlines(keepends=True) or [b""]
    for number, line in enumerate(lines, start=1):
        if not _is_whole(line):
            raise MetarlError(f"{path}:{number} is no whole JSON object; go back to a copy of the file, or train again")
    return [json.loads(line) for line in [*lines, *([last] if _is_whole(last) else [])]]


def require_measured(run_dir: str | Path, metrics: Sequence[Mapping[str, Any]]) -> None:
    """Raise MetarlError for lines of a run's metrics that lack what every table is made of."""
    for number, line in enumerate(metrics, start=1):
        validation = (key for key in line if key.startswith("validation/"))
        for key in ("update", "env_steps", "time/steps_per_second", *validation):
            if not isinstance(line.get(key), (int, float)):
                raise MetarlError(
                    f"{Path(run_dir) / METRICS}:{number} has no number {key!r}; go back to a copy of the file, or train again"
                )


def minutes_by_update(metrics: Sequence[Mapping[str, Any]], sessions: Sequence[Mapping[str, Any]]) -> np.ndarray:
    """Return the minutes of rollouts and updates by the end of each line's update, with those of what the run started from. [line]"""
    origin = sessions[0].get("started_from") if sessions else None
    steps = np.diff([origin["env_steps"] if origin else 0.0, *(line["env_steps"] for line in metrics)])
    spent = np.cumsum(steps / [line["time/steps_per_second"] for line in metrics]) / 60
    return spent + (origin["minutes"] if origin else 0.0)


def read_sessions(run_dir: str | Path) -> list[dict[str, Any]]:
    """Return what each process that trained the run wrote of itself: versions, commit, command.

    Raises MetarlError where the file cannot be read, or is damaged.
    """
    path = Path(run_dir) / PROVENANCE
    text = _read(path)
    try:
        sessions = [dict(session) for session in json.loads(text)["sessions"]]
        whole = all(map(_is_whole_session, sessions))
    except (ValueError, KeyError, TypeError, AttributeError):
        whole = False
    if not whole:
        raise MetarlError(f"{path} is damaged; go back to a copy of the file, or train again")
    return sessions


def _is_whole_session(session: Mapping[str, Any]) -> bool:
    """Return whether what is told of a session is what it should be: a command's words, a commit, versions, an origin."""
    command, commit = session.get("command") or [], session.get("git_commit") or ""
    texts = [commit, *session.get("versions", {}).values()]
    origin = session.get("started_from")
    known = origin is None or (
        isinstance(origin, dict)
        and all(isinstance(origin.get(name), (int, float)) for name in ("env_steps", "minutes"))
    )
    return isinstance(command, list) and all(isinstance(text, str) for text in texts) and known


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise MetarlError(
            f"{path} cannot be read ({error.strerror}); give the folder of a run, as `metarl train` writes it"
        ) from None


def _opened(path: Path) -> int:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        return os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
    except OSError as error:
        raise MetarlError(f"{path} cannot be written ({error.strerror}); take another run folder") from None


def _lock(descriptor: int, run_dir: Path) -> None:
    """Keep a second process out; the system lets go of the lock however this one ends."""
    if sys.platform == "win32":
        return
    import fcntl

    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        # Some network file systems know no locks: go on without.
        if error.errno in (errno.EWOULDBLOCK, errno.EACCES):
            raise MetarlError(f"{run_dir} is being written by another process; wait for it or stop it") from None


def _truncate(descriptor: int, updates: int) -> list[bytes]:
    """Cut the file after the last whole line of the first `updates` updates, and return the lines that stay.

    Lines may have been lost before: what comes after the gap stays.
    """
    with os.fdopen(os.dup(descriptor), "rb") as file:
        lines = file.read().splitlines(keepends=True)
    kept: list[bytes] = []
    last = -1
    for line in lines:
        update = json.loads(line).get("update") if _is_whole(line) else None
        if not isinstance(update, int) or not last < update < updates:
            break
        kept.append(line)
        last = update
    end = sum(map(len, kept))
    os.ftruncate(descriptor, end)
    os.lseek(descriptor, end, os.SEEK_SET)
    return kept


def _is_whole(line: bytes) -> bool:
    try:
        return line.endswith(b"\n") and isinstance(json.loads(line), dict)
    except ValueError:
        return False


def _write(descriptor: int, data: bytes) -> None:
    # Straight to the system: a buffer that could not be emptied would complain again when the file is closed.
    while data:
        data = data[os.write(descriptor, data) :]


def _add_session(path: Path, updates: int, origin: Origin | None) -> None:
    """Add what this process runs on to the file; a run that was resumed has several sessions."""
    try:
        sessions = json.loads(path.read_text(encoding="utf-8"))["sessions"] if path.exists() and updates else []
    except (OSError, ValueError, KeyError, TypeError):
        sessions = []  # a file cut off by a full disk is worth less than the run that goes on
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
