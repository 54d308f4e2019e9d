"""The argument parser that all commands share."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, NoReturn

from ..base.errors import MetarlError, did_you_mean

Command = Callable[[argparse.Namespace], None]
"""Runs a command with its arguments."""


class Parser(argparse.ArgumentParser):
    """An argument parser that refuses abbreviated options and whose errors are one line.

    With `default_part`, words that begin with an option of no part go to that part.
    """

    def __init__(self, *, default_part: str = "", **settings: Any) -> None:
        super().__init__(**settings, allow_abbrev=False)
        self.default_part = default_part
        self._words: Sequence[str] = ()

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> tuple[Any, list[str]]:
        """Parse words. What argparse would say of the value of an unknown option is said of the option."""
        words = list(sys.argv[1:] if args is None else args)
        if self.default_part and (place := self._place_of_part(words)) is not None:
            words.insert(place, self.default_part)
        self._words = words
        return super().parse_known_args(words, namespace)

    def error(self, message: str) -> NoReturn:
        """Raise MetarlError instead of printing the usage and leaving."""
        self._refuse_unknown_option(self._words)
        raise MetarlError(f"{message}; see `{self.prog} --help`")

    def _check_value(self, action: argparse.Action, value: Any) -> None:
        if action.choices is not None and value not in action.choices:
            self._refuse_unknown_option(self._words[: self._words.index(value)] if value in self._words else ())
            name = action.option_strings[0] if action.option_strings else str(action.metavar or action.dest).lower()
            raise MetarlError(f"{name} {value!r} is unknown; {did_you_mean(value, action.choices)}")

    def _print_message(self, message: str, file: Any = None) -> None:
        # Flushed at once: a help that cannot be written is then an error of the command.
        super()._print_message(message, file)
        (sys.stderr if file is None else file).flush()

    def _own_options(self, words: Sequence[str]) -> Iterator[tuple[int, str]]:
        """Yield the place and the name of each word that is an option of this parser, known or not."""
        parts = next((action.choices for action in self._actions if isinstance(action, _PARTS)), None) or ()
        for place, word in enumerate(words):
            if word == "--" or word in parts:
                return
            if word[:1] == "-" and len(word) > 1 and not self._negative_number_matcher.match(word):
                # A short option may have its value behind it without a space.
                short = word[:2] if word[:2] in self._option_string_actions else ""
                yield place, short or word.partition("=")[0]

    def _refuse_unknown_option(self, words: Sequence[str]) -> None:
        """Raise MetarlError if an option among the words is unknown."""
        for _, option in self._own_options(words):
            if option not in self._option_string_actions:
                raise MetarlError(
                    f"argument {option!r} is unknown; {did_you_mean(option, self._option_string_actions)}"
                )

    def _place_of_part(self, words: Sequence[str]) -> int | None:
        """Return where the name of the default part belongs: where its first option stands, or at the end.

        Return None where a part, or a word that is none, is named.
        """
        own = dict(self._own_options(words))
        place = 0
        while place < len(words) and place in own:
            action = self._option_string_actions.get(own[place])
            if action is None:
                return place
            place += 1 if action.nargs == 0 or words[place] != own[place] else 2
        return place if place >= len(words) else None


_PARTS = argparse._SubParsersAction
"""The argument whose value is a command, or a part of one."""


def add_command(
    commands: Any,
    name: str,
    run: Command,
    summary: str,
    takes: Callable[[str], bool] = lambda word: False,
    settings_of: Callable[[], Iterable[str]] = tuple,
) -> Any:
    """Add a command and return its parser.

    `takes` tells of an undeclared word whether the command reads it. `settings_of` returns the settings that the
    command takes as key=value.
    """
    parser = commands.add_parser(name, help=summary, description=f"{summary[0].upper()}{summary[1:]}.")
    # Left out of the namespace unless given, so that a part of a command keeps what stands before its name.
    parser.add_argument(
        "--import",
        dest="imports",
        action="append",
        default=argparse.SUPPRESS,
        metavar="MODULE",
        help="import a module or .py file that registers families or agents, or give the new name of one that an old "
        "run needs, as OLD=NEW; may be repeated",
    )
    parser.set_defaults(run=run, takes=takes, settings_of=settings_of, options=parser._option_string_actions)
    return parser


def is_no_option(word: str) -> bool:
    """Return whether a word is a value, such as `key=value`, and not an option."""
    return word[:1] != "-"


def report_broken(broken: Mapping[str, str]) -> None:
    """Warn of plug-ins that failed to import."""
    from ..base.progress import warn

    for plugin, why in broken.items():
        warn(f"plug-in {plugin} failed to import: {why}")
