"""Signals that end a process: they are raised as KeyboardInterrupt, and held back where work must not be cut in two."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import signal
import threading
import time
from collections.abc import Iterator
from types import FrameType
from typing import Any, NoReturn

ENDING = tuple(
    getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP", "SIGUSR1", "SIGBREAK") if hasattr(signal, name)
)
"""What a terminal (INT, HUP) or a cluster (TERM, USR1 of Slurm's `--signal`) sends to end a process."""
GRACE = 1.0
"""Seconds in which a signal is not taken for a second one: `timeout` and `srun` send each twice."""


class Interrupted(KeyboardInterrupt):
    """A signal that ends the process, raised in the main thread."""

    def __init__(self, number: int, remedy: str = "") -> None:
        super().__init__(number, remedy)
        self.number = number
        """Number of the signal."""
        self.remedy = remedy
        """What was saved, and how to go on; '' where nothing is to be said."""

    def __str__(self) -> str:
        return f"interrupted by {signal.Signals(self.number).name}{self.remedy and '; '}{self.remedy}"

    @property
    def status(self) -> int:
        """Exit status of the process: 128 plus the number of the signal, as in shells."""
        return 128 + self.number


def with_remedy(interrupt: KeyboardInterrupt, remedy: str) -> Interrupted:
    """Return an interrupt of the same signal with a remedy."""
    return Interrupted(getattr(interrupt, "number", signal.SIGINT), remedy)


@contextlib.contextmanager
def raised_signals() -> Iterator[None]:
    """Raise Interrupted in the block for the first ending signal; a later one ends the process at once.

    Signals that are ignored, as under `nohup`, or that somebody else handles stay as they are, and so do all where
    this is not the main thread. The handlers are put back after the block.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    first: list[float] = []

    def handle(number: int, frame: FrameType | None) -> None:
        if not first:
            first.append(time.monotonic())
            raise Interrupted(number)
        if time.monotonic() - first[0] > GRACE:
            _end(number)

    default = (signal.SIG_DFL, signal.default_int_handler)
    old = {number: signal.getsignal(number) for number in ENDING}
    old = {number: handler for number, handler in old.items() if handler in default}
    try:
        for number in old:
            signal.signal(number, handle)
        yield
    finally:
        _restore(old)


@contextlib.contextmanager
def held_back() -> Iterator[None]:
    """Deliver signals that come in the block after it. A second one, a while after the first, is not held back."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    held: list[tuple[int, float]] = []
    old: dict[int, Any] = {n: handler for n in ENDING if callable(handler := signal.getsignal(n))}

    def hold(number: int, frame: FrameType | None) -> None:
        if held and time.monotonic() - held[0][1] > GRACE:
            old[number](number, frame)
        held.append((number, time.monotonic()))

    try:
        for number in old:
            signal.signal(number, hold)
        yield
    finally:
        _restore(old)
    if held:
        number = held[0][0]
        old[number](number, None)


def _restore(handlers: dict[Any, Any]) -> None:
    for number, handler in handlers.items():
        signal.signal(number, handler)


def _end(number: int) -> NoReturn:
    """End the process and its children without another line of work."""
    for child in multiprocessing.active_children():
        child.kill()
    os._exit(128 + number)
