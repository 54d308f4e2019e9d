"""`metarl new-agent`: write a package with a trainable agent to start from."""

from __future__ import annotations

import argparse
from typing import Any

from .parser import add_command


def add_parser(commands: Any) -> None:
    """Add the command."""
    parser = add_command(commands, "new-agent", run, "write a package with a trainable agent to start from")
    parser.add_argument("name", metavar="NAME", help="name of the agent, such as bold-learner")
    parser.add_argument("--dir", metavar="D", help="new or empty folder for the package (default: NAME)")


def run(arguments: argparse.Namespace) -> None:
    """Write the package and print the next command."""
    from .new_package import new_agent, say_next

    say_next(new_agent(arguments.name, arguments.dir), arguments.name)
