"""Runs commands as a user does, and judges how they end."""

from __future__ import annotations

import contextlib
import hashlib
import io
import os
import re
import resource
import signal
import sys
import traceback
import unicodedata
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from unittest.mock import patch

from metarl.base.errors import MetarlError
from metarl.cli import main as cli

STATUSES = {0, 2, 128 + signal.SIGINT, 128 + signal.SIGTERM, 128 + signal.SIGHUP}
"""Exit statuses that a command may have: done, refused, ended by a signal."""

LONGEST_LINE = 400
"""Most characters of a line on standard error."""

SECONDS = 30.0
"""Time after which a command counts as hanging: the inputs are small."""


@dataclass(frozen=True)
class Outcome:
    """How a command ended."""

    argv: tuple[str, ...]
    """Its words."""
    status: int | None
    """Its exit status; None where an exception escaped."""
    output: str
    """What it wrote to standard output."""
    errors: str
    """What it wrote to standard error."""
    escaped: str = ""
    """The traceback of an exception that escaped, '' where none did."""
    outside: tuple[str, ...] = ()
    """Files outside the folder of work that it changed."""

    @property
    def message(self) -> str:
        """The last line of standard error."""
        return (self.errors.rstrip("\n").rsplit("\n", 1)[-1]) if self.errors else ""

    def __str__(self) -> str:
        return f"metarl {' '.join(map(repr, self.argv))}\nstatus {self.status}\n{self.escaped or self.errors[-2000:]}"


class Hang(BaseException):
    """A command took longer than `SECONDS`."""


@contextlib.contextmanager
def at_most(seconds: float) -> Iterator[None]:
    """Raise Hang in this thread, which must be the main one, after some seconds."""

    def ring(number: int, frame: object) -> None:
        raise Hang

    before = signal.signal(signal.SIGALRM, ring)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


@contextlib.contextmanager
def memory_limit(extra: int = 8 * 2**30) -> Iterator[None]:
    """Let this process take at most `extra` bytes more than it has: a greedy input gets a MemoryError."""
    has = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    before = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (has + extra, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, before)


def call(argv: Sequence[str], folder: Path, *, outside: Path | None = None, seconds: float = SECONDS) -> Outcome:
    """Run a command in this process, with `folder` as the current one.

    `outside` is a folder that the command must not touch.
    """
    output, errors = (io.TextIOWrapper(io.BytesIO(), encoding="utf-8", write_through=True) for _ in range(2))
    before, escaped, status = digest(outside), "", None
    with (
        contextlib.chdir(folder),
        patch.object(sys, "stdout", output),
        patch.object(sys, "stderr", errors),
        patch.dict(os.environ, WANDB_MODE="disabled", COLUMNS="200"),
        warnings.catch_warnings(),
        memory_limit(),
    ):
        warnings.simplefilter("error")
        try:
            with at_most(seconds):
                status = cli.main(list(argv))
        except SystemExit as leave:
            status = leave.code if isinstance(leave.code, int) else 0
        except Hang:
            escaped = f"no end within {seconds:.0f} s\n{traceback.format_exc()}"
        except BaseException:  # whatever it is, a user would see it
            escaped = traceback.format_exc()
    texts = [stream.buffer.getvalue().decode("utf-8", "replace") for stream in (output, errors)]  # type: ignore[attr-defined]
    after = digest(outside)
    touched = tuple(sorted(name for name in before.keys() | after.keys() if before.get(name) != after.get(name)))
    return Outcome(tuple(argv), status, texts[0], texts[1], escaped, touched)


def digest(folder: Path | None) -> dict[str, str]:
    """Return a hash of every file below a folder, by name."""
    files = [] if folder is None else sorted(path for path in folder.rglob("*") if path.is_file())
    return {str(path): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def faults(outcome: Outcome, *, own_code: bool = False) -> list[str]:
    """Return what is wrong with the way a command ended, [] where nothing is.

    `own_code` is for inputs that hold code of the user's: its traceback may stand above the last line.
    """
    found = []
    if outcome.escaped:
        found.append(f"an exception escaped: {outcome.escaped.strip().splitlines()[-1]}")
    elif outcome.status not in STATUSES:
        found.append(f"exit status {outcome.status}")
    found += [f"changed outside its folder: {name}" for name in outcome.outside]
    lines = outcome.errors.splitlines()
    if own_code:
        lines = lines[-1:]
    elif "Traceback (most recent call last)" in outcome.errors:
        found.append("a traceback")
    ours = [line for line in lines if line.startswith("metarl: error: ")]
    if outcome.status == 2 and len(ours) != 1:
        found.append(f"{len(ours)} error lines for status 2: {outcome.errors[-300:]!r}")
    if len([line for line in lines if not line.startswith("metarl: ")]) > 1 and outcome.status == 2:
        found.append(f"a message of several lines: {outcome.errors[-600:]!r}")
    found += [f"a line of {len(line)} characters: {line[:120]!r}" for line in lines if len(line) > LONGEST_LINE]
    found += [f"{name} reaches the terminal" for name in sorted(controls(outcome.output + outcome.errors))]
    if outcome.status == 2 and ours:
        found += unfit_remedies(ours[0])
    return found


def controls(text: str) -> set[str]:
    """Return the characters in a text that a terminal would obey or that turn its direction."""
    return {
        f"U+{ord(letter):04X}"
        for letter in text
        if letter not in "\n\t" and unicodedata.category(letter) in ("Cc", "Cf", "Cs")
    }


def unfit_remedies(message: str) -> list[str]:
    """Return the remedies in an error's line that a user cannot apply."""
    found = []
    if not re.search(r"[;:?]", message.removeprefix("metarl: error: ")):
        found.append(f"no rule and no remedy: {message!r}")
    for command in re.findall(r"`metarl ([^`]*)`", message):
        words = [word for word in command.split() if word not in ("...", "[...]")]
        try:
            with contextlib.redirect_stdout(io.StringIO()):
                cli.parse(words)
        except SystemExit:
            pass  # --help
        except MetarlError as error:
            if "required" not in str(error):  # `metarl train` names a command, not a whole line
                found.append(f"`metarl {command}` is no command: {error}")
    return found
