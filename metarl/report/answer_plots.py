"""The curves of families that ask questions: how answers improve with each instance of a class."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ..base.text import ordinal
from .captions import caption
from .cells import plain
from .escape import plotly_text
from .figures import INSTANCE
from .groups import Group
from .measured import measured
from .panel import Panel, Plot, axis, band, hover_head, json_numbers, legend_of, style_of
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
    return Panel(title, note, [Plot(title, traces, layout)], (), legend_of(groups))


def _instance_traces(number: int, group: Group) -> list[dict[str, Any]]:
    if (values := group.by_instance) is None:
        return []
    means, ends = values.mean(axis=(0, 1)), group.mean_interval_of(values)
    places = np.arange(1.0, len(means) + 1)
    color, symbol, dash = style_of(number)
    line = {
        "type": "scatter",
        "mode": "lines+markers",
        "x": json_numbers(places),
        "y": json_numbers(means),
        "line": {"color": color, "dash": dash, "width": 2.5},
        "marker": {"color": color, "symbol": symbol, "size": 8},
        "name": plotly_text(group.name),
        "hoverinfo": "text",
        "hovertext": [
            f"{hover_head(group)}{ordinal(n + 1)} instance<br>{group.measure.label} {plain(number_cell(mean, ends[n]))}"
            for n, mean in enumerate(means)
        ],
        "meta": number,
    }
    return [*band(number, places, *ends.T), line]
