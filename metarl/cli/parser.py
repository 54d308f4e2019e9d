"""The argument parser that all commands share."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterable, Mapping
from typing import Any, NoReturn

from ..base.errors import MetarlError, did_you_mean

Command = Callable[[argparse.Namespace], None]
"""Runs a command with its arguments."""


class Parser(argparse.ArgumentParser):
    """An argument parser that refuses abbreviated options and whose errors are one line."""

    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings, allow_abbrev=False)

    def error(self, message: str) -> NoReturn:
        """Raise MetarlError instead of printing the usage and leaving."""
        raise MetarlError(f"{message}; see `{self.prog} --help`")

    def _check_value(self, action: argparse.Action, value: Any) -> None:
        if action.choices is not None and value not in action.choices:
            name = action.option_strings[0] if action.option_strings else str(action.metavar or action.dest).lower()
            raise MetarlError(f"{name} {value!r} is unknown; {did_you_mean(value, action.choices)}")


def add_command(
    commands: Any,
    name: str,
    run: Command,
    summary: str,
    takes: Callable[[str], bool] = lambda word: False,
    settings_of: Callable[[], Iterable[str]] = tuple,
) -> Any:
    """Add a command and return its parser.

    `takes` tells of an undeclared word whether the command reads it. `settings_of` returns the settings that the
    command takes as key=value.
    """
    parser = commands.add_parser(name, help=summary, description=f"{summary[0].upper()}{summary[1:]}.")
    # Left out of the namespace unless given, so that a part of a command keeps what stands before its name.
    parser.add_argument(
        "--import",
        dest="imports",
        action="append",
        default=argparse.SUPPRESS,
        metavar="MODULE",
        help="import a module or .py file that registers families or agents; may be repeated",
    )
    parser.set_defaults(run=run, takes=takes, settings_of=settings_of, options=parser._option_string_actions)
    return parser


def is_no_option(word: str) -> bool:
    """Return whether a word is a value, such as `key=value`, and not an option."""
    return word[:1] != "-"


def report_broken(broken: Mapping[str, str]) -> None:
    """Warn of plug-ins that failed to import."""
    from ..base.progress import warn

    for plugin, why in broken.items():
        warn(f"plug-in {plugin} failed to import: {why}")
