"""Pictures of pairs: what is asked, the answer below it, and the right one where the answer is wrong."""

from __future__ import annotations

import textwrap
from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np

from .sequences import are_equal

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import SubFigure

    from metarl.families.question_batch import Questions

MOST_PAIRS = 3
"""Most pairs of the support, and of the queries, in a picture of a task."""
ROWS = 2 + 5 * MOST_PAIRS
"""Lines that a picture has room for."""
WIDTH = 56
"""Most letters of a line in a picture of a task."""
GREY, RIGHT, WRONG = "0.45", "tab:green", "tab:red"

Tell = Callable[[np.ndarray], str]
"""Returns tokens as text."""
Line = tuple[str, str]
"""A text and its colour."""


def draw_pair(
    axes: Axes, tells: tuple[Tell, Tell], observation: np.ndarray, answer: np.ndarray | None, target: np.ndarray
) -> None:
    """Draw a source above its answer, if there is one, and its right translation.

    `tells` puts a source and a translation in words.
    """
    lines = [(tells[0](observation), "black"), *_answer_lines(tells[1], answer, target)]
    for place, (line, color) in enumerate(lines):
        height = 0.8 - 0.6 * place / (len(lines) - 1)
        told = textwrap.fill(line, 44)
        axes.text(0.5, height, told, ha="center", va="center", transform=axes.transAxes, color=color)
    axes.set_axis_off()


def draw_pairs(
    figure: SubFigure, tells: tuple[Tell, Tell], support: Questions, queries: Questions, of: str = ""
) -> None:
    """Draw the first pairs of the support, then those that are asked, with the answers where there are any.

    `tells` puts a source and a translation in words; `of` follows the heading of the examples.
    """
    axes = figure.subplots()
    axes.set_axis_off()
    axes.set(xlim=(0, 1), ylim=(ROWS, 0))
    row = 0
    for heading, asked in ((f"examples{of}", support), ("asked", queries)):
        axes.text(0.0, row + 0.5, heading, size=8, va="center", color=GREY, style="italic")
        row += 1
        for source, target, answer in _pairs(asked):
            lines = _answer_lines(tells[1], answer, target)
            for indent, (line, color) in zip((0.0, 0.04, 0.04), [(tells[0](source), "black"), *lines], strict=False):
                axes.text(indent, row + 0.5, _cut(line), size=8, va="center", color=color)
                row += 1


def _pairs(asked: Questions) -> list[tuple[np.ndarray, np.ndarray, np.ndarray | None]]:
    """Return the first sources, right translations, and answers."""
    answers = [None] * MOST_PAIRS if asked.answers is None else list(asked.answers[:MOST_PAIRS])
    return list(zip(asked.observations[:MOST_PAIRS], asked.targets[:MOST_PAIRS], answers, strict=False))


def _answer_lines(tell: Tell, answer: np.ndarray | None, target: np.ndarray) -> list[Line]:
    """Return the answer, and the right one where it is another."""
    if answer is None:
        return [(tell(target), GREY)]
    if are_equal(answer, target):
        return [(tell(answer), RIGHT)]
    return [(tell(answer) or "(nothing)", WRONG), (f"right: {tell(target)}", GREY)]


def _cut(text: str) -> str:
    return text if len(text) <= WIDTH else f"{text[: WIDTH - 1]}…"
