"""Writes results as a page of Markdown with pictures, a page of HTML, or tables of LaTeX."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from ..base.errors import MetarlError
from ..base.files import write_atomically
from .about import About
from .groups import Group
from .html import html_page
from .latex import latex
from .markdown import write_page

SUFFIXES = (".md", ".html", ".tex")
"""Suffixes of a page, one for each format."""


def page_path(path: str | Path) -> Path:
    """Return the path of a page. Raises MetarlError for a suffix that is not in `SUFFIXES`."""
    if Path(path).suffix not in SUFFIXES:
        known = f"{', '.join(map(repr, SUFFIXES[:-1]))} or {SUFFIXES[-1]!r}"
        raise MetarlError(f"{path} has suffix {Path(path).suffix!r}; a page is written as {known}")
    return Path(path)


def write_results(groups: Sequence[Group], path: str | Path, about: About) -> None:
    """Write a page in the format of the path's suffix. Raises MetarlError where the file cannot be written."""
    path = page_path(path)
    if path.suffix == ".md":
        write_page(groups, path, about)
    elif path.suffix == ".html":
        write_atomically(path, html_page(groups, about).encode())
    else:
        write_atomically(path, latex(groups, about).encode())
