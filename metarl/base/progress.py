"""Progress of a training run: a bar on a terminal, a line every ten seconds elsewhere."""

from __future__ import annotations

import sys
import time
from collections.abc import Mapping
from contextlib import AbstractContextManager
from types import TracebackType
from typing import TYPE_CHECKING, TextIO, cast

from .terminal import MOST_CHARACTERS, STDOUT, Quiet, one_line, visible

if TYPE_CHECKING:
    from rich.progress import Progress as RichProgress

SECONDS_BETWEEN_LINES = 10.0
ERROR, WARNING = "metarl: error: ", "metarl: warning: "
"""What the line of an error and that of a warning begin with."""


class Progress(AbstractContextManager["Progress"]):
    """Shows nothing; the base of those that show something."""

    def __init__(self, measure: str = "return") -> None:
        self.measure = measure
        """Name of what training and validation are measured by."""

    def start(self, total: int, done: int) -> None:
        """Begin: `total` updates in all, of which `done` were made before."""

    def report(self, metrics: Mapping[str, float]) -> None:
        """Show the metrics of an update: env steps, steps/s, return before and after adaptation, time left."""

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Leave the terminal as it was."""


def _new_bars(title_width: int = 1) -> RichProgress:
    """Return where bars are drawn. In a narrow terminal, titles keep at least so many characters."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
    from rich.table import Column

    return Progress(
        TextColumn("{task.description}", markup=False, table_column=Column(no_wrap=True, min_width=title_width)),
        BarColumn(bar_width=None),
        MofNCompleteColumn(),
        TextColumn("{task.fields[numbers]}", markup=False),
        TimeRemainingColumn(),
        console=Console(file=cast("TextIO", Quiet(sys.stdout, STDOUT))),
    )


class Bar(Progress):
    """A bar on a terminal, by itself or among those that `bars` draws."""

    def __init__(self, title: str, measure: str = "return", bars: RichProgress | None = None) -> None:
        super().__init__(measure)
        self.title, self.bars = title, bars
        self._validated: dict[str, float] = {}
        self._bar: RichProgress | None = None

    def start(self, total: int, done: int) -> None:
        """Draw the bar."""
        self._bar = self.bars or _new_bars()
        self._bar.start()
        self._task = self._bar.add_task(visible(self.title), total=total, completed=done, numbers="")

    def report(self, metrics: Mapping[str, float]) -> None:
        """Move the bar."""
        if self._bar is not None:
            self._validated = {**self._validated, **_validation(metrics)}
            shown = numbers({**self._validated, **metrics}, self.measure)
            self._bar.update(self._task, completed=metrics["update"] + 1, numbers=shown)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop drawing."""
        if self._bar is not None:
            self._bar.stop()


class Lines(Progress):
    """A line at the first update, at the last, and every ten seconds; it begins with a title, if there is one."""

    def __init__(self, measure: str = "return", title: str = "") -> None:
        super().__init__(measure)
        self.beginning = f"{title}: " if title else ""

    def start(self, total: int, done: int) -> None:
        """Start the clock."""
        self.total, self.done = total, done
        self._began, self._spoke = time.monotonic(), -SECONDS_BETWEEN_LINES
        self._validated: dict[str, float] = {}

    def report(self, metrics: Mapping[str, float]) -> None:
        """Write a line if it is time for one."""
        now, made = time.monotonic(), int(metrics["update"]) + 1
        self._validated = {**self._validated, **_validation(metrics)}
        if now - self._spoke < SECONDS_BETWEEN_LINES and made < self.total:
            return
        self._spoke = now
        left = (self.total - made) * (now - self._began) / max(made - self.done, 1)
        shown = numbers({**self._validated, **metrics}, self.measure)
        say(f"{self.beginning}update {made}/{self.total}  {shown}  {_duration(left)} left")


def progress_for(title: str, *, measure: str = "return", shown: bool = True) -> Progress:
    """Return a bar if standard output is a terminal, else lines; nothing is shown unless `shown`.

    `measure` is the name of what training and validation are measured by.
    """
    if not shown:
        return Progress()
    return Bar(title, measure) if sys.stdout.isatty() else Lines(measure)


class ProgressOfAll(AbstractContextManager["ProgressOfAll"]):
    """The progress of several trainings: bars below each other on a terminal, lines with titles elsewhere."""

    def __init__(self, *, shown: bool = True, title_width: int = 1) -> None:
        self.shown = shown
        self._bars = _new_bars(title_width) if shown and sys.stdout.isatty() else None

    def of(self, title: str, measure: str = "return") -> Progress:
        """Return the progress of one training."""
        if not self.shown:
            return Progress()
        return Lines(measure, title) if self._bars is None else Bar(title, measure, self._bars)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Leave the terminal as it was."""
        if self._bars is not None:
            self._bars.stop()


def numbers(metrics: Mapping[str, float], measure: str = "return") -> str:
    """Return the numbers of an update as text, with the validation of this or an earlier update if there is one."""
    before, after = (metrics.get(f"validation/return_{when}") for when in ("before", "after"))
    validation = "" if before is None or after is None else f"  validation {before:.4g} -> {after:.4g}"
    return (
        f"{metrics['env_steps']:,.0f} env steps  {metrics['time/steps_per_second']:,.0f} steps/s  "
        f"{measure} {metrics['return_before']:.4g} -> {metrics['return_after']:.4g}{validation}"
    )


def _validation(metrics: Mapping[str, float]) -> dict[str, float]:
    return {name: value for name, value in metrics.items() if name.startswith("validation/")}


def say(text: str) -> None:
    """Write text and a line feed to standard output at once."""
    stream = Quiet(sys.stdout, STDOUT)
    stream.write(f"{visible(text)}\n")
    stream.flush()


def warn(message: str) -> None:
    """Write a warning, one line, to standard error."""
    complain(WARNING, message)


def complain(beginning: str, message: str) -> None:
    """Write a line of at most `MOST_CHARACTERS` to standard error. Its beginning is ours, its message anybody's."""
    Quiet(sys.stderr).write(f"{beginning}{one_line(message, MOST_CHARACTERS - len(beginning))}\n")


def _duration(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}"
