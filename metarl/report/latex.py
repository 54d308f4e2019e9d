"""Results as tables of LaTeX for a paper that uses the packages booktabs and graphicx."""

from __future__ import annotations

from collections.abc import Sequence

from .about import About
from .captions import definitions
from .cells import Cell, Missing, Name, Number, Numbers, Seeds, Text, all_digits, interval_digits, plain, signed_digits
from .columns import Kind
from .escape import latex_comment, latex_text
from .groups import Group
from .names import long_names
from .table import Table
from .tables import build_tables


def latex(groups: Sequence[Group], about: About) -> str:
    """Return the tables of the page with their captions, without that of single seeds; notes are comments."""
    title = about.title_of(groups)
    paragraphs = ["".join(part.text for part in paragraph) for paragraph in definitions(groups)]
    said = [title, *about.notes, *about.left_out_lines(), *paragraphs, *long_names(groups)]
    said += [f"Written by: {about.again}", "Needs \\usepackage{booktabs,graphicx}."]
    comments = "\n".join(map(latex_comment, said))
    tables = [
        table for table in build_tables(groups, about.asked) if table.key != "seeds"
    ]  # commits stay out of papers
    return "\n\n".join([comments, *(_table(table, title) for table in tables)]) + "\n"


def _table(table: Table, title: str) -> str:
    caption = f"{title}. {table.title}. {table.caption}"
    return "\n".join(
        [
            r"\begin{table}",
            r"  \centering",
            f"  \\caption{{{latex_text(caption)}}}",
            f"  \\label{{tab:{table.key}}}",
            # As wide as it is, or as the page where that is less.
            r"  \resizebox{\ifdim\width>\linewidth\linewidth\else\width\fi}{!}{%",
            f"  \\begin{{tabular}}{{{''.join('l' if column.kind is Kind.NAME else 'r' for column in table.columns)}}}",
            r"    \toprule",
            f"    {_line([latex_text(column.label) for column in table.columns])}",
            r"    \midrule",
            *(f"    {_line([cell_text(cell) for cell in row])}" for row in table.rows),
            r"    \bottomrule",
            r"  \end{tabular}}",
            r"\end{table}",
        ]
    )


def _line(cells: Sequence[str]) -> str:
    # After the end of a row LaTeX would take a bracket or a star for an argument of `\\`.
    first = f"{{}}{cells[0]}" if cells[0][:1] in ("[", "*") else cells[0]
    return " & ".join([first, *cells[1:]]) + r" \\"


def cell_text(cell: Cell) -> str:
    """Return a cell as LaTeX: numbers with a true minus, words escaped."""
    match cell:
        case Text(text, emphasis=True):
            return rf"\textbf{{{latex_text(text)}}}"
        case Text(text) | Name(text):
            return latex_text(text)
        case Number():
            return _number(cell)
        case Numbers():
            return " / ".join(map(_signed, all_digits(cell)))
        case Seeds():
            return latex_text(plain(cell))
        case Missing():
            return "--"


def _number(cell: Number) -> str:
    parts = [f"{_signed(signed_digits(cell))}{latex_text(cell.unit)}"]
    parts += [interval_digits(cell, _signed)] if cell.has_interval else []
    parts += [f"({latex_text(cell.note)})"] if cell.note else []
    return " ".join(parts)


def _signed(number: str) -> str:
    """Return the digits of a number with its sign in math mode: a minus in text is a hyphen."""
    return f"${number[0]}${number[1:]}" if number[0] in "+-" else number
