"""The argument parser that all commands share."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Mapping
from typing import Any, NoReturn

from ..base.errors import MetarlError, did_you_mean

Command = Callable[[argparse.Namespace], int | None]
"""What a command does; it returns the exit status, None for 0."""


class Parser(argparse.ArgumentParser):
    """An argument parser whose errors are one line, as all others are."""

    def error(self, message: str) -> NoReturn:
        """Raise MetarlError instead of printing the usage and leaving."""
        raise MetarlError(f"{message}; see `{self.prog} --help`")

    def _check_value(self, action: argparse.Action, value: Any) -> None:
        if action.choices is not None and value not in action.choices:
            name = action.option_strings[0] if action.option_strings else str(action.metavar or action.dest).lower()
            raise MetarlError(f"{name} {value!r} is unknown; {did_you_mean(value, action.choices)}")


def _add(
    commands: Any,
    name: str,
    command: Command,
    summary: str,
    takes: Callable[[str], bool] = lambda word: False,
    **settings: Any,
) -> Any:
    """Add a command. `takes` says which words it has use for beyond those declared."""
    parser = commands.add_parser(name, help=summary, description=f"{summary[0].upper()}{summary[1:]}.", **settings)
    parser.set_defaults(command=command, takes=takes, options=parser._option_string_actions)
    return parser


def _is_no_option(word: str) -> bool:
    return word[:1] != "-"


def _report_broken(broken: Mapping[str, str]) -> None:
    from ..base.progress import warn

    for plugin, why in broken.items():
        warn(f"plug-in {plugin} failed to import: {why}")
