"""The picture of adaptation: the measure of a round against the environment steps spent in a new task."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from ..base.errors import MetarlError
from ..base.figures import legend_label, picture_suffix, save_figure
from ..base.text import with_noun
from .measures import steps_before
from .record import Evaluation

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

COLORS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
"""Colours that colour-blind readers can tell apart: Okabe and Ito, "Color Universal Design" (2008)."""
MARKERS = "os^Dv<>"
"""A marker for each colour, for print in grey."""


def require_evaluations(evaluations: Sequence[Evaluation]) -> None:
    """Raise MetarlError for no evaluation."""
    if not evaluations:
        raise MetarlError("no evaluation given; give at least one")


def plot(evaluations: Sequence[Evaluation], path: str | Path) -> None:
    """Write the adaptation curves of evaluations to a .png or .svg file. The same numbers give the same file.

    Raises MetarlError for another suffix, for no evaluation, and if the file cannot be written.
    """
    picture_suffix(path)
    save_figure(adaptation_figure(evaluations), path)


def adaptation_figure(evaluations: Sequence[Evaluation]) -> Figure:
    """Return the figure of `plot`: the measure against the environment steps spent in the new task before each round.

    Each evaluation has the IQM over tasks, its 95 % interval as a band, and a thin line for each task. Each family has
    its own panel: returns of different families do not compare. Raises MetarlError for no evaluation.
    """
    from matplotlib.figure import Figure

    require_evaluations(evaluations)
    families = list(dict.fromkeys(evaluation.title for evaluation in evaluations))
    figure = Figure(figsize=(1.8 + 5.4 * len(families), 4.5), layout="constrained")
    panels = dict(zip(families, figure.subplots(1, len(families), squeeze=False)[0], strict=True))
    for i, (evaluation, label) in enumerate(zip(evaluations, _labels(evaluations), strict=True)):
        _curve(panels[evaluation.title], evaluation, label, COLORS[i % len(COLORS)], MARKERS[i % len(MARKERS)])
    for family, axes in panels.items():
        label_axes(axes, [evaluation for evaluation in evaluations if evaluation.title == family])
    counts = {evaluation.num_tasks for evaluation in evaluations}
    over = with_noun(counts.pop(), "task") if len(counts) == 1 else "tasks"
    legend = f"IQM over {over}, 95% bootstrap interval; faint: single tasks"
    # Below the axes it hides no curve.
    columns = legend_columns(_labels(evaluations), most=3)
    figure.legend(loc="outside lower center", ncols=columns, frameon=False, title=legend, fontsize=9)
    return figure


def legend_columns(labels: Sequence[str], most: int) -> int:
    """Return the number of columns, at most `most`, in which labels fit below a figure 7.2 inches wide."""
    widest = 0.6 + 0.072 * max(map(len, labels))  # inches, with the line beside it, at 9 points
    return max(1, min(most, len(labels), int(7.0 / widest)))


def _curve(axes: Axes, evaluation: Evaluation, label: str, color: str, marker: str) -> None:
    measure = evaluation.measure
    steps, (low, high) = steps_before(evaluation.env_steps), measure.tell(evaluation.interval).T
    # Many tasks must not hide the curve: all lines together weigh as much as a few.
    faint = min(0.35, 8 / evaluation.num_tasks)
    tasks = {"ls": "", "marker": "."} if evaluation.rounds == 1 else {"lw": 0.7}
    singles = steps_before(evaluation.env_steps_per_task).T, measure.tell(evaluation.returns).T
    axes.plot(*singles, color=color, alpha=faint, zorder=1, **tasks)
    axes.fill_between(steps, low, high, color=color, alpha=0.25, lw=0, zorder=2)
    if evaluation.rounds == 1:  # a band needs two points
        axes.vlines(steps, low, high, color=color, lw=2, zorder=2)
    axes.plot(
        steps,
        measure.tell(evaluation.iqm),
        color=color,
        marker=marker,
        ms=6,
        mec="white",
        mew=0.8,
        lw=2,
        label=legend_label(label),
        zorder=3,
    )


def _labels(evaluations: Sequence[Evaluation]) -> list[str]:
    """Return a label for each evaluation: its agent, and every fact in which the evaluations differ."""
    columns = [
        [evaluation.label for evaluation in evaluations],
        *(
            words
            for words in (
                [evaluation.title for evaluation in evaluations],
                [_settings(evaluation, evaluations) for evaluation in evaluations],
                [f"{evaluation.plan.split} tasks" for evaluation in evaluations],
                [f"seed {evaluation.plan.seed}" for evaluation in evaluations],
                [with_noun(evaluation.num_tasks, "task") for evaluation in evaluations],
            )
            if len(set(words)) > 1
        ),
    ]
    return [", ".join(filter(None, words)) for words in zip(*columns, strict=True)]


def _settings(evaluation: Evaluation, evaluations: Sequence[Evaluation]) -> str:
    """Return the settings of the family in which its evaluations differ."""
    others = [other.settings for other in evaluations if other.title == evaluation.title]
    differing = {
        n: v for n, v in evaluation.settings.items() if n != "title" and any(other.get(n) != v for other in others)
    }
    return " ".join(f"{name}={value}" for name, value in differing.items())


def label_axes(axes: Axes, evaluations: Sequence[Evaluation]) -> None:
    """Set the title, labels and ticks of adaptation curves."""
    from matplotlib.ticker import MaxNLocator

    splits = dict.fromkeys(evaluation.plan.split for evaluation in evaluations)
    seen = "" if all(evaluation.unseen for evaluation in evaluations) else " (not unseen)"
    title = f"Adaptation on {evaluations[0].title}, {' and '.join(splits)} tasks{seen}"
    axes.set_title(title, loc="left", weight="bold", size=11)
    axes.set_xlabel("Environment steps spent in the new task before the round")
    axes.set_ylabel(" or ".join(dict.fromkeys(evaluation.measure.definition for evaluation in evaluations)))
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(axis="y", color="0.9", lw=0.8)
    axes.set_axisbelow(True)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))  # or few steps have ticks between whole ones
    axes.xaxis.set_major_formatter("{x:,.0f}")
    if all(evaluation.rounds == 1 for evaluation in evaluations):
        axes.set_xticks([0])
