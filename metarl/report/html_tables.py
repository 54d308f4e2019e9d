"""The tables of a page as HTML, with the meaning of every column."""

from __future__ import annotations

from collections.abc import Sequence

from ..base.html import html_text
from .cells import Cell, Missing, Name, Number, Text, interval_digits, plain, signed_digits
from .columns import Column, Kind
from .groups import Group
from .names import long_names
from .table import Table
from .tables import Asked, build_tables


def metrics(groups: Sequence[Group], asked: Asked) -> str:
    """Return all tables with their captions, the names that they cut, and what their columns mean."""
    tables = build_tables(groups, asked)
    names = "".join(f"<li>{html_text(line)}</li>" for line in long_names(groups))
    meanings = dict.fromkeys((column.label, column.meaning) for table in tables for column in table.columns)
    terms = "".join(f"<dt>{html_text(label)}</dt><dd>{html_text(meaning)}</dd>" for label, meaning in meanings)
    return "\n".join(
        [
            *(_titled_table(table) for table in tables),
            *([f'<ul class="list">{names}</ul>'] if names else []),
            f'<details class="legend-of-columns"><summary>What the columns mean</summary><dl>{terms}</dl></details>',
        ]
    )


def _titled_table(table: Table) -> str:
    title = html_text(table.title)
    head = "".join(map(_heading, table.columns))
    body = "\n".join(
        "<tr>" + "".join(_cell(cell, column) for cell, column in zip(row, table.columns, strict=True)) + "</tr>"
        for row in table.rows
    )
    return (
        f'<h3>{title}</h3>\n<p class="soft">{html_text(table.caption)}</p>\n'
        f'<div class="scroll" role="region" aria-label="{title}" tabindex="0"><table>\n'
        f"<thead><tr>{head}</tr></thead>\n<tbody>\n{body}\n</tbody></table></div>"
    )


def _heading(column: Column) -> str:
    kind = ' class="name"' if column.kind is Kind.NAME else ""
    return f'<th scope="col"{kind}><abbr title="{html_text(column.meaning)}">{html_text(column.label)}</abbr></th>'


def _cell(cell: Cell, column: Column) -> str:
    if column.kind is Kind.NAME:
        return f'<th scope="row" class="name">{_content(cell)}</th>'
    return '<td class="none">-</td>' if isinstance(cell, Missing) else f"<td>{_content(cell)}</td>"


def _content(cell: Cell) -> str:
    match cell:
        case Text(text, emphasis=True):
            return f"<strong>{html_text(text)}</strong>"
        case Name(text, whole) if text != whole:
            return f'<span title="{html_text(whole)}">{html_text(text)}</span>'
        case Number():
            return _number(cell)
        case _:
            return html_text(plain(cell))


def _number(cell: Number) -> str:
    parts = [html_text(f"{signed_digits(cell)}{cell.unit}")]
    parts += [f'<span class="interval">{interval_digits(cell)}</span>'] if cell.has_interval else []
    parts += [html_text(f"({cell.note})")] if cell.note else []
    return " ".join(parts)
