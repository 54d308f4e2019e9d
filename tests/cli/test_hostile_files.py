"""A family's file from a stranger: what it says of itself reaches terminal and picture as text alone."""

from __future__ import annotations

from pathlib import Path

import pytest

from metarl.base.terminal import visible
from metarl.cli.main import main

FAMILY = r"""
env: Pendulum-v1
varies:
  g:
    train: {uniform: [1, 5]}
    unit: "m\e]0;title\a\u202E$x$"
    meaning: "\e[31mred\u2066 <script> $\\frac{$ \\input{x}\nnext"
"""


def test_unit_and_meaning_of_a_family_reach_the_terminal_and_its_picture_as_text(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path, picture = tmp_path / "family.yaml", tmp_path / "tasks.svg"
    path.write_text(FAMILY)
    assert main(["families", str(path)]) == 0
    shown = capsys.readouterr().out
    assert visible(shown) == shown
    row = next(line for line in shown.splitlines() if "\\x1b]0;title" in line)
    assert "\\x1b[31mred\\u2066 <script> $\\frac{$ \\input{x} next" in row
    assert main(["families", str(path), "--plot", str(picture)]) == 0
    drawn = picture.read_text()
    assert visible(drawn) == drawn
    assert "$x$" in drawn and "\\x1b[31mred" in drawn  # matplotlib writes each text as a comment too


@pytest.mark.parametrize("command", ["families", "check", "train"])
def test_a_mistake_in_a_file_is_told_without_what_hides_in_it(
    command: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "bad.yaml"
    path.write_text('env: "\\e[2J\\u202E-v0"\nvaries:\n  "g\\e[1m": {train: {uniform: [1, 5]}}\n')
    assert main([command, str(path)]) == 2
    (line,) = capsys.readouterr().err.split("\n")[:-1]
    assert visible(line) == line and len(line) <= 400
