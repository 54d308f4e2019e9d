"""The curves of families that ask questions: how answers improve, and how sure agents are of them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ..base.text import ordinal
from ..evaluation.calibration import NUM_BINS, Calibration, pool_calibrations
from .captions import caption
from .cells import plain
from .figures import CONFIDENCE, INSTANCE, RIGHT
from .groups import Group
from .measured import measured
from .panel import Panel, Plot, axis, band, legend_of_drawn, line_of
from .rows import number_cell


def instance_panel(groups: Sequence[Group]) -> Panel | None:
    """Return the panel of the measure by instance of a class on one problem; None where no class is shown."""
    traces = [trace for number, group in enumerate(groups) for trace in _instance_traces(number, group)]
    if not traces:
        return None
    what, family = measured(groups), groups[0].evaluations[0].title
    layout = {"xaxis": axis(INSTANCE, dtick=1), "yaxis": axis(f"{what.title}, mean", tickformat=",")}
    title = f"{what.title} by instance on {family}"
    note = caption("Lines: means over seeds and tasks, before the answer is shown; bands: their intervals.", groups)
    return Panel(title, note, [Plot(title, traces, layout)], (), legend_of_drawn(groups, traces))


def _instance_traces(number: int, group: Group) -> list[dict[str, Any]]:
    if (values := group.by_instance) is None:
        return []
    means, ends = values.mean(axis=(0, 1)), group.mean_interval_of(values)
    places = np.arange(1.0, len(means) + 1)
    told = [
        f"{ordinal(n + 1)} instance<br>{group.measure.label} {plain(number_cell(mean, ends[n]))}"
        for n, mean in enumerate(means)
    ]
    return [*band(number, places, *ends.T), line_of(number, group, places, means, told)]


def reliability_panel(groups: Sequence[Group]) -> Panel | None:
    """Return the panel of how often answers are right, by how sure agents were of them; None where none says it."""
    traces = [
        _reliability_trace(number, group, pool_calibrations(group.calibrations))
        for number, group in enumerate(groups)
        if group.calibrations
    ]
    if not traces:
        return None
    shares = {"tickformat": ".0%", "range": [-0.02, 1.02]}
    even = {"type": "line", "x0": 0, "y0": 0, "x1": 1, "y1": 1, "line": {"color": "gray", "dash": "dash", "width": 1}}
    layout = {"xaxis": axis(CONFIDENCE, **shares), "yaxis": axis(RIGHT, **shares), "shapes": [even]}
    title = f"Calibration in the last round on {groups[0].evaluations[0].title}"
    note = caption(
        f"Answers of all seeds and tasks in {NUM_BINS} bins by confidence. Below the dashed line an agent is too sure.",
        groups,
        intervals=False,
    )
    return Panel(title, note, [Plot(title, traces, layout)], (), legend_of_drawn(groups, traces))


def _reliability_trace(number: int, group: Group, pooled: Calibration) -> dict[str, Any]:
    some = np.flatnonzero(pooled.counts)
    told = [
        f"{pooled.counts[n]:,} answers<br>confidence {pooled.confidence[n]:.1%}, right {pooled.accuracy[n]:.1%}"
        for n in some
    ]
    return line_of(number, group, pooled.confidence[some], pooled.accuracy[some], told)
