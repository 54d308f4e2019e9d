"""The plots of a page of HTML as plotly.js takes them: dicts of traces and layout. Nothing here is drawn."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..evaluation.figure import COLORS
from .escape import plotly_text
from .groups import Group

SYMBOLS = ("circle", "square", "triangle-up", "diamond", "triangle-down", "triangle-left", "triangle-right")
"""Markers of plotly.js, one for each colour; the same shapes as in the pictures."""
DASHES = ("solid", "dash", "dot", "dashdot", "longdash")
"""Line styles of plotly.js."""


@dataclass(frozen=True)
class Plot:
    """One set of axes."""

    title: str
    """Heading, in plain text."""
    traces: Sequence[dict[str, Any]]
    """Traces of plotly.js; `meta` is the number of the trace's group."""
    layout: dict[str, Any]
    """Layout of plotly.js; page.js adds what all plots share."""


@dataclass(frozen=True)
class Option:
    """One option of a choice."""

    label: str
    """Its words in the menu."""
    changes: Sequence[dict[str, Any]]
    """For each plot of the panel `style`, for Plotly.restyle of all traces, and `layout`, for Plotly.relayout."""
    chosen: bool = False
    """Whether the page opens with it."""


@dataclass(frozen=True)
class Choice:
    """A menu that changes the plots of a panel."""

    label: str
    """Label of the menu, in plain text."""
    options: Sequence[Option]
    """Options of the menu; one of them is chosen."""


@dataclass(frozen=True)
class Panel:
    """Plots that belong together, with the choices that change all of them."""

    title: str
    """Heading, in plain text."""
    note: str
    """Caption, in plain text."""
    plots: Sequence[Plot]
    """At least one."""
    choices: Sequence[Choice] = ()
    """Menus that change all plots."""
    legend: Sequence[tuple[int, str]] = ()
    """Number and name of each group that the reader can hide; empty where each plot shows one group."""
    drawn: str = "lines+markers"
    """How a group is drawn: `lines`, `markers` or both."""


def style_of(number: int) -> tuple[str, str, str]:
    """Return colour, marker and line style of a group by its number among the groups of its problem."""
    again, first = divmod(number, len(COLORS))
    symbol = (first + 3 * again) % len(SYMBOLS)
    # A marker that repeats has another line style, so groups differ in print without colours.
    return COLORS[first], SYMBOLS[symbol], DASHES[(symbol + 2 * again) % len(DASHES)]


def json_numbers(values: np.ndarray) -> list[float | None]:
    """Return values for JSON to six digits; None, at which plotly.js leaves a gap, for those that are not finite."""
    return [float(f"{value:.6g}") if math.isfinite(value) else None for value in values]


def finite_range(values: Sequence[np.ndarray]) -> tuple[float, float]:
    """Return the least and the largest finite value of all arrays; 0 and 1 where none is finite."""
    every = np.concatenate([each.reshape(-1) for each in values])
    every = every[np.isfinite(every)]
    return (float(every.min()), float(every.max())) if len(every) else (0.0, 1.0)


def axis(title: str, **more: Any) -> dict[str, Any]:
    """Return an axis with its title, in plain text."""
    return {"title": {"text": plotly_text(title)}, "automargin": True, **more}


def legend_of(groups: Sequence[Group]) -> list[tuple[int, str]]:
    """Return the legend of a panel in which every group can be hidden."""
    return [(number, group.name) for number, group in enumerate(groups)]


def legend_of_drawn(groups: Sequence[Group], traces: Sequence[dict[str, Any]]) -> list[tuple[int, str]]:
    """Return the legend of a panel in which only some groups have a line."""
    drawn = {trace["meta"] for trace in traces}
    return [entry for entry in legend_of(groups) if entry[0] in drawn]


def hover_head(group: Group) -> str:
    """Return the first lines of a hover text: the group's name, bold, broken where it is long."""
    return "".join(f"<b>{plotly_text(line)}</b><br>" for line in textwrap.wrap(group.name, 40))


def line_of(
    number: int, group: Group, x: np.ndarray, y: np.ndarray, told: Sequence[str], *, markers: bool = True
) -> dict[str, Any]:
    """Return the trace of a group's line through points, each with what is told where a reader points at it."""
    color, symbol, dash = style_of(number)
    trace = {
        "type": "scatter",
        "mode": "lines+markers" if markers else "lines",
        "x": json_numbers(x),
        "y": json_numbers(y),
        "line": {"color": color, "dash": dash, "width": 2.5},
        "name": plotly_text(group.name),
        "hoverinfo": "text",
        "hovertext": [f"{hover_head(group)}{text}" for text in told],
        "meta": number,
    }
    return trace | ({"marker": {"color": color, "symbol": symbol, "size": 8}} if markers else {})


def band(number: int, x: np.ndarray, low: np.ndarray, high: np.ndarray) -> list[dict[str, Any]]:
    """Return the trace of an interval: an area, a bar for a single point, nothing where an end is not finite."""
    if not (np.isfinite(low).all() and np.isfinite(high).all()):
        return []
    color, _, _ = style_of(number)
    common = {"type": "scatter", "mode": "lines", "hoverinfo": "skip", "meta": number}
    if len(x) == 1:
        return [
            {
                **common,
                "x": json_numbers(np.repeat(x, 2)),
                "y": json_numbers(np.array([low[0], high[0]])),
                "line": {"color": color},
            }
        ]
    around = {"x": json_numbers(np.concatenate([x, x[::-1]])), "y": json_numbers(np.concatenate([high, low[::-1]]))}
    return [{**common, **around, "fill": "toself", "fillcolor": _faint(color), "line": {"width": 0}}]


def _faint(color: str) -> str:
    red, green, blue = (int(color[place : place + 2], 16) for place in (1, 3, 5))
    return f"rgba({red},{green},{blue},0.18)"
