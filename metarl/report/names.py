"""Short names of groups and problems, for cells that hold at most 40 characters."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Sequence

from ..trials.agent import ORACLE
from .cells import MAX_LENGTH, Name
from .groups import Group

_NOTE = f" ({ORACLE})"


def group_cells(groups: Sequence[Group]) -> dict[str, Name]:
    """Return the cell of each group's name, by the name in full."""
    return _cells(group.name for group in groups)


def problem_cells(groups: Sequence[Group]) -> dict[str, Name]:
    """Return the cell of each problem's name, by the name in full."""
    return _cells(group.problem for group in groups)


def long_names(groups: Sequence[Group]) -> list[str]:
    """Return a line for each name that a table cuts: the number that stands for it, and the name in full."""
    cut = [name for cells in (group_cells(groups), problem_cells(groups)) for name in cells.values() if _is_cut(name)]
    return [f"{name.text}: {name.whole}" for name in cut]


def _is_cut(name: Name) -> bool:
    return name.text != name.whole and name.text.endswith("]")


def _cells(names: Iterable[str]) -> dict[str, Name]:
    found: dict[str, Name] = {}
    cut = 0
    for name in dict.fromkeys(names):
        short = name if len(name) <= MAX_LENGTH else name.replace(_NOTE, " (oracle)")
        if len(short) > MAX_LENGTH:
            cut += 1
            short = _numbered(name, cut)
        found[name] = Name(short, name)
    return found


def _numbered(name: str, number: int) -> str:
    """Return as many words of a name as fit before its number in brackets."""
    mark = f" [{number}]"
    room = MAX_LENGTH - len(mark)
    words = textwrap.shorten(name, room, placeholder="") or name[:room]
    return f"{words}{mark}"
