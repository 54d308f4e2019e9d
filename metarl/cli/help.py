"""`metarl help`: the help of metarl, or of a command."""

from __future__ import annotations

import argparse
from typing import Any

from ..base.errors import MetarlError, did_you_mean
from .parser import add_command


def add_parser(commands: Any) -> None:
    """Add the command."""
    parser = add_command(commands, "help", run, "show what a command does and takes")
    parser.add_argument("command", nargs="?", metavar="COMMAND", help="command, all of them by default")


def run(arguments: argparse.Namespace) -> None:
    """Print the help of a command, or of metarl. Raises MetarlError for an unknown command."""
    from ..base.progress import say

    name = getattr(arguments, "command", None)  # `metarl` alone has none
    if name is not None and name not in arguments.commands:
        raise MetarlError(f"command {name!r} is unknown; {did_you_mean(name, arguments.commands)}")
    parser = arguments.root if name is None else arguments.commands[name]
    say(parser.format_help().rstrip("\n"))
