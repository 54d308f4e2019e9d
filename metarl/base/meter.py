"""Progress of work that lasts: how much is done and how long the rest takes, on standard error."""

from __future__ import annotations

import contextlib
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING, TextIO, TypeVar

from .terminal import visible

if TYPE_CHECKING:
    from rich.progress import Progress

T = TypeVar("T")

Report = Callable[[float, float], None]
"""Is told how much of the work is done, and how much there is in all."""

SECONDS_BEFORE = 2.0
SECONDS_BETWEEN_LINES = 10.0


def ignore(done: float, total: float) -> None:
    """Report to nobody."""


def part_of(report: Report, number: int, parts: int) -> Report:
    """Return the report of part `number`, from 0, of work that has `parts` equal parts."""

    def of_all(done: float, total: float) -> None:
        report(number + done / max(total, 1e-9), parts)

    return of_all


def counted(items: Iterable[T], report: Report, total: int) -> Iterator[T]:
    """Yield each of `total` items, and report how many were used."""
    for number, item in enumerate(items, start=1):
        yield item
        report(number, total)


@contextlib.contextmanager
def meter(
    title: str,
    *,
    shown: bool = True,
    stream: TextIO | None = None,
    before: float | None = None,
    between: float = SECONDS_BETWEEN_LINES,
) -> Iterator[Report]:
    """Show the progress of the work inside, which calls what is yielded.

    On a terminal a bar appears after `before` seconds (None: `SECONDS_BEFORE`) and goes away at the end; elsewhere a
    line is written after `before` seconds, and then every `between` seconds. Work that is quicker shows nothing. A
    thread draws, so that reporting costs the work nothing.
    """
    wait = SECONDS_BEFORE if before is None else before
    shows = _Meter(title, sys.stderr if stream is None else stream, wait, between) if shown else None
    try:
        yield ignore if shows is None else shows.report
    finally:
        if shows is not None:
            shows.stop()


class _Meter:
    """Draws what was reported last."""

    def __init__(self, title: str, stream: TextIO, before: float, between: float) -> None:
        self.title, self.stream = visible(title), stream
        self.done, self.total = 0.0, 0.0
        self.began = time.monotonic()
        self.over = threading.Event()
        draw = self._bar if stream.isatty() else self._lines
        self.thread = threading.Thread(target=self._run, args=(draw, before, between), daemon=True)
        self.thread.start()

    def report(self, done: float, total: float) -> None:
        self.done, self.total = float(done), float(total)

    def stop(self) -> None:
        self.over.set()
        self.thread.join()

    @property
    def left(self) -> str:
        """How long the rest takes, at the speed so far; how long it took, where that is not known."""
        spent = time.monotonic() - self.began
        share = self.done / self.total if self.total > 0 else 0.0
        return f"{duration(spent / share - spent)} left" if share > 0 else f"{duration(spent)} so far"

    def _run(self, draw: Callable[[float, float], None], before: float, between: float) -> None:
        with contextlib.suppress(OSError, ValueError):  # the terminal was closed: the work goes on
            draw(before, between)

    def _lines(self, before: float, between: float) -> None:
        pause = before
        while not self.over.wait(pause):
            pause = between
            share = f"{min(self.done / self.total, 1.0):.0%}, " if self.total > 0 else ""
            self.stream.write(f"metarl: {self.title}: {share}{self.left}\n")
            self.stream.flush()

    def _bar(self, before: float, between: float) -> None:
        if self.over.wait(before):
            return
        bar = self._new_bar()
        with bar:
            task = bar.add_task(self.title, total=None, left="")
            while True:
                bar.update(task, completed=self.done, total=self.total or None, left=self.left)
                if self.over.wait(0.1):
                    return

    def _new_bar(self) -> Progress:
        from rich.console import Console
        from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn

        return Progress(
            TextColumn("{task.description}", markup=False),
            BarColumn(bar_width=None),
            TaskProgressColumn(),
            TextColumn("{task.fields[left]}", markup=False),
            console=Console(file=self.stream),
            transient=True,
            # Lines of the work appear above the bar; those that go to a file stay out of it.
            redirect_stdout=sys.stdout.isatty(),
            redirect_stderr=self.stream is sys.stderr,
        )


def duration(seconds: float) -> str:
    """Return a duration as hours, minutes and seconds, such as 0:01:30."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}"
