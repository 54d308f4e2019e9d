"""Seconds spent in the parts of a piece of work."""

from __future__ import annotations

import time
from contextlib import AbstractContextManager


class Stopwatch:
    """Sums the wall-clock seconds of named parts. Parts may be nested."""

    def __init__(self) -> None:
        self.began = time.perf_counter()
        self.seconds: dict[str, float] = {}
        """Seconds of each part so far."""

    def part(self, name: str) -> AbstractContextManager[None]:
        """Add the time of the block to the part `name`, unless an exception leaves it."""
        return _Part(self, name)

    def add(self, name: str, seconds: float) -> None:
        """Add `seconds` to the part `name`."""
        self.seconds[name] = self.seconds.get(name, 0.0) + seconds

    @property
    def total(self) -> float:
        """Seconds since it was made."""
        return time.perf_counter() - self.began


class _Part:
    """The context of one part. Every step of a rollout has two, and a generator would take twice as long."""

    __slots__ = ("began", "name", "stopwatch")

    def __init__(self, stopwatch: Stopwatch, name: str) -> None:
        self.stopwatch, self.name, self.began = stopwatch, name, 0.0

    def __enter__(self) -> None:
        self.began = time.perf_counter()

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is None:
            self.stopwatch.add(self.name, time.perf_counter() - self.began)
