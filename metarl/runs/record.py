"""The record of a run in its folder: config, sessions, metrics and picture, and functions that read them."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ..base.errors import MetarlError
from ..base.files import read_inside

CONFIG, PROVENANCE, METRICS, PICTURE = "config.yaml", "run.json", "metrics.jsonl", "validation.png"
"""Names of the files in a run folder besides its checkpoints."""
TEACHER = "teacher.json"
"""Name of the file of a student's agreement with its teacher."""


def read_metrics(run_dir: str | Path) -> list[dict[str, Any]]:
    """Return the lines of a run's metrics, one per update. An unfinished last line, of a killed process, is dropped.

    Raises MetarlError if the file cannot be read, or if another line is damaged.
    """
    path = Path(run_dir) / METRICS
    *lines, last = _read(run_dir, METRICS).splitlines(keepends=True) or [b""]
    for number, line in enumerate(lines, start=1):
        if not is_whole(line):
            raise MetarlError(
                f"{path}:{number} is not a whole JSON object; restore the file from a copy, or train again"
            )
    return [json.loads(line) for line in [*lines, *([last] if is_whole(last) else [])]]


_LARGEST = 1e100
"""Largest size of a number in metrics: sums of larger ones overflow."""


def require_measured(run_dir: str | Path, metrics: Sequence[Mapping[str, Any]]) -> None:
    """Raise MetarlError if a line of a run's metrics lacks a number that every table needs, or has one that cannot be.

    Updates and environment steps ascend from line to line; the speed is above zero.
    """
    update, env_steps = -1, 0
    for number, line in enumerate(metrics, start=1):
        place = f"{Path(run_dir) / METRICS}:{number}"
        validation = (key for key in line if key.startswith("validation/"))
        for key in ("update", "env_steps", "time/steps_per_second", *validation):
            if not is_number(line.get(key)):
                raise MetarlError(f"{place} has no number {key!r}; restore the file from a copy, or train again")
        if line["update"] <= update or line["env_steps"] < env_steps or line["time/steps_per_second"] <= 0:
            raise MetarlError(
                f"{place} has an update or environment steps that do not ascend, or a speed of zero; restore the file "
                "from a copy, or train again"
            )
        update, env_steps = line["update"], line["env_steps"]


def is_number(value: object) -> bool:
    """Return whether a value is a finite number whose sums do not overflow, and no boolean."""
    return isinstance(value, (int, float)) and not isinstance(value, bool) and abs(value) <= _LARGEST


def minutes_by_update(metrics: Sequence[Mapping[str, Any]], sessions: Sequence[Mapping[str, Any]]) -> np.ndarray:
    """Return the minutes of rollouts and updates up to each line of metrics, [line].

    They include the minutes of the run that this one started from.
    """
    origin = sessions[0].get("started_from") if sessions else None
    steps = np.diff([origin["env_steps"] if origin else 0.0, *(line["env_steps"] for line in metrics)])
    spent = np.cumsum(steps / [line["time/steps_per_second"] for line in metrics]) / 60
    return spent + (origin["minutes"] if origin else 0.0)


def read_sessions(run_dir: str | Path) -> list[dict[str, Any]]:
    """Return the record of each process that trained the run: versions, commit, command.

    Raises MetarlError if the file cannot be read or is damaged.
    """
    path = Path(run_dir) / PROVENANCE
    text = _read(run_dir, PROVENANCE)
    try:
        sessions = [dict(session) for session in json.loads(text)["sessions"]]
        whole = all(map(_is_whole_session, sessions))
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        whole = False
    if not whole:
        raise MetarlError(f"{path} is damaged; restore the file from a copy, or train again")
    return sessions


def _is_whole_session(session: Mapping[str, Any]) -> bool:
    """Return whether a session's fields have the right types: a command's words, a commit, versions, an origin."""
    command, commit = session.get("command") or [], session.get("git_commit") or ""
    texts = [commit, *session.get("versions", {}).values()]
    origin = session.get("started_from")
    known = origin is None or (
        isinstance(origin, dict) and all(is_number(origin.get(name)) for name in ("env_steps", "minutes"))
    )
    return isinstance(command, list) and all(isinstance(text, str) for text in (*command, *texts)) and known


def _read(run_dir: str | Path, name: str) -> bytes:
    try:
        return read_inside(run_dir, name)
    except OSError as error:
        raise MetarlError(
            f"{Path(run_dir) / name} cannot be read ({error.strerror}); give a run folder, as `metarl train` writes it"
        ) from None


def is_whole(line: bytes) -> bool:
    """Return whether a line of a metrics file is a complete JSON object and ends in a newline."""
    try:
        return line.endswith(b"\n") and isinstance(json.loads(line), dict)
    except (ValueError, RecursionError):
        return False


URLS = "urls.txt"
"""File in a run's W&B folder with the addresses of its online W&B runs, one per line."""
