"""The metrics of a run as they are written."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path

from .record import METRICS, is_whole


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
