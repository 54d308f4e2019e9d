"""Repair of a run's files when it is resumed. What a repair would destroy is kept aside first."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path

from ..base.files import keep_aside
from ..base.progress import warn
from ..base.text import with_noun
from ..runs.record import is_whole


def repair_metrics(descriptor: int, path: Path, updates: int) -> list[bytes]:
    """Cut an open metrics file to the intact lines of the first `updates` updates, and return them.

    A kill leaves a last line without its end, and lines of updates that are made again: they are dropped. Any other
    line that is not whole, or out of its order, is damage: the file is kept aside, and the lines after it stay. Lines
    that were lost earlier leave a gap.
    """
    with os.fdopen(os.dup(descriptor), "rb") as file:
        file.seek(0)
        data = file.read()
    lines = data.splitlines(keepends=True)
    if lines and not lines[-1].endswith(b"\n"):
        lines.pop()
    kept = list(_intact(lines, updates))
    damaged = len(lines) - len(kept) - sum(_is_later(line, updates) for line in lines)
    if damaged > 0:
        aside = keep_aside(path, "damaged")
        warn(f"{path} had {with_noun(damaged, 'damaged line')}, now left out; the old file is kept as {aside.name}")
    _overwrite(descriptor, data, b"".join(kept))
    return kept


def _intact(lines: list[bytes], updates: int) -> Iterator[bytes]:
    last = -1
    for line in lines:
        update = _update(line)
        if update is not None and last < update < updates:
            last = update
            yield line


def _is_later(line: bytes, updates: int) -> bool:
    update = _update(line)
    return update is not None and update >= updates


def _update(line: bytes) -> int | None:
    """Return the update that a line is of, None for a damaged line."""
    update = json.loads(line).get("update") if is_whole(line) else None
    return update if isinstance(update, int) else None


def _overwrite(descriptor: int, old: bytes, new: bytes) -> None:
    """Make `new` the content of an open file, and stand at its end. What both begin with is not written again."""
    if not old.startswith(new):
        os.lseek(descriptor, 0, os.SEEK_SET)
        rest = new
        while rest:
            rest = rest[os.write(descriptor, rest) :]
    os.ftruncate(descriptor, len(new))
    os.lseek(descriptor, len(new), os.SEEK_SET)
