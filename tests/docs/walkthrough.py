"""A tutorial followed word for word: its files written, its commands run, in a fresh folder."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
import sysconfig
import venv
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

from tests.warm import write_client

from .pages import Block

NEEDS_NETWORK = ("git clone", "pip install metarl", "wandb agent", "wandb login", "wandb sweep", "wandb sync")
"""Beginnings of commands that a test cannot run."""


@dataclass(frozen=True)
class Walkthrough:
    """A folder, and a Python of its own that has what this one has installed; packages go into that one alone."""

    folder: Path
    """Where files are written and commands run."""
    python: Path
    """The Python of its own."""
    library: Path
    """Where its packages are."""

    @classmethod
    def begin(cls, parent: Path) -> Walkthrough:
        """Return a walkthrough in new folders below `parent`."""
        home, folder = parent / "venv", parent / "work"
        folder.mkdir()
        venv.create(home, with_pip=False)
        python = home / "bin" / "python"
        library = Path(sysconfig.get_path("purelib", "venv", {"base": str(home), "platbase": str(home)}))
        installed = sysconfig.get_path("purelib")
        # What addsitedir reads there makes editable installs work, metarl's own among them.
        (library / "installed.pth").write_text(f"import site; site.addsitedir({installed!r})\n")
        (home / "warm").mkdir()
        write_client(python.with_name("metarl"), python, library)
        write_client(home / "warm" / "python", python, library, ("-c", "-m"))
        _write_pip(python, library)
        return cls(folder, python, library)

    def follow(self, blocks: list[Block], smaller: Mapping[str, int] = MappingProxyType({})) -> None:
        """Do what the blocks of a page say, one after the other. Raises AssertionError where one does not hold.

        A block with a title is a file; in YAML the keys of `smaller` get its values, at the top and in `evaluation`,
        and in commands its options do. A block of `sh` is run, and so is
        a block of `python` without a title. A block of `text` is what the block before printed: its lines are in the
        output in this order, whatever their numbers. In a line that ends in `...` only the beginning counts.
        """
        output = ""
        for block in blocks:
            if block.title:
                path = self.folder / block.title
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_text(_shrunk(block.text, smaller) if block.language == "yaml" else block.text)
            elif block.language == "sh":
                output = self.run(["bash", "-e", "-c", _shrunk(_runnable(block), smaller)], block)
            elif block.language == "python":
                output = self.run(["python", "-c", block.text], block)
            elif block.language == "text":
                require_lines(block, output)

    def run(self, words: list[str], block: Block, status: int = 0) -> str:
        """Run a command and return what it printed. Raises AssertionError where it ends with another status."""
        home = self.python.parent.parent
        environment = {
            "MPLBACKEND": "agg",
            "PIP_NO_BUILD_ISOLATION": "0",  # pip takes the variable for the option's negation: this turns isolation off
            "PIP_NO_INDEX": "1",
            "PIP_DISABLE_PIP_VERSION_CHECK": "1",
            "WANDB_MODE": "disabled",
            **os.environ,
            "PATH": f"{home}/warm:{home}/bin:{os.environ['PATH']}",
            "VIRTUAL_ENV": str(home),
        }
        environment.pop("PYTHONPATH", None)
        done = subprocess.run(
            words,
            cwd=self.folder,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
        assert done.returncode == status, f"{block} ended with status {done.returncode}:\n{done.stdout}"
        return done.stdout


def _write_pip(python: Path, library: Path) -> None:
    path, words = python.with_name("pip"), [sys.executable, "-P", Path(__file__).with_name("pip.py"), python, library]
    path.write_text(f'#!/bin/sh\nexec {shlex.join(map(str, words))} "$@"\n')
    path.chmod(0o755)


def _shrunk(text: str, smaller: Mapping[str, int]) -> str:
    for key, value in smaller.items():
        where = rf"{key} " if key.startswith("--") else rf"^(?:evaluation: \{{.*\b)?{key}: "
        text = re.sub(rf"({where})\d+\b", rf"\g<1>{value}", text, flags=re.MULTILINE)
    return text


def _runnable(block: Block) -> str:
    lines = block.text.replace("\\\n", " ").splitlines()
    return "\n".join(line for line in lines if not line.strip().startswith(NEEDS_NETWORK))


def require_lines(block: Block, output: str) -> None:
    """Raise AssertionError unless the lines of `block` are in `output` in this order, numbers apart."""
    printed = iter([_shape(line) for line in output.splitlines()])
    for line in filter(None, map(_shape, block.text.splitlines())):
        if line == "...":
            continue
        start = line.removesuffix("...").rstrip() if line.endswith("...") else None
        found = any(each == line if start is None else each.startswith(start) for each in printed)
        assert found, f"{block}: {line!r} does not come next in what was printed:\n{output}"


def _shape(line: str) -> str:
    """Return a line with all numbers, rules and white space alike."""
    line = re.sub(r"[-+]?\d+(\.\d*)?(e[-+]?\d+)?", "0", line.strip())
    return re.sub(r"\s+", " ", re.sub(r"-{3,}", "---", line))
