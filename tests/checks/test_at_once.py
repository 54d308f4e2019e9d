"""Work on threads that lets others go on at every line meets every place where two threads share something."""

from __future__ import annotations

import sys

import pytest

from metarl.checks.at_once import run_at_once


class Cell:
    value = 0

    def act(self, value: int) -> int:
        self.value = value
        return self.value


def test_what_two_threads_share_between_two_lines_is_found() -> None:
    cell = Cell()

    def work(number: int) -> bool:
        return all(cell.act(number) == number for _ in range(50))

    assert not all(run_at_once([lambda: work(1), lambda: work(2)]))
    assert all(run_at_once([lambda: work(1)]))


def test_results_come_in_order_and_an_error_is_raised() -> None:
    assert run_at_once([lambda: 1, lambda: 2, lambda: 3]) == [1, 2, 3]
    with pytest.raises(ZeroDivisionError):
        run_at_once([lambda: 1 // 0, lambda: 2])


def test_a_debugger_s_trace_of_the_calling_thread_stays() -> None:
    before = sys.gettrace()
    run_at_once([lambda: None])
    assert sys.gettrace() is before
