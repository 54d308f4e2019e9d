"""The pages of the documentation, and the blocks of code in them."""

from __future__ import annotations

import re
import shlex
import textwrap
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tests.places import ROOT

PAGES = {
    str(path.relative_to(ROOT)): path.read_text()
    for path in (
        *(ROOT / f"{name}.md" for name in ("README", "CONTRIBUTING", "SECURITY")),
        *sorted((ROOT / "docs").rglob("*.md")),
    )
}
"""Text of every page by its path from the top of the repository."""

_FENCE = re.compile(r"^([ ]*)```(\w*)([^\n`]*)\n(.*?)^\1```[ ]*$", re.DOTALL | re.MULTILINE)


@dataclass(frozen=True)
class Block:
    """A fenced block of a page."""

    page: str
    """Path of the page from the top of the repository."""
    line: int
    """Line of the opening fence, from 1."""
    language: str
    """Word after the fence, '' where there is none."""
    title: str
    """Value of `title="..."` after the fence: the file that the block is; '' where there is none."""
    text: str
    """The lines between the fences, without their indentation."""

    def __str__(self) -> str:
        return f"{self.page}:{self.line}"


def blocks_of(page: str, language: str | None = None) -> list[Block]:
    """Return the blocks of a page in order, of one language or of all."""
    found = []
    for match in _FENCE.finditer(PAGES[page]):
        _, word, rest, text = match.groups()
        title = re.search(r'title="([^"]*)"', rest)
        line = PAGES[page].count("\n", 0, match.start()) + 1
        found.append(Block(page, line, word, title[1] if title else "", textwrap.dedent(text)))
    return [block for block in found if language in (None, block.language)]


def blocks(language: str) -> list[Block]:
    """Return the blocks of a language of all pages."""
    return [block for page in PAGES for block in blocks_of(page, language)]


def commands(block: Block) -> Iterator[tuple[str, ...]]:
    """Yield the words of each command of a block for the shell, without variables set before it.

    In a block of a console, commands stand behind `$`, and other lines are what they print.
    """
    lines = block.text.replace("\\\n", " ").splitlines()
    if block.language == "console":
        lines = [line.removeprefix("$ ") for line in lines if line.startswith("$ ")]
    for line in lines:
        lexer = shlex.shlex(line, posix=True, punctuation_chars=True)
        lexer.whitespace_split = True
        command: list[str] = []
        for word in [*lexer, ";"]:
            if set(word) <= set("();<>|&"):
                if command:
                    yield tuple(command)
                command = []
            elif command or not re.fullmatch(r"\w+=.*", word):
                command.append(word)


def metarl_commands(block: Block) -> Iterator[tuple[str, ...]]:
    """Yield the arguments of each `metarl` command of a block."""
    for words in commands(block):
        if Path(words[0]).name == "metarl":
            yield words[1:]
