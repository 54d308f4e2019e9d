"""metarl commands in processes of their own, which end when the process that started them ends."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from typing import IO

from .progress import ERROR, WARNING

METARL = (sys.executable, "-m", "metarl")
"""The command `metarl` by this Python."""
HELD = "METARL_LIFELINE"
"""Environment variable with the descriptor of a pipe whose other end the parent holds."""


class Child:
    """A command in a process of its own. It ends when this process does, however it ends: by SIGTERM, which saves."""

    def __init__(self, words: Sequence[str], errors: IO[bytes], environment: Mapping[str, str] | None = None) -> None:
        """Start it. `errors` takes what it writes to standard error, `environment` is added to our own."""
        reader, self._held = os.pipe()
        try:
            self._process = subprocess.Popen(
                list(words),
                env={**os.environ, **(environment or {}), HELD: str(reader)},
                pass_fds=(reader,),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=errors,
                start_new_session=True,  # Ctrl-C reaches this process alone, which passes it on once
            )
        finally:
            os.close(reader)

    def __del__(self) -> None:
        """Let go of the pipe, upon which a process that still runs ends."""
        os.close(self._held)

    @property
    def status(self) -> int | None:
        """Exit status, None while it runs."""
        return self._process.poll()

    def wait(self) -> int:
        """Wait until it has ended, and return its exit status."""
        return self._process.wait()

    def stop(self, number: int = signal.SIGTERM, seconds: float | None = None) -> None:
        """Send a signal unless it has ended, and wait until it has saved; it is killed if that takes longer."""
        if self.status is None:
            self._process.send_signal(number)
            try:
                self._process.wait(seconds)
            except subprocess.TimeoutExpired:
                self._process.kill()
        self._process.wait()


def end_with_parent() -> None:
    """End by SIGTERM, which saves a run, once the process that holds the other end of the pipe has ended."""
    if (held := os.environ.pop(HELD, None)) is None:
        return

    def wait() -> None:
        os.read(int(held), 1)
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=wait, daemon=True).start()


def told_by(written: bytes) -> tuple[list[str], list[str], list[str]]:
    """Return the errors and warnings that a command wrote, without what they begin with, and its other lines."""
    lines = written.decode(errors="replace").splitlines()
    errors, warnings = (
        [line.removeprefix(beginning) for line in lines if line.startswith(beginning)] for beginning in (ERROR, WARNING)
    )
    return errors, warnings, [line for line in lines if not line.startswith((ERROR, WARNING))]
