"""What reaches a terminal: hidden characters as escapes, bounded lines, streams of every encoding."""

from __future__ import annotations

import os
import subprocess
import sys
import unicodedata
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from metarl.base import progress
from metarl.base.errors import UserCodeError
from metarl.base.terminal import MOST_CHARACTERS, one_line, shell_line, visible
from metarl.cli import main as command_line
from tests.small_runs import command, metarl

HOSTILE = "\x1b]0;title\x07\x1b[2J\r\x08\x9b1m\u202eevil\u2066\u200b\u2028\udcff\udbff\ufeff\x00"
"""Characters that clear a screen, set a title, hide or turn what follows, or that no encoding has."""
ANY_TEXT = st.text(st.characters(exclude_categories=()), max_size=40) | st.text(HOSTILE, max_size=9)


@settings(max_examples=200, deadline=None)
@given(ANY_TEXT)
def test_nothing_hidden_is_left_and_every_encoding_with_a_backslash_takes_it(text: str) -> None:
    shown = visible(text)
    assert {unicodedata.category(c) for c in shown if c not in "\n\t"} & {"Cc", "Cf", "Cs", "Zl", "Zp"} == set()
    shown.encode("utf-8")
    assert visible(shown) == shown


@pytest.mark.parametrize("text", ["", "agent.lr=0.1\n\tnext", "Größe µ → 中文 ½ 🙂", "1\u00a0000\u3000m"])
def test_ordinary_text_stays_as_it_is(text: str) -> None:
    assert visible(text) == text


def test_what_acts_on_a_terminal_is_written_as_an_escape() -> None:
    assert visible("a\x1b[2J\u202eb\udcff") == "a\\x1b[2J\\u202eb\\udcff"


@settings(max_examples=100, deadline=None)
@given(st.text(max_size=500), st.integers(40, 120))
def test_a_line_is_one_line_of_bounded_length(text: str, most: int) -> None:
    line = one_line(text, most)
    assert len(line.splitlines()) <= 1
    assert len(line) <= most


def test_a_long_line_keeps_its_beginning_and_its_remedy() -> None:
    line = one_line(f"family {'x' * 9000!r} is unknown; did you mean 'point'?", 100)
    assert line.startswith("family 'xxx") and line.endswith("; did you mean 'point'?") and len(line) == 100


@pytest.mark.skipif(sys.platform == "win32", reason="bash")
@pytest.mark.parametrize(
    "word", ["plain", "two words", "it's", "$(id)`id`", "-n", "a\nb", "\x1b[2J", os.fsdecode(b"\xff'\\")]
)
def test_a_shell_reads_back_every_word_of_a_printed_command(word: str) -> None:
    line = shell_line(["printf", "%s", word])
    assert visible(line) == line and "\n" not in line
    done = subprocess.run(["bash", "-c", line], capture_output=True, check=True)
    assert done.stdout == os.fsencode(word)


@pytest.mark.parametrize("write", ["say", "warn"])
def test_say_and_warn_write_nothing_hidden(write: str, capsys: pytest.CaptureFixture[str]) -> None:
    getattr(progress, write)(f"name {HOSTILE}")
    written = "".join(capsys.readouterr())
    assert "\\x1b]0;title" in written
    assert visible(written) == written


def test_an_error_of_any_length_with_anything_in_it_costs_one_short_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert command_line.main(["families", HOSTILE.replace("\0", "") * 1000]) == 2
    (line,) = capsys.readouterr().err.split("\n")[:-1]
    assert len(line) <= MOST_CHARACTERS and visible(line) == line
    assert line.startswith("metarl: error: ")


def test_a_warning_is_bounded_too(capsys: pytest.CaptureFixture[str]) -> None:
    progress.warn("x" * 10_000)
    assert len(capsys.readouterr().err) == MOST_CHARACTERS + 1


def test_a_nul_in_an_argument_is_refused_before_any_file_is_touched(capsys: pytest.CaptureFixture[str]) -> None:
    for words in (["report", "a\0b", "-o", "page.md"], ["families", "\0"], ["evaluate", "run", "--json", "\0.json"]):
        assert command_line.main(words) == 2
        (line,) = capsys.readouterr().err.splitlines()
        assert "has a NUL character" in line and "\\x00" in line


def test_an_error_of_an_author_prints_its_traceback_without_hidden_characters(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail(*_: object) -> None:
        raise UserCodeError("family 'f' failed") from ValueError(HOSTILE)

    monkeypatch.setattr(command_line, "parse", fail)
    assert command_line.main([]) == 2
    written = capsys.readouterr().err
    assert visible(written) == written
    assert "ValueError: \\x1b]0;title" in written and written.endswith("metarl: error: family 'f' failed\n")


@pytest.mark.parametrize("encoding", ["ascii", "cp1252"])
def test_a_stream_of_few_characters_takes_every_name(encoding: str) -> None:
    done = metarl("families", "中文", PYTHONIOENCODING=encoding, PYTHONUTF8="0", LC_ALL="C")
    assert done.returncode == 2
    assert done.stderr.startswith("metarl: error: ") and len(done.stderr.splitlines()) == 1


def test_streams_that_were_closed_at_the_start_are_no_error_and_no_file_takes_their_place(tmp_path: Path) -> None:
    words = " ".join(command("families", "navigation-2d", "--plot", tmp_path / "tasks.svg", "--quiet"))
    for closed in (">&-", "<&- >&- 2>&-"):
        done = subprocess.run(["bash", "-c", f"{words} {closed}"], capture_output=True, text=True, check=False)
        assert (done.returncode, done.stderr) == (0, ""), closed
        assert (tmp_path / "tasks.svg").read_text().startswith("<?xml")
