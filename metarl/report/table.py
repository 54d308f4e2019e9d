"""A table of results, before it takes a form: columns, and rows of typed cells."""

from __future__ import annotations

from dataclasses import dataclass

from .cells import Cell, plain
from .columns import Column


@dataclass(frozen=True)
class Table:
    """One table of a page."""

    key: str
    """Short name of the table for anchors and labels, unique on a page: letters and hyphens."""
    title: str
    """Heading in plain text."""
    caption: str
    """What was measured: protocol, seeds and steps of training, in sentences of plain text."""
    columns: tuple[Column, ...]
    """From left to right."""
    rows: tuple[tuple[Cell, ...], ...]
    """Cells, as many in each row as there are columns. [row][column]"""

    def plain_rows(self) -> list[tuple[str, ...]]:
        """Return headings and cells as plain text, headings first."""
        return [tuple(column.label for column in self.columns), *(tuple(map(plain, row)) for row in self.rows)]
