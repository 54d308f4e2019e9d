"""Errors of an author's code: the author's traceback, then one line."""

from __future__ import annotations

import errno

import pytest
import torch

from metarl.base.errors import (
    LONGEST_LINE,
    MetarlError,
    UserCodeError,
    author_traceback,
    first_line,
    is_lack_of_memory,
    reword,
    user_code,
)
from metarl.cli import demo
from metarl.cli.main import main


def break_down() -> None:
    raise ZeroDivisionError("the author's mistake\nin two lines")


def broken() -> UserCodeError:
    """Return the error of an author's function that breaks down."""
    with pytest.raises(UserCodeError) as caught, user_code("agent Mine, act"):
        break_down()
    return caught.value


def test_an_authors_exception_becomes_one_line_with_its_cause() -> None:
    error = broken()
    assert str(error) == "agent Mine, act: ZeroDivisionError: the author's mistake"
    assert isinstance(error.__cause__, ZeroDivisionError)


def test_an_author_who_exits_does_not_end_metarl_without_a_word() -> None:
    with pytest.raises(UserCodeError, match="SystemExit: 3"), user_code("family mine, step"):
        raise SystemExit(3)


def test_the_place_is_asked_for_only_where_something_broke() -> None:
    with user_code(lambda: pytest.fail("nothing broke")):
        pass
    with pytest.raises(UserCodeError, match=r"^step 3: KeyError"), user_code(lambda: f"step {3}"):
        raise KeyError("x")


def test_a_metarl_error_and_a_lack_of_memory_pass_as_they_are() -> None:
    for error in (MetarlError("a rule"), MemoryError(), OSError(errno.ENOMEM, "x"), torch.OutOfMemoryError("GPU")):
        with pytest.raises(type(error)) as caught, user_code("agent Mine"):
            raise error
        assert caught.value is error


def test_a_broken_pipe_of_an_author_is_not_that_of_the_terminal() -> None:
    with pytest.raises(UserCodeError, match="BrokenPipeError"), user_code("family mine, step"):
        raise BrokenPipeError


def test_another_message_keeps_class_and_cause() -> None:
    error = broken()
    with pytest.raises(UserCodeError, match=r"^update 7: agent Mine") as caught:
        raise reword(error, f"update 7: {error}") from error.__cause__
    assert caught.value.__cause__ is error.__cause__
    assert type(reword(MetarlError("a"), "b")) is MetarlError


def test_the_traceback_begins_with_the_authors_code() -> None:
    lines = author_traceback(broken()).splitlines()
    assert lines[0] == "Traceback (most recent call last):"
    assert __file__ in lines[1]
    assert "in break_down" in author_traceback(broken())
    assert lines[-2:] == ["ZeroDivisionError: the author's mistake", "in two lines"]


def test_the_command_line_prints_the_traceback_and_then_one_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def run(_: object) -> None:
        with user_code("agent Mine, act"):
            break_down()

    monkeypatch.setattr(demo, "run", run)
    assert main(["demo"]) == 2
    lines = capsys.readouterr().err.splitlines()
    assert lines[0] == "Traceback (most recent call last):"
    assert lines[-1] == "metarl: error: agent Mine, act: ZeroDivisionError: the author's mistake"


def test_lack_of_memory_is_told_by_class_or_by_torchs_words() -> None:
    assert is_lack_of_memory(RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried"))
    assert not is_lack_of_memory(RuntimeError("shapes differ"))
    assert not is_lack_of_memory(OSError(errno.ENOENT, "x"))


def test_a_line_is_cut_and_survives_an_exception_that_cannot_be_printed() -> None:
    class Mute(Exception):
        def __str__(self) -> str:
            raise ValueError

    assert len(first_line(ValueError("x" * 12_000))) < LONGEST_LINE + 10
    assert first_line(Mute()).startswith("Mute: ")
    assert first_line(AssertionError()) == "AssertionError"
