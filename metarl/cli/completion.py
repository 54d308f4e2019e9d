"""`metarl completion`: a script by which a shell completes commands, options, names and files."""

from __future__ import annotations

import argparse
from typing import Any

from .parser import add_command

SHELLS = ("bash", "zsh", "fish")
"""Shells that are known."""
FILES = ("CONFIG", "FILE", "F", "PAGE", "TARGET")
FOLDERS = ("RUN", "DIR")
"""What arguments are called that are paths."""


def add_parser(commands: Any) -> None:
    """Add the command."""
    parser = add_command(commands, "completion", run, "print a script that completes commands in a shell")
    parser.add_argument("shell", choices=SHELLS, metavar="SHELL", help="bash, zsh or fish")
    parser.epilog = 'Once: eval "$(metarl completion bash)". For ever: put that line into ~/.bashrc.'


def run(arguments: argparse.Namespace) -> None:
    """Print the script."""
    import shtab

    from ..base.progress import say

    _tell_values(arguments.root)
    say(shtab.complete(arguments.root, arguments.shell).rstrip("\n"))


def _tell_values(parser: argparse.ArgumentParser) -> None:
    """Tell of each argument which values a shell may offer: files, folders, families or agents."""
    import shtab

    from ..families.family import FAMILIES
    from ..trials.registered import AGENTS

    names = {"family": [*FAMILIES], "families": [*FAMILIES], "agent": [*AGENTS], "agents": [*AGENTS]}
    command = (parser.prog or "").split()[-1]
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for inner in action.choices.values():
                _tell_values(inner)
        elif action.metavar in FILES:
            action.complete = shtab.FILE  # type: ignore[attr-defined]
        elif action.metavar in FOLDERS:
            action.complete = shtab.DIRECTORY  # type: ignore[attr-defined]
        elif action.metavar == "NAME":
            action.choices = names.get(action.dest, names.get(command))
        elif isinstance(action.metavar, str) and "|" in action.metavar:
            action.choices = action.metavar.split("|")
