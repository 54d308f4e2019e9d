"""The page of results in Markdown, with its pictures beside it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from ..base.figures import save_figure
from ..base.files import write_atomically
from .about import About
from .captions import definitions
from .cells import Cell, Name, Text, plain
from .changes import change_figure
from .columns import Kind
from .commands import commands, versions_line
from .escape import markdown_code, markdown_note, markdown_picture, markdown_text
from .figures import (
    adaptation_figure,
    instance_figure,
    profile_figure,
    reliability_figure,
    training_figure,
)
from .groups import Group
from .measured import measured
from .names import long_names
from .shots import shots_figure
from .table import Table
from .tables import build_tables
from .teachers import agreement_figure, besides
from .trade_offs import trade_off_figure


def write_page(groups: Sequence[Group], path: str | Path, about: About) -> None:
    """Write the page and its pictures beside it. Raises MetarlError where they cannot be written."""
    path = Path(path)
    figures = {}
    if len({group.problem for group in groups}) == 1:  # returns on different problems do not share an axis
        what = measured(groups)
        figures = {
            "adaptation": (
                f"{what.title} (IQM, 95 % interval) against environment steps spent in the new task",
                adaptation_figure(groups),
            ),
            "profile": ("Share of seeds and tasks whose last round is above a level", profile_figure(groups)),
            "training": (f"Validation {what.label} against environment steps of training", training_figure(groups)),
        }
        if besides(groups):
            against = f"Validation {what.label} against minutes of rollouts and updates"
            figures["minutes"] = (against, training_figure(groups, by_minutes=True))
        if (agreed := agreement_figure(groups)) is not None:
            figures["teachers"] = ("Agreement of students with their teachers by step of the trial", agreed)
        if (instances := instance_figure(groups)) is not None:
            figures["instances"] = (f"{what.title} by instance of a class (mean, 95 % interval)", instances)
        if (changes := change_figure(groups)) is not None:
            figures["changes"] = ("Reward of a step (mean, 95 % interval) by steps spent in the new task", changes)
        if (shots := shots_figure(groups)) is not None:
            figures["shots"] = (f"{what.title} of the last round by the number of examples", shots)
        if (trades := trade_off_figure(groups)) is not None:
            figures["trade-offs"] = ("Objectives against each other, and which points nobody beats", trades)
        if (reliability := reliability_figure(groups)) is not None:
            figures["calibration"] = ("Share of right answers against confidence in the last round", reliability)
    pictures = {}
    for word, (text, figure) in figures.items():
        pictures[text] = f"{path.stem}-{word}.png"
        save_figure(figure, path.with_name(pictures[text]), dpi=100)
    write_atomically(path, markdown(groups, about, pictures).encode())


def markdown(groups: Sequence[Group], about: About, pictures: Mapping[str, str]) -> str:
    """Return the page; `pictures` are file names by their descriptions, shown below the first table."""
    parts = [f"# {markdown_text(about.title_of(groups))}", *map(markdown_note, about.notes)]
    parts += map(markdown_text, about.left_out_lines())
    parts += ["".join(map(_part, paragraph)) for paragraph in definitions(groups)]
    summary, *others = build_tables(groups, about.asked)
    parts += [_table(summary), *_names(groups)]
    parts += [markdown_picture(text, name) for text, name in pictures.items()]
    for table in others:
        parts += [f"## {markdown_text(table.title)}", markdown_text(table.caption), _table(table)]
    parts += [
        "## Commands",
        "These commands repeat every run and evaluation of the page.",
        markdown_code("\n".join(commands(groups, about.again))),
        markdown_text(versions_line(groups)),
    ]
    return "\n\n".join(parts) + "\n"


def _part(text: Text) -> str:
    # Of a paragraph only the first part begins a line, and that is ours.
    shown = markdown_text(text.text)
    return f"**{shown}**" if text.emphasis else shown


def _names(groups: Sequence[Group]) -> list[str]:
    """Return the names that tables cut, as one list."""
    lines = long_names(groups)
    return ["\n".join(f"- {markdown_text(line)}" for line in lines)] if lines else []


def _table(table: Table) -> str:
    header = [markdown_text(column.label) for column in table.columns]
    rules = ["---" if column.kind is Kind.NAME else "---:" for column in table.columns]
    rows = [header, rules, *([_cell(cell) for cell in row] for row in table.rows)]
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


def _cell(cell: Cell) -> str:
    match cell:
        case Text(text, emphasis=True):
            return f"**{markdown_text(text)}**"
        case Text(text) | Name(text):
            return markdown_text(text)
        case _:
            return plain(cell)
