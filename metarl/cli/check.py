"""`metarl check`: test that a family or an agent follows the rules."""

from __future__ import annotations

import argparse
from typing import Any

from ..base.bounds import MOST_THREADS
from ..base.cores import available_threads
from ..base.errors import MetarlError
from .arguments import add_quiet_option, at_least
from .parser import add_command


def add_parser(commands: Any) -> None:
    """Add the command."""
    parser = add_command(commands, "check", run, "test that a family or an agent follows the rules")
    parser.add_argument(
        "target",
        nargs="?",
        metavar="TARGET",
        help="registered name, YAML file of a family, module:Name, or path/to/file.py:Name",
    )
    parser.add_argument("--all", action="store_true", help="check every registered agent, family and preset")
    parser.add_argument(
        "--jobs", type=at_least(1, MOST_THREADS), metavar="N", help="processes of --all (default: one a core)"
    )
    add_quiet_option(parser)


def run(arguments: argparse.Namespace) -> None:
    """Run the checks. Raises MetarlError if one fails."""
    from ..base.meter import meter
    from ..base.progress import say
    from ..checks.check import check, check_all

    if arguments.all:
        if arguments.target is not None:
            raise MetarlError(f"{arguments.target!r} and --all were both given; leave one out")
        with meter("check", shown=not arguments.quiet) as report:
            check_all(arguments.jobs or available_threads(), report=report)
        return
    if arguments.target is None:
        raise MetarlError("nothing to check was given; name a family or an agent, or add --all")
    if arguments.jobs is not None:
        raise MetarlError("--jobs was given without --all; a single check runs in one process: leave it out")
    with meter("check", shown=not arguments.quiet) as report:
        check(arguments.target, report)
    say(f"{arguments.target}: all checks passed")
