"""`metarl families`: list the families, or show one in words or pictures."""

from __future__ import annotations

import argparse
from typing import Any

from ..base.errors import MetarlError
from .arguments import add_quiet_option, at_least
from .parser import add_command, report_broken


def add_parser(commands: Any) -> None:
    """Add the command."""
    parser = add_command(commands, "families", run, "list the families of tasks, or show one in words or pictures")
    parser.add_argument(
        "name",
        nargs="?",
        metavar="NAME",
        help="family, module:Name or YAML file to show with its presets, tasks and settings",
    )
    parser.add_argument("--preset", metavar="P", help="preset to show (default: the first)")
    parser.add_argument("--plot", metavar="F", help="draw the tasks of each split into a .png or .svg file")
    parser.add_argument("--render", metavar="F", help="draw the worlds of a few tasks into a .png or .svg file")
    parser.add_argument(
        "--tasks", type=at_least(1, 100_000), metavar="N", help="tasks to draw (default: --plot 200, --render 6)"
    )
    parser.add_argument("--split", metavar="S", help="--render: split that the tasks are from (default: train)")
    parser.add_argument(
        "--steps", type=at_least(0), metavar="K", help="--render: random steps before the picture (default: 20)"
    )
    add_quiet_option(parser)


def run(arguments: argparse.Namespace) -> None:
    """Print the list of families, or show one of them."""
    _require_owners(arguments)
    _require_pictures(arguments)
    from ..base.progress import say
    from ..families.family import FAMILIES, describe, missing_requirement
    from .pages import family_page, grouped_listing

    if arguments.name is None:
        needs = {name: f" (needs {cls.requires})" for name in FAMILIES if missing_requirement(cls := FAMILIES[name])}
        classes = {name: FAMILIES[name] for name in FAMILIES}
        say(grouped_listing(classes, lambda name: describe(classes[name]) + needs.get(name, "")))
        report_broken(FAMILIES.broken)
    elif arguments.plot or arguments.render:
        _draw(arguments)
    else:
        say(family_page(arguments.name, arguments.preset))


def _require_owners(arguments: argparse.Namespace) -> None:
    """Refuse an option without the argument that it belongs to."""
    owners = {
        "NAME": (arguments.name, ("preset", "plot", "render", "tasks", "split", "steps")),
        "--plot or --render": (arguments.plot or arguments.render, ("tasks",)),
        "--render": (arguments.render, ("split", "steps")),
    }
    for owner, (given, options) in owners.items():
        for option in options:
            if given is None and getattr(arguments, option) is not None:
                raise MetarlError(f"--{option} was given without {owner}; add {owner}, or leave --{option} out")


def _require_pictures(arguments: argparse.Namespace) -> None:
    """Refuse two pictures in one file, and files that are no pictures or cannot be written."""
    from ..base.figures import picture_suffix
    from ..base.files import require_writable

    if arguments.plot is not None and arguments.plot == arguments.render:
        raise MetarlError(f"--plot and --render are both {arguments.plot!r}; give each picture a file of its own")
    for picture in filter(None, (arguments.plot, arguments.render)):
        picture_suffix(picture)
        require_writable(picture)


def _draw(arguments: argparse.Namespace) -> None:
    from ..base.meter import meter
    from ..base.progress import say
    from ..families.family import missing_requirement
    from ..families.load import load
    from ..pictures.gallery import plot_tasks, plot_worlds

    family = load(arguments.name, arguments.preset)
    if missing := missing_requirement(family):
        raise MetarlError(missing)
    if arguments.plot:
        with meter("families", shown=not arguments.quiet):
            plot_tasks(family, arguments.plot, arguments.tasks or 200)
        say(f"tasks: {arguments.plot}")
    if arguments.render:
        steps = 20 if arguments.steps is None else arguments.steps
        with meter("families", shown=not arguments.quiet):
            plot_worlds(family, arguments.render, arguments.tasks or 6, arguments.split or "train", steps)
        say(f"worlds: {arguments.render}")
