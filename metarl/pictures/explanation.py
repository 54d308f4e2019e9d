"""The picture of an explanation: bars that say which examples moved an answer, and how far."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from ..base.terminal import one_line
from ..evaluation.deletion import Deletion
from ..evaluation.explanation import Explanation

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

UP, DOWN = "#0072B2", "#D55E00"
"""Colours of bars above and below zero: blue and vermillion of Okabe and Ito (2008)."""
MOST_BARS = 6
"""Most examples of an answer."""
_WIDTH = 34
"""Most characters of a label."""


def explanation_figure(explanation: Explanation, deletion: Deletion | None = None, *, answers: int = 4) -> Figure:
    """Return a figure with a panel for each of the `answers` that examples moved most, and one of the deletion curve.

    A bar is the influence of an example; each panel has those of the largest influence.
    """
    from matplotlib.figure import Figure

    shown = np.argsort(-np.abs(explanation.influence).mean(axis=0), kind="stable")[:answers]
    panels = len(shown) + (deletion is not None)
    rows = -(-panels // 2)
    figure = Figure(figsize=(11.0, 0.6 + 2.4 * rows), layout="constrained")
    grid = figure.subplots(rows, 2, squeeze=False).ravel()
    for axes, query in zip(grid, shown, strict=False):
        _bars(axes, explanation, int(query))
    if deletion is not None:
        _curve(grid[len(shown)], deletion, "confidence" if explanation.classes else "answers")
    for axes in grid[panels:]:
        axes.set_axis_off()
    title = f"{explanation.agent.name} on {explanation.family}, {explanation.plan.split} task {explanation.number}"
    figure.suptitle(title, x=0.01, ha="left", weight="bold", size=11)
    return figure


def _bars(axes: Axes, explanation: Explanation, query: int) -> None:
    moved, answer = explanation.influence[:, query], explanation.answers[query]
    chosen = np.argsort(-np.abs(moved), kind="stable")[:MOST_BARS]
    chosen = chosen[np.argsort(moved[chosen], kind="stable")]
    labels = [_label(f"{explanation.examples[each].question}: {explanation.examples[each].right}") for each in chosen]
    places = np.arange(len(chosen))
    axes.barh(places, moved[chosen], color=np.where(moved[chosen] >= 0, UP, DOWN).tolist())
    axes.set_yticks(places, labels, size=8)
    axes.axvline(0.0, color="0.3", linewidth=0.8)
    sure = "" if answer.confidence is None else f" ({answer.confidence:.0%})"
    axes.set_title(f"{_label(answer.asked.question)}: {answer.answer}{sure}, right {answer.asked.right}", size=9)
    axes.set_xlabel("change of confidence" if explanation.classes else "change of the answer", size=8)
    axes.tick_params(axis="x", labelsize=8)


def _curve(axes: Axes, deletion: Deletion, what: str) -> None:
    sizes, random = deletion.sizes, deletion.random.mean(axis=(0, 1))
    axes.plot(sizes, deletion.targeted.mean(axis=0), "o-", color=UP, label="most influential")
    axes.plot(sizes, random, "s--", color="0.4", label="random")
    axes.set_ylim(bottom=0.0)
    axes.set_xlabel("examples deleted", size=8)
    axes.set_ylabel(f"change of the {what}", size=8)
    axes.set_title("deletion", size=9)
    axes.legend(fontsize=8)
    axes.tick_params(labelsize=8)


def _label(text: str) -> str:
    return one_line(text, _WIDTH)
