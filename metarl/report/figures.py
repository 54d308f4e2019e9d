"""Pictures beside a page of Markdown: adaptation, performance profiles and training."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from ..base.figures import legend_label
from ..evaluation.calibration import pool_calibrations
from ..evaluation.figure import COLORS, MARKERS, label_axes, legend_columns
from ..evaluation.measures import above, steps_before
from .measured import measured
from .step_axis import step_axis

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from .groups import Group

INSTANCE = "Instance of a class in the first round"
"""Title of the axis of instances."""

CONFIDENCE, RIGHT = "Confidence: probability that the agent gave to its answers", "Answers that were right"
"""Titles of the axes of reliability."""


def style_of(number: int) -> tuple[str, str, str]:
    """Return colour, marker and line style of a group; groups beyond the number of colours are dotted."""
    again, first = divmod(number, len(COLORS))
    return COLORS[first], MARKERS[(first + 3 * again) % len(MARKERS)], ":" if again else "-"


def set_title(axes: Axes, title: str) -> None:
    """Set the title of a figure, and its grid."""
    axes.set_title(title, loc="left", weight="bold", size=11)
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(axis="y", color="0.9", lw=0.8)


def add_legend(figure: Figure, groups: Sequence[Group]) -> Figure:
    """Return the figure with the names of groups below it."""
    columns = legend_columns([group.name for group in groups], most=4)
    figure.legend(loc="outside lower center", ncols=columns, frameon=False, fontsize=9)
    return figure


def adaptation_figure(groups: Sequence[Group]) -> Figure:
    """Return the figure of the measure against environment steps in the new task, with a line for each group."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7.2, 4.5), layout="constrained")
    axes = figure.subplots()
    scale = step_axis([steps_before(group.env_steps) for group in groups])
    for i, group in enumerate(groups):
        color, marker, style = style_of(i)
        steps, (low, high) = scale.place(steps_before(group.env_steps)), group.interval.T
        axes.fill_between(steps, low, high, color=color, alpha=0.25, lw=0)
        if len(steps) == 1:  # a band needs two points
            axes.vlines(steps, low, high, color=color, lw=2)
        axes.plot(
            steps, group.iqm, color=color, marker=marker, ls=style, mec="white", lw=2, label=legend_label(group.name)
        )
    label_axes(axes, [group.evaluations[0] for group in groups])
    if (ticks := scale.ticks()) is not None:
        axes.set_xticks(*ticks)
        axes.set_xlabel(f"{axes.get_xlabel()}, logarithmic")
    axes.set_ylabel(f"{measured(groups).title} of a round (IQM, 95 % interval)")
    return add_legend(figure, groups)


def profile_figure(groups: Sequence[Group]) -> Figure:
    """Return the figure of performance profiles: the share of seeds and tasks above each level in the last round."""
    from matplotlib.figure import Figure

    last = [group.returns[..., -1] for group in groups]
    levels = np.linspace(min(each.min() for each in last), max(each.max() for each in last), LEVELS)
    figure = Figure(figsize=(7.2, 4.5), layout="constrained")
    axes = figure.subplots()
    for i, (group, returns) in enumerate(zip(groups, last, strict=True)):
        color, _, style = style_of(i)
        pairs = above(returns, levels)[:, None]
        low, high = group.paired_interval(pairs).clip(0, 1)
        axes.fill_between(levels, low, high, color=color, alpha=0.25, lw=0)
        axes.plot(levels, pairs.mean(axis=(0, 1, 2)), color=color, ls=style, lw=2, label=legend_label(group.name))
    set_title(axes, f"Profile of the last round on {groups[0].evaluations[0].title}")
    axes.set_xlabel(f"{measured(groups).definition}, R")
    axes.set_ylabel("Seeds and tasks above R (95 % interval)")
    return add_legend(figure, groups)


LEVELS = 101
"""Levels at which a profile is drawn."""


def training_figure(groups: Sequence[Group], *, by_minutes: bool = False) -> Figure:
    """Return the figure of validations before (dashed) and after adaptation against steps or minutes of training."""
    from matplotlib.figure import Figure
    from matplotlib.ticker import EngFormatter

    figure = Figure(figsize=(7.2, 4.5), layout="constrained")
    axes = figure.subplots()
    for i, group in enumerate(groups):
        color, _, last = style_of(i)
        if not group.runs:
            continue  # a reference has no training
        for key, style in (("validation/return_before", "--"), ("validation/return_after", last)):
            _learning_curve(axes, group, key, style, color, by_minutes=by_minutes)
    set_title(axes, f"Meta-training on {groups[0].evaluations[0].title}")
    axes.set_xlabel("Minutes of rollouts and updates" if by_minutes else "Environment steps of training")
    axes.set_ylabel(f"Validation {measured(groups).label} (IQM), last round; dashed: first")
    if not by_minutes:
        axes.xaxis.set_major_formatter(EngFormatter())
    return add_legend(figure, groups)


def _learning_curve(axes: Axes, group: Group, key: str, style: str, color: str, *, by_minutes: bool) -> None:
    def tell(value: float) -> float:
        return float(group.measure.tell(np.array(value)))

    curves = [
        {
            line["update"]: (minutes if by_minutes else line["env_steps"], tell(line[key]))
            for line, minutes in zip(run.metrics, run.minutes_by_update, strict=True)
            if key in line
        }
        for run in group.runs
    ]
    for curve in curves:
        if curve:
            axes.plot(*zip(*curve.values(), strict=True), color=color, ls=style, lw=0.7, alpha=0.45)
    # A run that was extended has a validation at its first end; an unfinished run lacks the later ones.
    shared = [update for update in curves[0] if all(update in curve for curve in curves)]
    if shared:
        mean = np.mean([[curve[update] for update in shared] for curve in curves], axis=0)
        marker = "o" if len(shared) == 1 else None  # a line needs two points
        label = legend_label(group.name) if style != "--" else None
        axes.plot(*mean.T, color=color, ls=style, lw=2, marker=marker, label=label)


def instance_figure(groups: Sequence[Group]) -> Figure | None:
    """Return the figure of the measure by instance of a class, with a line for each group; None without a class."""
    from matplotlib.figure import Figure

    found = [(number, group, each) for number, group in enumerate(groups) if (each := group.by_instance) is not None]
    if not found:
        return None
    figure = Figure(figsize=(7.2, 4.5), layout="constrained")
    axes = figure.subplots()
    for number, group, values in found:
        means, (low, high) = values.mean(axis=(0, 1)), group.mean_interval_of(values).T
        color, marker, style = style_of(number)
        places = np.arange(1, len(means) + 1)
        axes.fill_between(places, low, high, color=color, alpha=0.25, lw=0)
        axes.plot(
            places, means, color=color, marker=marker, ls=style, mec="white", lw=2, label=legend_label(group.name)
        )
    set_title(axes, f"{measured(groups).title} by instance on {groups[0].evaluations[0].title}")
    axes.set_xlabel(INSTANCE)
    axes.set_ylabel(f"{measured(groups).title} (mean, 95 % interval)")
    axes.set_xticks(np.arange(1, max(values.shape[2] for _, _, values in found) + 1))
    return add_legend(figure, [group for _, group, _ in found])


def reliability_figure(groups: Sequence[Group]) -> Figure | None:
    """Return the figure of how often answers are right, by how sure agents were of them; None where none says it."""
    from matplotlib.figure import Figure

    found = [(number, group) for number, group in enumerate(groups) if group.calibrations]
    if not found:
        return None
    figure = Figure(figsize=(7.2, 4.5), layout="constrained")
    axes = figure.subplots()
    axes.plot([0, 1], [0, 1], color="0.6", lw=1, ls="--")
    for number, group in found:
        pooled = pool_calibrations(group.calibrations)
        color, marker, style = style_of(number)
        some = pooled.counts > 0
        look: dict[str, Any] = {"color": color, "marker": marker, "ls": style, "mec": "white", "lw": 2}
        axes.plot(pooled.confidence[some], pooled.accuracy[some], label=legend_label(group.name), **look)
    set_title(axes, f"Calibration in the last round on {groups[0].evaluations[0].title}")
    axes.set(xlabel=CONFIDENCE, ylabel=RIGHT, xlim=(-0.02, 1.02), ylim=(-0.02, 1.02))
    axes.xaxis.set_major_formatter("{x:.0%}")
    axes.yaxis.set_major_formatter("{x:.0%}")
    return add_legend(figure, [group for _, group in found])
