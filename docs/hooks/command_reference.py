"""The command line's reference, generated from its parsers."""

from __future__ import annotations

import argparse
import contextlib
import html
from unittest import mock

from metarl.cli.main import main


def commands() -> str:
    """Return a section for each command: what it does, its usage, its arguments."""
    root = _parser()
    (subcommands,) = (action for action in root._actions if isinstance(action, argparse._SubParsersAction))
    return "\n\n".join(_section(name) for name in subcommands.choices)


def _parser(*words: str) -> argparse.ArgumentParser:
    """Return the parser that answers `metarl WORDS --help`."""
    asked: list[argparse.ArgumentParser] = []
    with (
        mock.patch.object(argparse.ArgumentParser, "print_help", lambda self, file=None: asked.append(self)),
        contextlib.suppress(SystemExit),
    ):
        main([*words, "--help"])
    return asked[0]


def _section(name: str) -> str:
    parser = _parser(name)
    usage = parser.format_usage().removeprefix("usage: ").strip()
    parts = [f"## metarl {name} {{ #{name} }}", parser.description or "", f"```text\n{usage}\n```"]
    for group in parser._action_groups:
        parts += [_argument(action) for action in group._group_actions if not _is_left_out(action)]
    if parser.epilog:
        parts.append(parser.epilog)
    return "\n\n".join(filter(None, parts))


def _is_left_out(action: argparse.Action) -> bool:
    """Return whether an action is hidden, or the option that prints this text."""
    return action.help == argparse.SUPPRESS or isinstance(action, argparse._HelpAction)


def _argument(action: argparse.Action) -> str:
    """Return an argument as an entry of a definition list."""
    if action.option_strings:
        value = "" if action.nargs == 0 else f" {action.metavar or action.dest.upper()}"
        shown = ", ".join(f"`{option}{value}`" for option in action.option_strings)
    else:
        shown = f"`{action.metavar or action.dest}`"
    text = html.escape((action.help or "").replace("%%", "%"), quote=False)
    choices = f" One of {', '.join(f'`{choice}`' for choice in action.choices)}." if action.choices else ""
    return f"{shown}\n:   {_sentence(text)}{choices}"


def _sentence(text: str) -> str:
    return f"{text[:1].upper()}{text[1:]}{'' if text.endswith(('.', '?')) else '.'}"
