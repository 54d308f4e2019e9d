"""The forms in which results are written: a page of Markdown with pictures, one of HTML, tables of LaTeX."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from .errors import MetarlError
from .files import write_atomically
from .results import Group
from .results_files import LeftOut
from .results_tables import NOTHING, Asked

SUFFIXES = (".md", ".html", ".tex")
"""What a path of results may end in."""


def page_path(path: str | Path) -> Path:
    """Return the path of a page. Raises MetarlError for one that ends in none of `SUFFIXES`."""
    if Path(path).suffix not in SUFFIXES:
        known = f"{', '.join(map(repr, SUFFIXES[:-1]))} or {SUFFIXES[-1]!r}"
        raise MetarlError(f"{path} has suffix {Path(path).suffix!r}; a page is written as {known}")
    return Path(path)


def write_results(
    groups: Sequence[Group],
    path: str | Path,
    *,
    title: str | None,
    notes: Sequence[str],
    again: str,
    asked: Asked = NOTHING,
    left_out: Sequence[LeftOut] = (),
) -> None:
    """Write the results in the form that the path's suffix names; `again` is the command that does.

    `title` is the families' by default, `notes` are paragraphs under it, `asked` is what only some pages
    tell, `left_out` what could not be read. Raises MetarlError where the file cannot be written.
    """
    path = page_path(path)
    if path.suffix == ".md":
        from .results_page import write_page

        write_page(groups, path, title=title, notes=notes, again=again, asked=asked, left_out=left_out)
    elif path.suffix == ".html":
        from .results_html import html_page

        page = html_page(groups, title=title, notes=notes, again=again, asked=asked, left_out=left_out)
        write_atomically(path, page.encode())
    else:
        from .results_latex import latex

        tables = latex(groups, title=title, notes=notes, asked=asked, left_out=left_out, again=again)
        write_atomically(path, tables.encode())
