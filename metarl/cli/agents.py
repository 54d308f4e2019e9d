"""`metarl agents`: list the agents, or show one with its settings."""

from __future__ import annotations

import argparse
from collections.abc import Iterable
from typing import TYPE_CHECKING

from .parser import _report_broken

if TYPE_CHECKING:
    from ..base.settings import Settings


def _agents(arguments: argparse.Namespace) -> None:
    from ..base.progress import say
    from ..trials.registered import AGENTS, describe_agent, missing_package, what_to_install
    from .pages import listing

    if arguments.name is not None:
        cls = AGENTS[arguments.name]
        settings = listing(_settings(cls.Config)) or "  none"
        missing = what_to_install(arguments.name)
        say(
            "\n\n".join(
                [f"{arguments.name}: {describe_agent(cls)}", *filter(None, [missing]), f"settings:\n{settings}"]
            )
        )
    else:
        needs = {name: f" (needs {package})" for name in AGENTS if (package := missing_package(name))}
        say(listing((name, describe_agent(AGENTS[name]) + needs.get(name, "")) for name in AGENTS))
        _report_broken(AGENTS.broken)


def _settings(config: type[Settings]) -> Iterable[tuple[str, str]]:
    for name, field in config.model_fields.items():
        default = "required" if field.is_required() else f"default {field.default}"
        yield name, f"{field.description or ''} ({default})"
