"""The panels of adaptation and of performance profiles on a page of HTML."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from typing import Any

import numpy as np

from ..base.text import number_text
from ..evaluation.measures import above, steps_before
from .captions import caption
from .cells import plain
from .escape import plotly_text
from .figures import LEVELS
from .groups import Group
from .measured import measured
from .panel import Panel, Plot, axis, band, finite_range, hover_head, json_numbers, legend_of, line_of, style_of
from .rows import number_cell, page_decimals
from .step_axis import StepAxis, step_axis


def adaptation_panel(groups: Sequence[Group]) -> Panel:
    """Return the panel of adaptation on one problem: IQM and interval against environment steps in the new task."""
    family = groups[0].evaluations[0].title
    legend = legend_of(groups)
    if all(group.returns.shape[-1] == 1 for group in groups):
        note = caption("Markers: IQM over seeds and tasks; bars: its interval.", groups)
        return Panel(f"{measured(groups).title} on {family}", note, [_single_round(groups)], (), legend, "markers")
    scale = step_axis([steps_before(group.env_steps) for group in groups])
    traces = [trace for number, group in enumerate(groups) for trace in _adaptation_traces(number, group, scale)]
    layout = {
        "xaxis": _step_axis_layout(scale),
        "yaxis": axis(measured(groups).definition, tickformat=","),
    }
    title = f"Adaptation on {family}"
    note = caption("Lines: IQM over seeds and tasks; bands: its interval.", groups)
    return Panel(title, note, [Plot(title, traces, layout)], (), legend)


def _step_axis_layout(scale: StepAxis) -> dict[str, Any]:
    end = float(scale.place(np.array([scale.furthest]))[0])
    ticks = scale.ticks()
    marks: dict[str, Any] = {"tickformat": ","}
    if ticks is not None:
        marks = {"tickvals": json_numbers(ticks[0]), "ticktext": ticks[1]}
    title = "Environment steps spent in the new task before the round" + (", logarithmic" if ticks else "")
    return axis(title, range=[-0.03 * end, 1.03 * end], zeroline=False, **marks)


def _adaptation_traces(number: int, group: Group, scale: StepAxis) -> list[dict[str, Any]]:
    steps = steps_before(group.env_steps)
    places = scale.place(steps)
    told = [
        f"round {n + 1}, after {steps[n]:,.0f} env steps<br>{_told(group, group.iqm[n], group.interval[n])}"
        for n in range(len(steps))
    ]
    return [*band(number, places, *group.interval.T), line_of(number, group, places, group.iqm, told)]


def _single_round(groups: Sequence[Group]) -> Plot:
    """Return the plot of trials with one round: a row for each group, since there is no curve."""
    traces = []
    for number, group in enumerate(groups):
        color, symbol, _ = style_of(number)
        (value,), (ends,) = group.iqm, group.interval
        trace: dict[str, Any] = {
            "type": "scatter",
            "mode": "markers",
            "x": json_numbers(group.iqm),
            "y": [number],
            "marker": {"color": color, "symbol": symbol, "size": 9},
            "name": plotly_text(group.name),
            "hoverinfo": "text",
            "hovertext": [f"{hover_head(group)}{_told(group, value, ends)}"],
            "meta": number,
        }
        if np.isfinite(ends).all():
            (above_it,), (below_it,) = json_numbers(ends[1:] - value), json_numbers(value - ends[:1])
            trace["error_x"] = {"type": "data", "symmetric": False, "array": [above_it], "arrayminus": [below_it]}
            trace["error_x"] |= {"color": color, "thickness": 2, "width": 6}
        traces.append(trace)
    names = ["<br>".join(map(plotly_text, textwrap.wrap(group.name, 24))) for group in groups]
    layout = {
        "xaxis": axis(f"{measured(groups).definition} (IQM)", tickformat=","),
        "yaxis": {
            "automargin": True,
            "tickvals": list(range(len(groups))),
            "ticktext": names,
            "range": [len(groups) - 0.5, -0.5],
            "showgrid": False,
            "zeroline": False,
        },
        "height": 150 + 46 * len(groups),
    }
    return Plot(f"{measured(groups).title} on {groups[0].evaluations[0].title}", traces, layout)


def profile_panel(groups: Sequence[Group]) -> Panel:
    """Return the panel of performance profiles on one problem: the share of seeds and tasks above each level."""
    last = [group.returns[..., -1] for group in groups]
    levels = np.linspace(*finite_range(last), LEVELS)
    traces = []
    for number, (group, returns) in enumerate(zip(groups, last, strict=True)):
        cells = above(returns, levels)[:, None]
        shares = cells.mean(axis=(0, 1, 2))
        traces += band(number, levels, *group.paired_interval(cells).clip(0, 1))
        told = [
            f"{share:.0%} are above {number_text(level, page_decimals(levels))}"
            for share, level in zip(shares, levels, strict=True)
        ]
        traces.append(line_of(number, group, levels, shares, told, markers=False))
    layout = {
        "xaxis": axis(f"{measured(groups).definition}, R", tickformat=","),
        "yaxis": axis("Share of seeds and tasks above R", tickformat=".0%", range=[-0.02, 1.02]),
    }
    title = f"Profile of the last round on {groups[0].evaluations[0].title}"
    statistic = "Higher is better: an agent whose curve lies above another everywhere is better at every quantile."
    return Panel(title, caption(statistic, groups), [Plot(title, traces, layout)], (), legend_of(groups), "lines")


def _told(group: Group, value: float, ends: np.ndarray) -> str:
    return f"{group.measure.label} {plain(number_cell(value, ends))}"
