"""The exception that reaches a user as one line: it names the value, the rule and the remedy."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class MetarlError(Exception):
    """A mistake in a config, a task or a file. The command line prints it as one line and exits with status 2."""


def did_you_mean(name: str, options: Iterable[str]) -> str:
    """Return the remedy for an unknown `name`: the nearest of `options`, or the list of them if none is near."""
    options = sorted(options)
    near = difflib.get_close_matches(name, options, n=1, cutoff=0.5)
    if near:
        return f"did you mean {near[0]!r}?"
    return f"known: {', '.join(options)}" if options else "none is known"


def first_line(error: BaseException) -> str:
    """Return an error as one line."""
    return f"{type(error).__name__}: {error}".split("\n", 1)[0]
