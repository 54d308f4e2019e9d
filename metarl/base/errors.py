"""The exceptions that reach a user as one line: it names the value, the rule and the remedy."""

from __future__ import annotations

import contextlib
import difflib
import errno
import traceback
from collections.abc import Callable, Iterable, Iterator
from types import TracebackType

LONGEST_LINE = 500
"""Characters of another library's error that a line quotes."""

MOST_LISTED = 12
"""Options that a remedy lists in full."""

AUTHOR_ERRORS = (Exception, SystemExit)
"""What an author's code may raise: `sys.exit()` inside it must not end metarl without a word."""


class MetarlError(Exception):
    """A mistake in a config, a task or a file. The command line prints it as one line and exits with status 2."""


class UserCodeError(MetarlError):
    """An error in code that metarl calls but does not own: an author's agent or environment.

    The author's own exception is the `__cause__`. The command line prints its traceback, and then the line.
    """


@contextlib.contextmanager
def user_code(where: str | Callable[[], str]) -> Iterator[None]:
    """Raise UserCodeError, which begins with `where`, in place of an exception that an author's code raises inside.

    `where` names the agent or the family, and what it was doing; a function is called only if there is an error.
    MetarlErrors and a lack of memory pass through as they are: they have their own remedies.
    """
    try:
        yield
    except AUTHOR_ERRORS as error:
        if isinstance(error, MetarlError) or is_lack_of_memory(error):
            raise
        place = where if isinstance(where, str) else where()
        raise UserCodeError(f"{place}: {first_line(error)}") from error


@contextlib.contextmanager
def told_at(where: str) -> Iterator[None]:
    """Begin an error with `where`: an exception of an author's code, as `user_code` does, and a MetarlError too."""
    try:
        with user_code(where):
            yield
    except UserCodeError:
        raise
    except MetarlError as error:
        raise reword(error, f"{where}: {error}") from error.__cause__


def reword(error: MetarlError, message: str) -> MetarlError:
    """Return an error of the same class with another message.

    Raise it `from error.__cause__`, which keeps the author's traceback, or hides the first error where there is none.
    """
    return type(error)(message)


def author_traceback(error: UserCodeError) -> str:
    """Return the traceback of the author's exception, from the author's code on; '' if it is not known."""
    cause = error.__cause__
    if cause is None:
        return ""
    return "".join(traceback.format_exception(type(cause), cause, _author_frames(cause.__traceback__)))


def _author_frames(frames: TracebackType | None) -> TracebackType | None:
    """Return the frames behind the engine's, which stand first; all of them if the engine alone was running."""
    rest = frames
    while rest is not None and _is_engine(str(rest.tb_frame.f_globals.get("__name__"))):
        rest = rest.tb_next
    return rest or frames


def _is_engine(module: str) -> bool:
    top, _, inner = module.partition(".")
    return top == "contextlib" or (top == "metarl" and inner.partition(".")[0] not in ("agents", "envs"))


def is_lack_of_memory(error: BaseException) -> bool:
    """Return whether an error says that there is not enough memory, of the machine or of a GPU."""
    if isinstance(error, OSError):
        return error.errno == errno.ENOMEM
    if isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError":
        return True
    # torch has an error class for a GPU's memory, and none for the machine's.
    texts = ("t allocate memory", "cannot allocate", "not enough memory", "unable to allocate")
    return isinstance(error, RuntimeError) and any(text in str(error).lower() for text in texts)


def did_you_mean(name: str, options: Iterable[str]) -> str:
    """Return the remedy for an unknown `name`: up to three of `options` that contain it, else the nearest.

    If none is near, the remedy lists the options, of many the nearest five.
    """
    options = sorted(options, key=lambda option: (not option.startswith(name), option))
    near = [option for option in options if len(name) > 2 and name in option][:3]
    # Without the dashes, or every two options of the command line would be alike.
    bare = {option.lstrip("-"): option for option in options}
    near = near or [bare[word] for word in difflib.get_close_matches(name.lstrip("-"), bare, n=1)]
    if near:
        return f"did you mean {' or '.join(map(repr, near))}?"
    if len(options) > MOST_LISTED:
        nearest = difflib.get_close_matches(name, options, n=5, cutoff=0.0)
        return f"known: {', '.join(sorted(nearest))} and {len(options) - len(nearest)} more"
    return f"known: {', '.join(sorted(options))}" if options else "none is known"


def first_line(error: BaseException) -> str:
    """Return an error as one line, cut to `LONGEST_LINE` characters."""
    try:
        text = str(error)
    except Exception:  # an author's exception may fail to print itself
        text = "<the exception cannot be printed>"
    line = f"{type(error).__name__}: {text.strip()}".split("\n", 1)[0].rstrip(": ")
    return line if len(line) <= LONGEST_LINE else f"{line[:LONGEST_LINE]}..."
