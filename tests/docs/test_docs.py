"""What the pages of docs say runs, and every command that they and README give is one that there is."""

from __future__ import annotations

import importlib.util
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from metarl.cli.main import parse
from metarl.runs.config import load_config
from tests.places import ROOT

PAGES = {path.name: path.read_text() for path in (ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md")))}


def blocks(language: str) -> list[tuple[str, str]]:
    """Return page and text of every block of a language."""
    pattern = rf"```{language}\n(.*?)```"
    return [(page, block) for page, text in PAGES.items() for block in re.findall(pattern, text, re.DOTALL)]


def commands() -> list[tuple[str, tuple[str, ...]]]:
    """Return page and words of every command of metarl's in a block for the shell."""
    lines = [(page, line) for page, block in blocks("sh") for line in block.replace("\\\n", " ").splitlines()]
    split = [(page, shlex.split(line, comments=True)) for page, line in lines]
    return [(page, tuple(words[1:])) for page, words in split if words and Path(words[0]).name == "metarl"]


def test_pages_give_commands_and_code() -> None:
    assert len(commands()) >= 20
    assert len(blocks("python")) >= 5


@pytest.mark.parametrize(("page", "words"), commands(), ids=lambda value: value if isinstance(value, str) else value[0])
def test_command_is_one_that_there_is(page: str, words: tuple[str, ...]) -> None:
    arguments = parse(list(words))
    assert callable(arguments.run)
    config = words[1] if words[0] == "train" and len(words) > 1 and not words[1].startswith("-") else None
    if config is not None and (ROOT / config).is_file():
        overrides = [word for word in words[2:] if re.match(r"[\w.]+=", word) and "heavy-cheetah.yaml" not in word]
        load_config(ROOT / config, overrides)


# README's own are run in test_readme.py.
CODE = [block for page, block in blocks("python") if page != "README.md"]


@pytest.mark.parametrize("block", CODE, ids=lambda block: block.strip().splitlines()[-1][:40])
def test_python_block_of_docs_runs(block: str, tmp_path: Path) -> None:
    for package in ("minigrid", "metaworld"):
        if package in block and importlib.util.find_spec(package) is None:
            pytest.skip(f"{package} is not installed")
    named = re.match(r"# (\w+)\.py\n", block)
    file = tmp_path / f"{named[1] if named else 'block'}.py"
    file.write_text(block)
    done = subprocess.run([sys.executable, str(file)], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    if named:  # a family, which the page tells to check
        (told,) = (words for page, words in commands() if words[0] == "check" and words[1].startswith(f"{named[1]}:"))
        done = subprocess.run(
            [sys.executable, "-m", "metarl", *told], cwd=tmp_path, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr + done.stdout
