"""Figures as files: .png or .svg, written whole or not at all."""

from __future__ import annotations

import io
import textwrap
import warnings
from pathlib import Path
from typing import TYPE_CHECKING

from .errors import MetarlError
from .files import write_atomically
from .terminal import one_line

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def picture_suffix(path: str | Path) -> str:
    """Return the suffix of a picture's path, '.png' or '.svg'. Raises MetarlError for another suffix."""
    suffix = Path(path).suffix.lower()
    if suffix not in (".png", ".svg"):
        raise MetarlError(f"{path} has suffix {suffix!r}; a picture is written as '.png' or '.svg'")
    return suffix


LETTER = 0.55
"""Mean width of a letter as a share of its font's size."""
_LONGEST = 120
"""Characters of a line in a picture that are drawn: more leave no room for the axes."""
_LONGEST_LABEL = 84
"""Characters of a label in a legend, whose letters are smaller and which has a line before it."""


def legend_label(text: str) -> str:
    """Return the label of a line in the legend, which is cut where it would be wider than the figure.

    matplotlib leaves out labels that begin with an underscore.
    """
    text = one_line(text, _LONGEST_LABEL)
    return f" {text}" if text.startswith("_") else text


def _show_literally(figure: Figure) -> None:
    """Make every text of a figure show its characters as they are: names may hold `$`, which begins a formula."""
    from matplotlib.text import Text

    for text in figure.findobj(Text):
        text.set_parse_math(False)
        text.set_usetex(False)
        text.set_text("\n".join(one_line(line, _LONGEST) for line in text.get_text().split("\n")))


def _wrap_upward_labels(figure: Figure) -> None:
    """Break the label of every vertical axis where it is longer than the axis: no layout makes room for it."""
    for axes in figure.axes:
        label = axes.yaxis.label
        points = 72 * axes.get_position().height * figure.get_figheight()
        letters = max(8, int(points / (LETTER * label.get_fontproperties().get_size_in_points())))
        label.set_text("\n".join(textwrap.fill(line, letters) for line in label.get_text().split("\n")))


def save_figure(figure: Figure, path: str | Path, *, dpi: int = 160) -> None:
    """Write a figure to a .png or .svg file. The same figure gives the same bytes.

    Raises MetarlError for another suffix, and if the file cannot be written.
    """
    import matplotlib

    suffix = picture_suffix(path)
    _show_literally(figure)
    _wrap_upward_labels(figure)
    picture = io.BytesIO()
    # Without a fixed salt and without a date, every SVG would have other ids and another head.
    with matplotlib.rc_context({"svg.hashsalt": "metarl"}), warnings.catch_warnings():
        # The font lacks many scripts; their characters become boxes, which the reader sees.
        warnings.filterwarnings("ignore", "Glyph .* missing from font", UserWarning)
        figure.savefig(picture, format=suffix[1:], dpi=dpi, metadata={"Date": None} if suffix == ".svg" else None)
    write_atomically(path, picture.getvalue())
