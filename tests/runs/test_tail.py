"""The metrics of a run as they are written."""

from __future__ import annotations

import json
from pathlib import Path

from metarl.runs.record import METRICS
from metarl.runs.tail import Tail


def line(update: int) -> str:
    return json.dumps({"update": update, "env_steps": update * 10}) + "\n"


def new(tail: Tail) -> list[float]:
    return [metrics["update"] for metrics in tail.new()]


def test_lines_are_read_once_and_a_half_line_when_it_is_whole(tmp_path: Path) -> None:
    tail, path = Tail(tmp_path), tmp_path / METRICS
    assert new(tail) == []
    path.write_text(line(0) + line(1)[:7])
    assert new(tail) == [0]
    path.write_text(line(0) + line(1) + line(2))
    assert new(tail) == [1, 2] and new(tail) == []


def test_updates_that_a_resumed_run_repeats_count_once(tmp_path: Path) -> None:
    tail, path = Tail(tmp_path), tmp_path / METRICS
    path.write_text("".join(map(line, range(4))))
    assert new(tail) == [0, 1, 2, 3]
    path.write_text("".join(map(line, range(2))))  # cut to its last checkpoint
    assert new(tail) == []
    path.write_text("".join(map(line, range(6))))
    assert new(tail) == [4, 5]


def test_a_file_that_was_cut_and_has_grown_since_is_read_from_the_start(tmp_path: Path) -> None:
    tail, path = Tail(tmp_path), tmp_path / METRICS
    path.write_text("".join(map(line, range(9))))
    assert new(tail) == [*range(9)]
    other = "".join(json.dumps({"update": each, "env_steps": each * 10, "more": 1}) + "\n" for each in range(2, 13))
    path.write_text(line(0) + line(1) + other)
    assert new(tail) + new(tail) == [9, 10, 11, 12]
