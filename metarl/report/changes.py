"""Curves of rewards around changes of the task: what a change costs, and how fast it is made good."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from ..base.figures import legend_label
from .adaptation import shared_steps
from .captions import caption
from .cells import plain
from .figures import add_legend, set_title
from .figures import style_of as figure_style
from .groups import Group
from .panel import Panel, Plot, axis, band, legend_of_drawn, line_of
from .rows import number_cell

if TYPE_CHECKING:
    from matplotlib.figure import Figure

POINTS = 40
"""About how many points a curve has."""
STEP, REWARD = "Environment steps spent in the new task", "Reward of a step (mean)"
"""Titles of the axes."""


class RewardCurve(NamedTuple):
    """Rewards of a trial in blocks of steps; no block reaches over a change."""

    starts: np.ndarray
    """Step at which each block begins. [block]"""
    ends: np.ndarray
    """Step before which it ends. [block]"""
    rewards: np.ndarray
    """Reward of a step, mean over the steps of the block. [seed, task, block]"""
    parts: Sequence[slice]
    """The blocks between changes: a line that went on from one part to the next would show steps that nobody took."""

    @property
    def middles(self) -> np.ndarray:
        """Middle of each block. [block]"""
        return (self.starts + self.ends) / 2


def reward_curve(group: Group) -> RewardCurve | None:
    """Return rewards by steps of the trial; None where the task never changes, or not within the steps of all tasks."""
    rewards, switch_at = group.rewards, group.evaluations[0].switch_at
    if rewards is None or not switch_at:
        return None
    shared = shared_steps(rewards)
    inside = [change for change in switch_at if change < shared]
    if not inside:
        return None
    size = -(-shared // POINTS)
    edges = [edge for start, end in pairwise((0, *inside, shared)) for edge in range(start, end, size)]
    starts = np.array(edges)
    ends = np.append(starts[1:], shared)
    means = np.stack([rewards[..., start:end].mean(axis=-1) for start, end in zip(starts, ends, strict=True)], axis=-1)
    cuts = [0, *np.searchsorted(starts, inside).tolist(), len(starts)]
    return RewardCurve(starts, ends, means, [slice(first, last) for first, last in pairwise(cuts)])


def _curves(groups: Sequence[Group]) -> list[tuple[int, Group, RewardCurve]]:
    return [(n, group, curve) for n, group in enumerate(groups) if (curve := reward_curve(group)) is not None]


def _title(groups: Sequence[Group]) -> str:
    return f"Rewards around changes on {groups[0].evaluations[0].title}"


def change_figure(groups: Sequence[Group]) -> Figure | None:
    """Return the figure of rewards by steps of the trial; None where tasks stay the same."""
    from matplotlib.figure import Figure

    curves = _curves(groups)
    if not curves:
        return None
    figure = Figure(figsize=(7.2, 4.5), layout="constrained")
    axes = figure.subplots()
    for number, group, curve in curves:
        color, _, style = figure_style(number)
        means, intervals = curve.rewards.mean(axis=(0, 1)), group.mean_interval_of(curve.rewards)
        for part in curve.parts:
            x, label = curve.middles[part], legend_label(group.name) if part is curve.parts[0] else None
            axes.fill_between(x, *intervals[part].T, color=color, alpha=0.25, lw=0)
            axes.plot(x, means[part], color=color, ls=style, lw=2, label=label)
    for change in groups[0].evaluations[0].switch_at:
        axes.axvline(change, color="0.4", lw=1, ls="--")
    set_title(axes, _title(groups))
    axes.set(xlabel=f"{STEP}; dashed: the task changes", ylabel="Reward of a step (mean, 95 % interval)")
    return add_legend(figure, [group for _, group, _ in curves])


def change_panel(groups: Sequence[Group]) -> Panel | None:
    """Return the panel of rewards by steps of the trial on one problem; None where tasks stay the same."""
    traces = [
        trace
        for number, group, curve in _curves(groups)
        for part in curve.parts
        for trace in _traces(number, group, curve, part)
    ]
    if not traces:
        return None
    dashed = {"type": "line", "y0": 0, "y1": 1, "yref": "paper", "line": {"color": "gray", "dash": "dash", "width": 1}}
    lines = [{**dashed, "x0": change, "x1": change} for change in groups[0].evaluations[0].switch_at]
    layout = {"xaxis": axis(STEP), "yaxis": axis(REWARD), "shapes": lines}
    note = caption(
        "Lines: means over the steps of a block, seeds and tasks; bands: their intervals. Dashed: the task changes.",
        groups,
    )
    return Panel(_title(groups), note, [Plot(_title(groups), traces, layout)], (), legend_of_drawn(groups, traces))


def _traces(number: int, group: Group, curve: RewardCurve, part: slice) -> list[dict[str, Any]]:
    """Return the band and the line of the steps between two changes."""
    rewards, middles = curve.rewards[..., part], curve.middles[part]
    means, ends = rewards.mean(axis=(0, 1)), group.mean_interval_of(rewards)
    told = [
        f"steps {start + 1} to {end}<br>reward {plain(number_cell(mean, interval))}"
        for start, end, mean, interval in zip(curve.starts[part], curve.ends[part], means, ends, strict=True)
    ]
    return [*band(number, middles, *ends.T), line_of(number, group, middles, means, told, markers=False)]
