"""Progress of work that lasts."""

from __future__ import annotations

import io
import re
import time
from collections.abc import Callable

import pytest

from metarl.base.meter import duration, ignore, meter, part_of


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def until(condition: Callable[[], bool]) -> None:
    """Wait for a drawing thread, ten seconds at most."""
    end = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < end, "nothing was drawn"
        time.sleep(0.01)


def test_lines_say_how_much_is_done_and_how_long_the_rest_takes() -> None:
    stream = io.StringIO()
    with meter("evaluate", stream=stream, before=0.02, between=0.02) as report:
        until(lambda: "so far" in stream.getvalue())
        report(1, 4)
        until(lambda: "left" in stream.getvalue())
    lines = stream.getvalue().splitlines()
    assert re.fullmatch(r"metarl: evaluate: \d:\d\d:\d\d so far", lines[0])
    assert re.fullmatch(r"metarl: evaluate: 25%, \d:\d\d:\d\d left", lines[-1])


def test_off_a_terminal_the_first_line_comes_as_soon_as_a_bar_would() -> None:
    stream = io.StringIO()
    with meter("evaluate", stream=stream, before=0.02, between=60.0):
        until(lambda: stream.getvalue() != "")
        time.sleep(0.1)
    assert stream.getvalue().count("\n") == 1


def test_a_bar_on_a_terminal_goes_away_at_the_end() -> None:
    stream = Terminal()
    with meter("render", stream=stream, before=0.01) as report:
        report(1, 2)
        until(lambda: "50%" in stream.getvalue() and "left" in stream.getvalue())
    assert "render" in stream.getvalue()
    assert stream.getvalue().endswith("\x1b[2K")  # the line is erased


@pytest.mark.parametrize("stream", [io.StringIO(), Terminal()])
def test_quick_work_shows_nothing(stream: io.StringIO) -> None:
    with meter("evaluate", stream=stream) as report:
        report(1, 2)
    assert stream.getvalue() == ""


def test_nothing_is_shown_where_it_is_not_wanted() -> None:
    stream = io.StringIO()
    with meter("evaluate", shown=False, stream=stream, before=0.001, between=0.001) as report:
        assert report is ignore
        time.sleep(0.05)
    assert stream.getvalue() == ""


def test_a_closed_terminal_does_not_end_the_work() -> None:
    stream = Closed()
    with meter("evaluate", stream=stream, before=0.001, between=0.001) as report:
        until(lambda: stream.writes > 0)
        report(1, 2)
    assert stream.writes == 1


class Closed(io.StringIO):
    writes = 0

    def write(self, text: str) -> int:
        self.writes += 1
        raise BrokenPipeError


def test_an_error_of_the_work_passes_through() -> None:
    with pytest.raises(ZeroDivisionError), meter("evaluate", stream=io.StringIO()):
        1 / 0  # noqa: B018


def test_parts_of_work_add_up() -> None:
    told: list[float] = []
    report = part_of(lambda done, total: told.append(done / total), 1, 4)
    for done in (0, 5, 10):
        report(done, 10)
    assert told == [0.25, 0.375, 0.5]


def test_durations_are_written_as_clocks_write_them() -> None:
    assert [duration(seconds) for seconds in (0, 59.6, 3_661)] == ["0:00:00", "0:01:00", "1:01:01"]
