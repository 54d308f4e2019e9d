"""What may reach a terminal: text without hidden characters, lines of bounded length, streams that take every text."""

from __future__ import annotations

import contextlib
import errno
import os
import shlex
import sys
import unicodedata
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, TextIO, cast

from .errors import MetarlError

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

    A path that begins with a dash is written behind `./`, so that no command takes it for an option. A word with
    hidden characters or undecodable bytes is written as `$'\xff'`, which bash and zsh read.
    """
    dashed = ((f"./{word}" if isinstance(word, Path) and str(word)[0] == "-" else str(word)) for word in words)
    return " ".join(map(_quote, dashed))


def _quote(word: str) -> str:
    if visible(word) == word and "\n" not in word:
        return shlex.quote(word)
    octets = "".join(_shell_byte(octet) for octet in word.encode("utf-8", "surrogateescape"))
    return f"$'{octets}'"


def _shell_byte(octet: int) -> str:
    plain = 32 <= octet < 127 and chr(octet) not in "'\\"
    return chr(octet) if plain else f"\\x{octet:02x}"


STDOUT = "standard output"
"""What messages call the stream."""


class Quiet:
    """A stream to a reader that may leave, as `| head -1` does, or a terminal that is closed: then it falls silent.

    Any other failure, such as a full disk, is an error that names the stream as it is `called`. A stream that is called
    nothing, such as standard error, falls silent then too: nothing is left to tell it on. Everything else that a stream
    can do, the stream inside does.
    """

    def __init__(self, stream: TextIO, called: str = "") -> None:
        self.stream: TextIO = stream.stream if isinstance(stream, Quiet) else stream
        self.called = called

    def write(self, text: str) -> int:
        """Write text, or nothing if nobody reads it."""
        with self._unheard():
            self.stream.write(text)
        return len(text)

    def flush(self) -> None:
        """Flush what was written."""
        with self._unheard():
            self.stream.flush()

    @contextlib.contextmanager
    def _unheard(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            # What is left in buffers goes nowhere: Python would try it again at its end, and complain.
            with contextlib.suppress(OSError, ValueError):
                nowhere = os.open(os.devnull, os.O_WRONLY)
                os.dup2(nowhere, self.stream.fileno())
                os.close(nowhere)
            if self.called and error.errno not in (errno.EPIPE, errno.EIO, errno.ENXIO):
                raise MetarlError(
                    f"{self.called} could not be written ({error.strerror}); send it to where there is room"
                ) from None

    def __getattr__(self, name: str) -> Any:
        return getattr(self.stream, name)


@contextlib.contextmanager
def quiet_streams() -> Iterator[None]:
    """Let standard output and error fall silent in the block, instead of an error, when nobody reads them."""
    old = sys.stdout, sys.stderr
    sys.stdout, sys.stderr = cast("TextIO", Quiet(old[0], STDOUT)), cast("TextIO", Quiet(old[1]))
    try:
        yield
    finally:
        with contextlib.suppress(MetarlError):  # it was told of already
            sys.stdout.flush()
        sys.stdout, sys.stderr = old


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
