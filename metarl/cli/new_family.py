"""`metarl new-family`: write a package with a family of tasks to start from."""

from __future__ import annotations

import argparse
from typing import Any

from .parser import add_command


def add_parser(commands: Any) -> None:
    """Add the command."""
    parser = add_command(commands, "new-family", run, "write a package with a family of tasks to start from")
    parser.add_argument("name", metavar="NAME", help="name of the family, such as windy-cart")
    parser.add_argument("--dir", metavar="D", help="new or empty folder for the package (default: NAME)")


def run(arguments: argparse.Namespace) -> None:
    """Write the package and print the next command."""
    from .new_package import new_family, say_next

    say_next(new_family(arguments.name, arguments.dir), arguments.name)
