"""Pictures of images with boxes."""

from __future__ import annotations

import textwrap
from typing import TYPE_CHECKING

import numpy as np

from metarl.families.question_batch import Questions

from .measures import iou

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import SubFigure

RIGHT, ANSWER = "#00d18f", "#ff8c42"
"""Colours of the right box and of an answer."""
COLUMNS, MOST_EXAMPLES, MOST_QUERIES = 5, 5, 10
"""Images of a row, and of each kind in the picture of a task."""
LINE, BESIDE = 15, 0.35
"""Most letters of a line beside a row, and the width of these lines as a share of an image's column."""


def draw_box(axes: Axes, box: np.ndarray, size: int, color: str, label: str | None = None) -> None:
    """Draw the outline of a box [4 or more], given as shares of the sides of an image of `size` pixels."""
    from matplotlib.patches import Rectangle

    left, top, right, bottom = (size * np.asarray(box[:4], dtype=np.float64) - 0.5).tolist()
    axes.add_patch(
        Rectangle((left, top), right - left, bottom - top, fill=False, color=color, linewidth=2, label=label)
    )


def draw_image(axes: Axes, image: np.ndarray, answer: np.ndarray | None, target: np.ndarray) -> None:
    """Draw an image [size, size] with its right box and an answer, and say how well they fit."""
    axes.imshow(image, cmap="gray", vmin=0, vmax=255, interpolation="nearest")
    there = target[4] > 0.5
    if there:
        draw_box(axes, target, len(image), RIGHT)
    told = "" if there else "not there"
    if answer is not None:
        draw_box(axes, answer, len(image), ANSWER)
        told = f"IoU {float(iou(answer, target)):.2f}" if there else f"not there, {float(answer[4]):.0%} sure"
    axes.set_title(told, size=8)
    axes.set_axis_off()


def draw_rounds(figure: SubFigure, name: str, support: Questions, queries: Questions) -> None:
    """Draw the examples of a task above images that are asked, each with its right box and the answer, if any."""
    rounds = (support, MOST_EXAMPLES), (queries, MOST_QUERIES)
    rows = [-(-min(len(asked.targets), most) // COLUMNS) for asked, most in rounds]
    grid = figure.subplots(sum(rows), 1 + COLUMNS, squeeze=False, width_ratios=[BESIDE, *[1] * COLUMNS])
    for axes in grid.ravel():
        axes.set_axis_off()
    below = 0
    for (asked, most), height, told in zip(
        rounds, rows, (f"shown: {name.rpartition('/')[2][:20]}", "asked"), strict=True
    ):
        for place in range(min(len(asked.targets), most)):
            answer = None if asked.answers is None else asked.answers[place]
            axes = grid[below + place // COLUMNS, 1 + place % COLUMNS]
            draw_image(axes, asked.observations[place][..., 0], answer, asked.targets[place])
        _write_beside(grid[below, 0], told)
        below += height


def _write_beside(axes: Axes, told: str) -> None:
    """Write upwards into the space beside a row. The layout does not heed it: a long text would shrink all images."""
    lines = textwrap.fill(told, LINE)
    written = axes.text(0.5, 0.5, lines, rotation=90, ha="center", va="center", size=8, transform=axes.transAxes)
    written.set_in_layout(False)
