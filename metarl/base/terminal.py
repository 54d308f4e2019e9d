"""What may reach a terminal: text without hidden characters, lines of bounded length, streams that take every text."""

from __future__ import annotations

import contextlib
import os
import shlex
import sys
import unicodedata
from collections.abc import Iterable
from pathlib import Path

MOST_CHARACTERS = 400
"""Characters of an error or a warning, its beginning included."""
_GAP = " [...] "


def visible(text: str) -> str:
    r"""Return text that a terminal or a page only shows: every character that acts, or is not seen, becomes an escape.

    Names, keys and errors come from strangers. A control character could clear the screen or set its title, and one
    that turns the direction of writing could show another name: they become `\x1b` and `\u202e`. So do the lone
    surrogates that stand for undecodable bytes of a path, which no stream and no file can take. Line feeds, tabs and
    spaces of all widths stay.
    """
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() or c in "\n\t" or unicodedata.category(c) == "Zs" else _escape(c) for c in text)


def _escape(character: str) -> str:
    return character.encode("unicode_escape").decode("ascii")


def one_line(text: str, most: int | None = None) -> str:
    """Return visible text on one line, cut in its middle to `most` characters: a remedy stands at the end."""
    line = " ".join(visible(text).split())
    if most is None or len(line) <= most:
        return line
    end = (most - len(_GAP)) // 2
    return f"{line[: most - len(_GAP) - end]}{_GAP}{line[-end:]}"


def shell_line(words: Iterable[object]) -> str:
    r"""Return words as a command line that a shell reads back.

    A word with hidden characters or undecodable bytes is written as `$'\xff'`, which bash and zsh read.
    """
    return " ".join(_quote(str(word)) for word in words)


def _quote(word: str) -> str:
    if visible(word) == word and "\n" not in word:
        return shlex.quote(word)
    octets = "".join(_shell_byte(octet) for octet in word.encode("utf-8", "surrogateescape"))
    return f"$'{octets}'"


def _shell_byte(octet: int) -> str:
    plain = 32 <= octet < 127 and chr(octet) not in "'\\"
    return chr(octet) if plain else f"\\x{octet:02x}"


def settle_streams() -> None:
    """Make standard output and error take every text, and stand in for those that were closed at the start.

    A character that the stream's encoding does not have is written as an escape. Where `>&-` closed a stream, the next
    file that is opened would take its number, and a child process would write into that file.
    """
    with contextlib.suppress(OSError):
        while (descriptor := os.open(os.devnull, os.O_RDWR)) <= 2:
            pass
        os.close(descriptor)
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if stream is None:
            setattr(sys, name, Path(os.devnull).open("w", encoding="utf-8"))  # noqa: SIM115  # as long as the process
        elif hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")
