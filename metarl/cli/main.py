"""The command line. Only what a command needs is imported, inside it: `metarl --help` answers at once."""

from __future__ import annotations

import argparse
import errno
import os
import sys
from collections.abc import Sequence
from typing import Any

from ..base.cores import available_threads
from ..base.errors import MetarlError, did_you_mean
from ..base.versions import __version__
from . import render as cli_render
from .agents import _agents
from .arguments import at_least
from .evaluate import _add_evaluate
from .families import _families
from .parser import Parser, _add, _is_no_option
from .report import _add_report
from .train import _add_train

INTERRUPTED = 130
"""Exit status after Ctrl-C: 128 and the signal's number, as shells have it."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return its exit status: its own, 2 after an error told in one line, or 130 after Ctrl-C."""
    _settle_threads()
    try:
        arguments = _parsed(argv)
        status: int = arguments.command(arguments) or 0
        sys.stdout.flush()
    except MetarlError as error:
        return _fail(str(error))
    except BrokenPipeError:  # `metarl families | head`: the reader has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except (MemoryError, OSError, RuntimeError) as error:
        return _fail(_of_the_system(error))
    except KeyboardInterrupt as interrupt:
        sys.stderr.write(f"\nmetarl: interrupted{''.join(interrupt.args)}\n")
        return INTERRUPTED
    return status


def _of_the_system(error: Exception) -> str:
    """Return the line for an error that the system's bounds explain; others are faults of ours, and are raised again."""
    if _is_lack_of_memory(error):
        why = str(error).strip().split("\n", 1)[0] or type(error).__name__
        return (
            f"there is not enough memory ({why}); take fewer tasks (meta_batch_size, --tasks), fewer replicas or a "
            "shorter horizon"
        )
    if isinstance(error, OSError):
        file = f"{error.filename}: " if error.filename else ""
        return f"{file}{error.strerror or error}; see that it is there, has room, and may be read and written"
    raise error


def _is_lack_of_memory(error: Exception) -> bool:
    if isinstance(error, OSError):
        return error.errno == errno.ENOMEM
    # torch has a class of its own for a GPU's memory, and none for the machine's.
    texts = ("t allocate memory", "cannot allocate", "not enough memory", "unable to allocate")
    return (
        isinstance(error, MemoryError)
        or type(error).__name__ == "OutOfMemoryError"
        or any(text in str(error).lower() for text in texts)
    )


def _settle_threads() -> None:
    """Have the threads of torch and BLAS sleep between operations, unless the user says otherwise.

    They would spin, on cores that the simulation or another process wants: on two busy cores a meta-update takes ten
    times as long. They read this once, when numpy and torch are imported.
    """
    for name, value in (("OMP_WAIT_POLICY", "PASSIVE"), ("OPENBLAS_NUM_THREADS", "1")):
        os.environ.setdefault(name, value)


def _fail(message: str) -> int:
    sys.stderr.write(f"metarl: error: {' '.join(message.split())}\n")
    return 2


def _parser() -> argparse.ArgumentParser:
    parser = Parser(prog="metarl", description="Meta-reinforcement learning: train agents that adapt, and measure it.")
    parser.add_argument("--version", action="version", version=f"metarl {__version__}")
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    _add_train(commands)
    _add_evaluate(commands)
    cli_render.add_options(
        _add(commands, "render", cli_render.render, "film how an agent adapts to unseen tasks", _is_no_option)
    )
    _add_report(commands)
    _add_listings(commands)
    _add_check(commands)
    _add_whole(commands)
    return parser


def _parsed(argv: Sequence[str] | None) -> argparse.Namespace:
    """Return the command's arguments; `extra` has the words that argparse did not place and the command takes."""
    arguments, extra = _parser().parse_known_args(argv)
    for word in extra:
        if not arguments.takes(word):
            remedy = did_you_mean(word, arguments.options) if word.startswith("-") else "leave it out"
            raise MetarlError(f"argument {word!r} is unknown; {remedy}")
    arguments.extra = extra
    return arguments


def _add_listings(commands: Any) -> None:
    parser = _add(commands, "families", _families, "list the families of tasks, or show one in words or pictures")
    parser.add_argument(
        "name", nargs="?", metavar="NAME", help="family (or its YAML file) to show with its presets, tasks and settings"
    )
    parser.add_argument("--preset", metavar="P", help="the settings to show it with (default: its first preset)")
    parser.add_argument("--plot", metavar="F", help="draw the tasks of each split instead, into a .png or .svg file")
    parser.add_argument(
        "--render", metavar="F", help="draw the worlds of a few tasks instead, into a .png or .svg file"
    )
    parser.add_argument("--tasks", type=at_least(1), metavar="N", help="tasks to draw (default: 200; worlds: 6)")
    parser.add_argument("--split", metavar="S", help="split the worlds' tasks are from (default: train)")
    parser.add_argument("--steps", type=at_least(0), metavar="K", help="random steps before the picture (default: 20)")
    parser = _add(commands, "agents", _agents, "list the agents, or show one")
    parser.add_argument("name", nargs="?", metavar="NAME", help="agent to show with its settings")


def _add_check(commands: Any) -> None:
    parser = _add(commands, "check", _check, "test that a family or an agent keeps its promises")
    parser.add_argument(
        "target", nargs="?", metavar="TARGET", help="registered name, a family's YAML file, or module:attribute"
    )
    parser.add_argument("--all", action="store_true", help="check everything registered, each family in each preset")
    parser.add_argument("--jobs", type=at_least(1), metavar="N", help="processes of --all (default: one a core)")
    parser = _add(commands, "new-family", _new_family, "write a package with a family of your own to start from")
    parser.add_argument("name", metavar="NAME", help="what the family is called, such as windy-cart")
    parser.add_argument("--dir", metavar="D", help="new or empty folder for it (default: NAME)")


def _add_whole(commands: Any) -> None:
    """Add the commands that read their own arguments, help included."""
    _add(
        commands,
        "bench",
        _bench,
        "measure how fast environments step on this machine",
        lambda word: True,
        add_help=False,
    )
    _add(commands, "demo", _demo, "train and measure two agents in minutes", lambda word: True, add_help=False)


def _check(arguments: argparse.Namespace) -> None:
    from ..base.progress import say
    from ..checks.check import check, check_all

    if arguments.all:
        if arguments.target is not None:
            raise MetarlError(f"{arguments.target!r} and --all were both given; leave one out")
        check_all(arguments.jobs or available_threads())
        return
    if arguments.target is None:
        raise MetarlError("nothing to check was given; name a family or an agent, or add --all")
    if arguments.jobs is not None:
        raise MetarlError("--jobs was given without --all; a single check runs in one process: leave it out")
    check(arguments.target)
    say(f"{arguments.target}: all checks passed")


def _new_family(arguments: argparse.Namespace) -> None:
    from ..base.progress import say
    from .new_family import new_family

    name = arguments.name
    folder = new_family(name, arguments.dir)
    say(f"made {folder}\nnext: cd {folder} && pip install -e . && pytest && metarl check {name}")


def _bench(arguments: argparse.Namespace) -> int:
    from . import bench

    return bench.main(arguments.extra)


def _demo(arguments: argparse.Namespace) -> int:
    from . import demo

    return demo.main(arguments.extra)
