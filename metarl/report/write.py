"""The forms in which results are written: a page of Markdown with pictures, one of HTML, tables of LaTeX."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from ..base.errors import MetarlError
from ..base.files import write_atomically
from .groups import Group
from .html import html_page
from .latex import latex
from .markdown import About, write_page

SUFFIXES = (".md", ".html", ".tex")
"""What a path of results may end in."""


def page_path(path: str | Path) -> Path:
    """Return the path of a page. Raises MetarlError for one that ends in none of `SUFFIXES`."""
    if Path(path).suffix not in SUFFIXES:
        known = f"{', '.join(map(repr, SUFFIXES[:-1]))} or {SUFFIXES[-1]!r}"
        raise MetarlError(f"{path} has suffix {Path(path).suffix!r}; a page is written as {known}")
    return Path(path)


def write_results(groups: Sequence[Group], path: str | Path, about: About) -> None:
    """Write the results in the form that the path's suffix names. Raises MetarlError where the file cannot be written."""
    path = page_path(path)
    if path.suffix == ".md":
        write_page(groups, path, about)
    elif path.suffix == ".html":
        write_atomically(path, html_page(groups, about).encode())
    else:
        write_atomically(path, latex(groups, about).encode())
