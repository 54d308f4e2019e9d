"""The exception that reaches a user as one line: it names the value, the rule and the remedy."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class MetarlError(Exception):
    """A mistake in a config, a task or a file. The command line prints it as one line and exits with status 2."""


def did_you_mean(name: str, options: Iterable[str]) -> str:
    """Return the remedy for an unknown `name`: up to three of `options` that contain it, else the nearest.

    If none is near, the remedy lists all options.
    """
    options = sorted(options, key=lambda option: (not option.startswith(name), option))
    near = [option for option in options if len(name) > 2 and name in option][:3]
    near = near or difflib.get_close_matches(name, options, n=1)
    if near:
        return f"did you mean {' or '.join(map(repr, near))}?"
    return f"known: {', '.join(sorted(options))}" if options else "none is known"


def first_line(error: BaseException) -> str:
    """Return an error as one line."""
    return f"{type(error).__name__}: {error}".split("\n", 1)[0]
