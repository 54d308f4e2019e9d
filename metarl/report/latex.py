"""Results as tables of LaTeX, to be taken into a paper that uses the packages booktabs and graphicx."""

from __future__ import annotations

import re
from collections.abc import Sequence

from .groups import Group
from .markdown import About, default_title, definitions, left_out_lines
from .tables import SEEDS, SUMMARY, tables

_SPECIAL = {
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    **{character: f"\\{character}" for character in "{}$&#_%"},
}
"""How LaTeX writes the characters that mean something to it."""
_SIGNED = re.compile(r"(?<![\w.)-])[+-]\d[\d.,]*\d|(?<![\w.)-])[+-]\d")
"""A number with its sign, and not the end of a name such as `maml-2`."""


def latex(groups: Sequence[Group], about: About) -> str:
    """Return the tables of the page, those that have rows, each with its caption; notes are comments."""
    title = about.title or default_title(groups)
    said = [title, *about.notes, *left_out_lines(about.left_out), *definitions(groups), f"Written by: {about.again}"]
    parts = ["\n".join(f"% {' '.join(text.split())}" for text in [*said, "Needs \\usepackage{booktabs,graphicx}."])]
    for heading, rows in tables(groups, about.asked).items():
        if heading != SEEDS:  # whose commits no paper prints
            caption = "" if heading == SUMMARY else f": {heading[0].lower()}{heading[1:]}"
            parts.append(_table(rows, f"{title}{caption}.", re.sub(r"\W+", "-", heading.lower())))
    return "\n\n".join(parts) + "\n"


def _table(rows: Sequence[Sequence[str]], caption: str, label: str) -> str:
    header, *body = ([cell_text(cell) for cell in row] for row in rows)
    return "\n".join(
        [
            r"\begin{table}",
            r"  \centering",
            f"  \\caption{{{cell_text(caption)}}}",
            f"  \\label{{tab:{label}}}",
            # As wide as it is, or as the page where that is less.
            r"  \resizebox{\ifdim\width>\linewidth\linewidth\else\width\fi}{!}{%",
            f"  \\begin{{tabular}}{{{_columns(rows)}}}",
            r"    \toprule",
            f"    {_line(header)}",
            r"    \midrule",
            *(f"    {_line(row)}" for row in body),
            r"    \bottomrule",
            r"  \end{tabular}}",
            r"\end{table}",
        ]
    )


def _columns(rows: Sequence[Sequence[str]]) -> str:
    """Return the alignment of columns: names to the left, numbers to the right."""
    names = sum(1 for heading in rows[0][:3] if heading in ("problem", "", "less"))
    return "l" * names + "r" * (len(rows[0]) - names)


def _line(cells: Sequence[str]) -> str:
    # After the end of a row LaTeX would take a bracket or a star for an argument of `\\`.
    first = f"{{}}{cells[0]}" if cells[0][:1] in ("[", "*") else cells[0]
    return " & ".join([first, *cells[1:]]) + r" \\"


def cell_text(text: str) -> str:
    """Return plain text as LaTeX: its special characters escaped, signed numbers in math mode with a true minus."""
    parts, end = [], 0
    for number in _SIGNED.finditer(text):
        parts += [_escaped(text[end : number.start()]), f"${number.group().replace(',', '{,}')}$"]
        end = number.end()
    return "".join([*parts, _escaped(text[end:])])


def _escaped(text: str) -> str:
    return "".join(_SPECIAL.get(character, character) for character in text)
