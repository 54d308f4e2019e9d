"""Processes that end with the one that started them, even where that one is killed."""

from __future__ import annotations

import contextlib
import os
import signal
import threading
from collections.abc import Iterator

HELD = "METARL_LIFELINE"
"""Environment variable with the descriptor of a pipe whose other end the parent holds."""


@contextlib.contextmanager
def lifeline(environment: dict[str, str]) -> Iterator[tuple[int]]:
    """Give the descriptor that a child inherits, which `environment` names to it. This process's end stays open."""
    reader, _ = os.pipe()
    environment[HELD] = str(reader)
    try:
        yield (reader,)
    finally:
        os.close(reader)


def end_with_parent() -> None:
    """End by SIGTERM, which saves a run, once the process that holds the other end of the lifeline has ended."""
    if (held := os.environ.pop(HELD, None)) is None:
        return

    def wait() -> None:
        os.read(int(held), 1)
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=wait, daemon=True).start()
