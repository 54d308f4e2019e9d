"""Every tutorial works as it is written."""

from __future__ import annotations

from pathlib import Path

import pytest

from .pages import PAGES, Block, blocks_of
from .walkthrough import Walkthrough, require_lines

SMALLER = {"num_updates": 2, "meta_batch_size": 4, "num_tasks": 2, "--tasks": 2}
"""What is set in the configs and commands of tutorials here: their trainings and evaluations take up to minutes."""

TUTORIALS = [page for page in PAGES if page.startswith("docs/tutorials/")]


def test_there_are_tutorials() -> None:
    assert len(TUTORIALS) == 13


@pytest.mark.parametrize("page", TUTORIALS, ids=lambda page: Path(page).stem)
def test_tutorial_runs_word_for_word(page: str, tmp_path: Path) -> None:
    Walkthrough.begin(tmp_path).follow(blocks_of(page), SMALLER)


def block(language: str, text: str, title: str = "") -> Block:
    return Block("page.md", 1, language, title, text)


def test_walkthrough_fails_with_a_command_that_fails(tmp_path: Path) -> None:
    walkthrough = Walkthrough.begin(tmp_path)
    walkthrough.follow([block("yaml", "a: 1\n", "folder/a.yaml"), block("sh", "cat folder/a.yaml\n")])
    with pytest.raises(AssertionError, match=r"page\.md:1 ended with status"):
        walkthrough.follow([block("sh", "false\ntrue\n")])
    with pytest.raises(AssertionError, match="ZeroDivisionError"):
        walkthrough.follow([block("python", "1 / 0\n")])


def test_walkthrough_makes_configs_and_commands_smaller_and_nothing_else(tmp_path: Path) -> None:
    walkthrough, smaller = Walkthrough.begin(tmp_path), {"num_updates": 2, "num_tasks": 3, "--tasks": 4}
    config = "num_updates: 99\nfamily: {num_tasks: 9}\nevaluation: {every: 9, num_tasks: 9}\n"
    walkthrough.follow([block("yaml", config, "a.yaml")], smaller)
    shrunk = "num_updates: 2\nfamily: {num_tasks: 9}\nevaluation: {every: 9, num_tasks: 3}\n"
    assert (walkthrough.folder / "a.yaml").read_text() == shrunk
    walkthrough.follow([block("sh", "echo --tasks 40 --task 5 > told\n")], smaller)
    assert (walkthrough.folder / "told").read_text() == "--tasks 4 --task 5\n"


def test_walkthrough_has_a_command_line_of_its_own(tmp_path: Path) -> None:
    walkthrough = Walkthrough.begin(tmp_path)
    walkthrough.follow([block("sh", "metarl --version\ncommand -v metarl\n"), block("text", f"{tmp_path}/venv...\n")])


def test_output_is_compared_line_by_line_but_for_its_numbers() -> None:
    output = "agent  return\n-----  ------\nrl2    -12.5 [-13, 1.25e-3]\nnumbers: a.json\n"
    require_lines(block("text", "agent return\n...\nrl2 -8 [-9, 0.5]\nnumbers...\n"), output)
    for wrong in ("agent  returns\n", "numbers: a.json\nagent  return\n", "maml  1 [1, 1]\n", "number...x\n"):
        with pytest.raises(AssertionError, match="does not come next"):
            require_lines(block("text", wrong), output)
