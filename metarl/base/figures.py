"""Figures as files: .png or .svg, written whole or not at all."""

from __future__ import annotations

import io
from pathlib import Path
from typing import TYPE_CHECKING

from .errors import MetarlError
from .files import write_atomically

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def picture_suffix(path: str | Path) -> str:
    """Return the suffix of a picture's path, '.png' or '.svg'. Raises MetarlError for another suffix."""
    suffix = Path(path).suffix.lower()
    if suffix not in (".png", ".svg"):
        raise MetarlError(f"{path} has suffix {suffix!r}; a picture is written as '.png' or '.svg'")
    return suffix


def save_figure(figure: Figure, path: str | Path, *, dpi: int = 160) -> None:
    """Write a figure to a .png or .svg file. The same figure gives the same bytes.

    Raises MetarlError for another suffix, and if the file cannot be written.
    """
    import matplotlib

    suffix = picture_suffix(path)
    picture = io.BytesIO()
    # Without a fixed salt and without a date, every SVG would have other ids and another head.
    with matplotlib.rc_context({"svg.hashsalt": "metarl"}):
        figure.savefig(picture, format=suffix[1:], dpi=dpi, metadata={"Date": None} if suffix == ".svg" else None)
    write_atomically(path, picture.getvalue())
