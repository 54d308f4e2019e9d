"""The command line: dispatch and errors. Commands import inside functions, so that `metarl --help` answers at once."""

from __future__ import annotations

import argparse
import os
import shlex
import sys
from collections.abc import Sequence

from ..base.child import end_with_parent
from ..base.code import import_by_option
from ..base.errors import MetarlError, UserCodeError, author_traceback, did_you_mean, is_lack_of_memory
from ..base.progress import ERROR, complain
from ..base.signals import raised_signals, with_remedy
from ..base.terminal import one_line, quiet_streams, settle_streams, visible
from ..base.versions import __version__
from . import (
    agents,
    bench,
    check,
    completion,
    demo,
    evaluate,
    explain,
    families,
    help,  # noqa: A004 -- a module of this folder, as the command is called
    new_agent,
    new_family,
    render,
    report,
    train,
    tune,
)
from .parser import Parser

COMMANDS = (
    train,
    tune,
    evaluate,
    explain,
    render,
    report,
    families,
    agents,
    check,
    new_family,
    new_agent,
    bench,
    demo,
    completion,
    help,
)
"""The commands, in the order of `metarl --help`. Each is a module with `add_parser(commands)` and `run(arguments)`."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return the exit status: 0, 2 after an error of one line, 130 after Ctrl-C, 143 after TERM.

    An error in an author's code prints the author's traceback above its line. A reader of the output that leaves ends
    no work.
    """
    settle_streams()
    _settle_threads()
    end_with_parent()
    with quiet_streams():
        try:
            with raised_signals():
                arguments = parse(argv)
                for module in getattr(arguments, "imports", ()):
                    import_by_option(module)
                arguments.run(arguments)
            sys.stdout.flush()
        except UserCodeError as error:
            sys.stderr.write(visible(author_traceback(error)))
            return _fail(str(error))
        except MetarlError as error:
            return _fail(str(error)) if str(error) else 2  # where another process tells the error
        except (MemoryError, OSError, RuntimeError) as error:
            return _fail(_system_error(error))
        except KeyboardInterrupt as interrupt:
            told = with_remedy(interrupt, getattr(interrupt, "remedy", ""))
            sys.stderr.write(f"\nmetarl: {one_line(str(told))}\n")
            return told.status
    return 0


def _system_error(error: Exception) -> str:
    """Return the line for an error of memory or of a file; raise any other error again."""
    if is_lack_of_memory(error):
        reason = str(error).strip().split("\n", 1)[0] or type(error).__name__
        return (
            f"there is not enough memory ({reason}); take fewer tasks (meta_batch_size, --tasks), fewer replicas or a "
            "shorter horizon"
        )
    if isinstance(error, OSError):
        file = f"{error.filename}: " if error.filename else ""
        return f"{file}{error.strerror or error}; check that it exists, that its disk has room, and your permissions"
    raise error


def _settle_threads() -> None:
    """Make the threads of torch and BLAS sleep between operations, unless the user's environment says otherwise.

    Spinning threads take cores from the simulation and from other processes: on two busy cores a meta-update takes ten
    times as long. torch and BLAS read these variables once, when they are imported.
    """
    for name, value in (("OMP_WAIT_POLICY", "PASSIVE"), ("OPENBLAS_NUM_THREADS", "1")):
        os.environ.setdefault(name, value)


def _fail(message: str) -> int:
    complain(ERROR, message)
    return 2


def build_parser() -> Parser:
    """Return the parser of the whole command line."""
    parser = Parser(prog="metarl", description="Meta-reinforcement learning: train agents that adapt, and measure it.")
    parser.add_argument("--version", action="version", version=f"metarl {__version__}")
    commands = parser.add_subparsers(title="commands", metavar="COMMAND")
    for command in COMMANDS:
        command.add_parser(commands)
    # `metarl` alone shows the help.
    told = {
        "run": help.run,
        "takes": lambda word: False,
        "options": parser._option_string_actions,
        "settings_of": tuple,
    }
    parser.set_defaults(root=parser, commands=commands.choices, **told)
    return parser


def _remedy(arguments: argparse.Namespace, word: str) -> str:
    """Return what to write in place of a word that the command does not know."""
    if not word.startswith("-"):
        return "leave it out"
    option, equals, value = word.partition("=")
    key = option.lstrip("-").replace("-", "_")
    if key.partition(".")[0] in arguments.settings_of():
        behind = [] if equals else arguments.words[arguments.words.index(word) + 1 :]
        value = value if equals else next((each for each in behind[:1] if each[:1] != "-"), "VALUE")
        return f"settings have no dashes: write {shlex.join([f'{key}={value}'])}"
    return did_you_mean(option, arguments.options)


def parse(argv: Sequence[str] | None = None) -> argparse.Namespace:
    """Return the arguments of a command line.

    `words` has all its words, `extra` those that argparse did not place and the command reads.
    Raises MetarlError for arguments that the command does not have.
    """
    for word in sys.argv[1:] if argv is None else argv:
        if "\0" in word:
            raise MetarlError(f"argument {word!r} has a NUL character, which no file's name can have; leave it out")
    arguments, extra = build_parser().parse_known_args(argv)
    arguments.extra = extra
    arguments.words = list(sys.argv[1:] if argv is None else argv)
    for word in extra:
        if not arguments.takes(word):
            raise MetarlError(f"argument {word!r} is unknown; {_remedy(arguments, word)}")
    return arguments
