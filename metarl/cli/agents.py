"""`metarl agents`: list the agents, or show one with its settings."""

from __future__ import annotations

import argparse
from typing import Any

from .parser import add_command, report_broken


def add_parser(commands: Any) -> None:
    """Add the command."""
    parser = add_command(commands, "agents", run, "list the agents, or show one with its settings")
    parser.add_argument("name", nargs="?", metavar="NAME", help="agent, or module:Name, to show")


def run(arguments: argparse.Namespace) -> None:
    """Print the list of agents, or the page of one."""
    from ..base.progress import say
    from ..trials.registered import AGENTS, describe_agent, missing_package
    from .pages import grouped_listing

    if arguments.name is not None:
        say(_page(arguments.name))
        return
    needs = {name: f" (needs {package})" for name in AGENTS if (package := missing_package(name))}
    classes = {name: AGENTS[name] for name in AGENTS}
    say(grouped_listing(classes, lambda name: describe_agent(classes[name]) + needs.get(name, "")))
    report_broken(AGENTS.broken)


def _page(name: str) -> str:
    from ..base.settings import list_settings
    from ..trials.registered import AGENTS, describe_agent, what_to_install
    from .pages import listing

    cls, missing = AGENTS[name], what_to_install(name)
    settings = listing(list_settings(cls.Config)) or "  none"
    return "\n\n".join([f"{name}: {describe_agent(cls)}", *([missing] if missing else []), f"settings:\n{settings}"])
