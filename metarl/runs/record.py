"""What a run folder holds beside its checkpoints, and how it is read back."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ..base.errors import MetarlError

CONFIG, PROVENANCE, METRICS, PICTURE = "config.yaml", "run.json", "metrics.jsonl", "validation.png"
"""What a run folder holds beside its checkpoints."""


def read_metrics(run_dir: str | Path) -> list[dict[str, Any]]:
    """Return the lines of a run's metrics, one an update; a last line that a killed process left unfinished is dropped.

    Raises MetarlError where the file cannot be read, or is damaged elsewhere.
    """
    path = Path(run_dir) / METRICS
    *lines, last = _read(path).splitlines(keepends=True) or [b""]
    for number, line in enumerate(lines, start=1):
        if not is_whole(line):
            raise MetarlError(f"{path}:{number} is no whole JSON object; go back to a copy of the file, or train again")
    return [json.loads(line) for line in [*lines, *([last] if is_whole(last) else [])]]


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


def is_whole(line: bytes) -> bool:
    """Return whether a line of a metrics file is one JSON object with its end."""
    try:
        return line.endswith(b"\n") and isinstance(json.loads(line), dict)
    except ValueError:
        return False


URLS = "urls.txt"
"""File in a run's folder of W&B: the address of each W&B run that it became online, one a line."""
