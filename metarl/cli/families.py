"""`metarl families`: list the families, or show one in words or pictures."""

from __future__ import annotations

import argparse

from ..base.errors import MetarlError
from .parser import _report_broken


def _families(arguments: argparse.Namespace) -> None:
    _require_owners(arguments)
    from ..base.progress import say
    from ..families.family import FAMILIES, describe, missing_requirement
    from .pages import family_page, listing

    if arguments.name is None:
        needs = {name: f" (needs {cls.requires})" for name in FAMILIES if missing_requirement(cls := FAMILIES[name])}
        say(listing((name, describe(FAMILIES[name]) + needs.get(name, "")) for name in FAMILIES))
        _report_broken(FAMILIES.broken)
    elif arguments.plot or arguments.render:
        _draw(arguments)
    else:
        say(family_page(arguments.name, arguments.preset))


def _require_owners(arguments: argparse.Namespace) -> None:
    """Refuse an option of `families` without what it belongs to."""
    owners = {
        "NAME": (arguments.name, ("preset", "plot", "render", "tasks", "split", "steps")),
        "--plot or --render": (arguments.plot or arguments.render, ("tasks",)),
        "--render": (arguments.render, ("split", "steps")),
    }
    for owner, (given, options) in owners.items():
        for option in options:
            if given is None and getattr(arguments, option) is not None:
                raise MetarlError(f"--{option} was given without {owner}; add {owner}, or leave --{option} out")


def _draw(arguments: argparse.Namespace) -> None:
    from ..base.files import require_writable
    from ..base.progress import say
    from ..evaluation.figure import picture_suffix
    from ..families.family import missing_requirement
    from ..families.load import load
    from ..pictures.gallery import plot_tasks, plot_worlds

    family = load(arguments.name, arguments.preset)
    if missing := missing_requirement(family.origin):
        raise MetarlError(missing)
    if arguments.plot == arguments.render:
        raise MetarlError(f"--plot and --render are both {arguments.plot!r}; give each picture a file of its own")
    for picture in filter(None, (arguments.plot, arguments.render)):
        picture_suffix(picture)
        require_writable(picture)
    if arguments.plot:
        plot_tasks(family, arguments.plot, arguments.tasks or 200)
        say(f"tasks: {arguments.plot}")
    if arguments.render:
        steps = 20 if arguments.steps is None else arguments.steps
        plot_worlds(family, arguments.render, arguments.tasks or 6, arguments.split or "train", steps)
        say(f"worlds: {arguments.render}")
