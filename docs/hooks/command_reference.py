"""The command line's reference, generated from its parsers."""

from __future__ import annotations

import argparse
import contextlib
import html
from unittest import mock

from metarl.cli.main import main


def commands() -> str:
    """Return a section for each command and each part of a command: what it does, its usage, its arguments."""
    return "\n\n".join(_section(name) for name in _parts(_parser()))


def _parser(*words: str) -> argparse.ArgumentParser:
    """Return the parser that answers `metarl WORDS --help`."""
    asked: list[argparse.ArgumentParser] = []
    with (
        mock.patch.object(argparse.ArgumentParser, "print_help", lambda self, file=None: asked.append(self)),
        contextlib.suppress(SystemExit),
    ):
        main([*words, "--help"])
    return asked[0]


def _parts(parser: argparse.ArgumentParser) -> list[str]:
    """Return the names of a parser's subcommands; none where it has no subcommands."""
    return [
        name for action in parser._actions if isinstance(action, argparse._SubParsersAction) for name in action.choices
    ]


def _section(*words: str) -> str:
    parser = _parser(*words)
    usage = parser.format_usage().removeprefix("usage: ").strip()
    heading = f"{'#' * (1 + len(words))} metarl {' '.join(words)} {{ #{'-'.join(words)} }}"
    parts = [heading, parser.description or "", f"```text\n{usage}\n```"]
    for group in parser._action_groups:
        parts += [_argument(action) for action in group._group_actions if not _is_left_out(action)]
    if parser.epilog:
        parts.append(parser.epilog)
    parts += [_section(*words, part) for part in _parts(parser)]
    return "\n\n".join(filter(None, parts))


def _is_left_out(action: argparse.Action) -> bool:
    """Return whether an action is hidden, the option that prints this text, or has sections of its own."""
    return action.help == argparse.SUPPRESS or isinstance(action, (argparse._HelpAction, argparse._SubParsersAction))


def _argument(action: argparse.Action) -> str:
    """Return an argument as an entry of a definition list."""
    if action.option_strings:
        value = "" if action.nargs == 0 else f" {_metavar(action)}"
        shown = ", ".join(f"`{option}{value}`" for option in action.option_strings)
    else:
        shown = f"`{action.metavar or action.dest}`"
    text = html.escape((action.help or "").replace("%%", "%"), quote=False)
    choices = f" One of {', '.join(f'`{choice}`' for choice in action.choices)}." if action.choices else ""
    return f"{shown}\n:   {_sentence(text)}{choices}"


def _metavar(action: argparse.Action) -> str:
    """Return the words for an option's values; an option of several values has a word for each."""
    return " ".join(action.metavar) if isinstance(action.metavar, tuple) else action.metavar or action.dest.upper()


def _sentence(text: str) -> str:
    return f"{text[:1].upper()}{text[1:]}{'' if text.endswith(('.', '?')) else '.'}"
