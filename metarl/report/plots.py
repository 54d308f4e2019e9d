"""The plots of a page of HTML, as plotly.js takes them: dicts of traces and layout. Nothing here is drawn."""

from __future__ import annotations

import html
import math
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..base.text import counted, decimals_for, interval_text, number_text
from ..evaluation.figure import COLORS
from ..evaluation.measures import above, steps_before
from .groups import Group
from .step_axis import StepAxis, step_axis

SYMBOLS = ("circle", "square", "triangle-up", "diamond", "triangle-down", "triangle-left", "triangle-right")
"""Markers of plotly.js, one for each colour: those of the pictures."""
DASHES = ("solid", "dash", "dot", "dashdot", "longdash")
"""Line styles of plotly.js."""
_LEVELS = 101
"""Returns at which a profile is drawn."""


@dataclass(frozen=True)
class Plot:
    """One set of axes."""

    title: str
    """What it shows, in plain text."""
    traces: Sequence[dict[str, Any]]
    """Traces of plotly.js; `meta` is the number of the group that one belongs to."""
    layout: dict[str, Any]
    """Layout of plotly.js, without what all plots of the page have in common."""


@dataclass(frozen=True)
class Option:
    """One of the values of a choice."""

    label: str
    """What the reader chooses by."""
    changes: Sequence[dict[str, Any]]
    """For each plot of the panel `style`, as Plotly.restyle takes it for all traces, and `layout`, as Plotly.relayout does."""
    chosen: bool = False
    """Whether the plots begin with it."""


@dataclass(frozen=True)
class Choice:
    """What the reader can choose of a panel."""

    label: str
    """What is chosen, in plain text."""
    options: Sequence[Option]
    """Its values; one of them is chosen."""


@dataclass(frozen=True)
class Panel:
    """Plots that belong together, with the choices that change all of them."""

    title: str
    """Heading, in plain text."""
    note: str
    """What is to be seen, in plain text."""
    plots: Sequence[Plot]
    """At least one."""
    choices: Sequence[Choice] = ()
    """What changes all plots."""
    legend: Sequence[tuple[int, str]] = ()
    """Number and name of each group that can be hidden; empty where each plot is of one group."""
    drawn: str = "lines+markers"
    """What stands for a group: `lines`, `markers` or both."""


def look(number: int) -> tuple[str, str, str]:
    """Return colour, marker and line style of a problem's group by its number."""
    again, first = divmod(number, len(COLORS))
    symbol = (first + 3 * again) % len(SYMBOLS)
    # A symbol that comes again has another line: both tell all groups apart in print without colours.
    return COLORS[first], SYMBOLS[symbol], DASHES[(symbol + 2 * again) % len(DASHES)]


def safe(text: str) -> str:
    """Return plain text so that plotly.js, which takes some tags and entities for HTML, shows it as it is."""
    return html.escape(text, quote=False)


def numbers(values: np.ndarray) -> list[float | None]:
    """Return values for JSON to six digits, those that are not finite as None: plotly.js leaves a gap there."""
    return [float(f"{value:.6g}") if math.isfinite(value) else None for value in values]


def ends(values: Sequence[np.ndarray]) -> tuple[float, float]:
    """Return the least and the largest of all that are finite; 0 and 1 where none is."""
    every = np.concatenate([each.reshape(-1) for each in values])
    every = every[np.isfinite(every)]
    return (float(every.min()), float(every.max())) if len(every) else (0.0, 1.0)


def axis(title: str, **more: Any) -> dict[str, Any]:
    """Return an axis with its title, in plain text."""
    return {"title": {"text": safe(title)}, "automargin": True, **more}


def _names(groups: Sequence[Group]) -> list[tuple[int, str]]:
    return [(number, group.name) for number, group in enumerate(groups)]


def adaptation_panel(groups: Sequence[Group]) -> Panel:
    """Return how the agents adapt: IQM with its interval against environment steps spent, on one problem."""
    first = groups[0].evaluations[0]
    seen = "" if all(group.evaluations[0].unseen for group in groups) else " (not unseen)"
    note = f"{counted(first.num_tasks, f'{first.split} task')}{seen}. IQM over training seeds and tasks, with its 95 % interval"
    if all(group.returns.shape[-1] == 1 for group in groups):
        return Panel(
            f"Return on {first.family}",
            f"{note}. Trials have one round.",
            [_single_round(groups)],
            (),
            _names(groups),
            "markers",
        )
    scale = step_axis([steps_before(group.env_steps) for group in groups])
    traces = [trace for number, group in enumerate(groups) for trace in _adaptation(number, group, scale)]
    layout = {
        "xaxis": _steps(scale),
        "yaxis": axis("Undiscounted return of an episode", tickformat=","),
    }
    title = f"Adaptation on {first.family}"
    return Panel(title, f"{note} as a band.", [Plot(title, traces, layout)], (), _names(groups))


def _steps(scale: StepAxis) -> dict[str, Any]:
    end = float(scale.at(np.array([scale.furthest]))[0])
    ticks = scale.ticks()
    marks: dict[str, Any] = {"tickformat": ","}
    if ticks is not None:
        marks = {"tickvals": numbers(ticks[0]), "ticktext": ticks[1]}
    title = "Environment steps spent in the new task before the round" + (", by logarithm" if ticks else "")
    return axis(title, range=[-0.03 * end, 1.03 * end], zeroline=False, **marks)


def _adaptation(number: int, group: Group, scale: StepAxis) -> list[dict[str, Any]]:
    steps = steps_before(group.env_steps)
    places = scale.at(steps)
    color, symbol, dash = look(number)
    line = {
        "type": "scatter",
        "mode": "lines+markers",
        "x": numbers(places),
        "y": numbers(group.iqm),
        "line": {"color": color, "dash": dash, "width": 2.5},
        "marker": {"color": color, "symbol": symbol, "size": 9, "line": {"color": "white", "width": 1}},
        "name": safe(group.name),
        "hoverinfo": "text",
        "hovertext": [
            f"{_headed(group)}round {n + 1}, after {steps[n]:,.0f} env steps<br>{_with_interval(group.iqm[n], group.interval[n])}"
            for n in range(len(steps))
        ],
        "meta": number,
    }
    return [*_band(number, places, *group.interval.T), line]


def _single_round(groups: Sequence[Group]) -> Plot:
    """Return a row for each group: with one round there is no curve."""
    traces = []
    for number, group in enumerate(groups):
        color, symbol, _ = look(number)
        (value,), (ends,) = group.iqm, group.interval
        trace: dict[str, Any] = {
            "type": "scatter",
            "mode": "markers",
            "x": numbers(group.iqm),
            "y": [number],
            "marker": {"color": color, "symbol": symbol, "size": 9},
            "name": safe(group.name),
            "hoverinfo": "text",
            "hovertext": [f"{_headed(group)}{_with_interval(value, ends)}"],
            "meta": number,
        }
        if np.isfinite(ends).all():
            (above_it,), (below_it,) = numbers(ends[1:] - value), numbers(value - ends[:1])
            trace["error_x"] = {"type": "data", "symmetric": False, "array": [above_it], "arrayminus": [below_it]}
            trace["error_x"] |= {"color": color, "thickness": 2, "width": 6}
        traces.append(trace)
    names = ["<br>".join(map(safe, textwrap.wrap(group.name, 24))) for group in groups]
    layout = {
        "xaxis": axis("Undiscounted return of an episode (IQM)", tickformat=","),
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
    return Plot(f"Return on {groups[0].evaluations[0].family}", traces, layout)


def profile_panel(groups: Sequence[Group]) -> Panel:
    """Return performance profiles: the share of seeds and tasks whose last round is above each return, on one problem."""
    last = [group.returns[..., -1] for group in groups]
    levels = np.linspace(*ends(last), _LEVELS)
    traces = []
    for number, (group, returns) in enumerate(zip(groups, last, strict=True)):
        color, _, dash = look(number)
        cells = above(returns, levels)[:, None]
        shares = cells.mean(axis=(0, 1, 2))
        traces += _band(number, levels, *group.interval_beside(cells).clip(0, 1))
        traces.append(
            {
                "type": "scatter",
                "mode": "lines",
                "x": numbers(levels),
                "y": numbers(shares),
                "line": {"color": color, "dash": dash, "width": 2.5},
                "name": safe(group.name),
                "hoverinfo": "text",
                "hovertext": [
                    f"{_headed(group)}{share:.0%} are above {number_text(level, max(0, decimals_for(levels) - 1))}"
                    for share, level in zip(shares, levels, strict=True)
                ],
                "meta": number,
            }
        )
    layout = {
        "xaxis": axis("Undiscounted return of an episode, R", tickformat=","),
        "yaxis": axis("Share of seeds and tasks above R", tickformat=".0%", range=[-0.02, 1.02]),
    }
    title = f"Profile of the last round on {groups[0].evaluations[0].family}"
    note = "Higher is better. Where a curve lies above another everywhere, that agent is better at every quantile. Bands: 95 %."
    return Panel(title, note, [Plot(title, traces, layout)], (), _names(groups), "lines")


def learning_panel(groups: Sequence[Group]) -> Panel | None:
    """Return validation returns by environment steps and by minutes of training, on one problem; None where there are none."""
    traces: list[dict[str, Any]] = []
    axes: dict[str, list[Any]] = {"steps": [], "minutes": [], "before": [], "after": []}
    shown: list[tuple[int, str]] = []
    for number, group in enumerate(groups):
        curves = [_validations(group, n) for n in range(len(group.runs))]
        lines = [(curve, False) for curve in curves if len(curve)] if len(curves) > 1 else []
        lines += [(_mean(curves), True)] if curves else []
        lines = [(curve, bold) for curve, bold in lines if len(curve)]
        shown += [(number, group.name)] if lines else []
        for curve, bold in lines:
            traces.append(_learning_trace(number, group, curve, bold=bold))
            for name, values in zip(axes, curve.T[1:], strict=True):
                axes[name].append(numbers(values))
    if not traces:
        return None
    layout = {
        "xaxis": axis("Environment steps of training", rangemode="tozero"),
        "yaxis": axis("Validation return (IQM), last round", tickformat=","),
    }
    title = f"Meta-training on {groups[0].evaluations[0].family}"

    def option(label: str, key: str, name: str, text: str, chosen: bool = False) -> Option:
        return Option(label, [{"style": {key: axes[name]}, "layout": {f"{key}axis.title.text": text}}], chosen)

    y_text = "Validation return (IQM), {} round"
    against = [
        option("environment steps", "x", "steps", "Environment steps of training", True),
        option("minutes", "x", "minutes", "Minutes of rollouts and updates (wall clock)"),
    ]
    returns = [
        option("the last round", "y", "after", y_text.format("last"), True),
        option("the first round", "y", "before", y_text.format("first")),
    ]
    choices = [Choice("Against", against), Choice("Return of", returns)]
    note = "Tasks of the validation split, by which checkpoints are chosen. Bold: mean over seeds; thin: each seed."
    return Panel(title, note, [Plot(title, traces, layout)], choices, shown)


def _validations(group: Group, number: int) -> np.ndarray:
    """Return a run's validations: update, env steps, minutes, return before and after adaptation. [validation, 5]"""
    run = group.runs[number]
    keys = ("validation/return_before", "validation/return_after")
    rows = [
        [line["update"], line["env_steps"], minutes, *(line[key] for key in keys)]
        for line, minutes in zip(run.metrics, run.minutes_by_update, strict=True)
        if all(key in line for key in keys)
    ]
    return np.array(rows, dtype=np.float64).reshape(-1, 5)


def _mean(curves: Sequence[np.ndarray]) -> np.ndarray:
    """Return the mean of validations of the updates that all runs have."""
    shared = [update for update in curves[0][:, 0] if all(update in curve[:, 0] for curve in curves)]
    return np.mean([curve[np.isin(curve[:, 0], shared)] for curve in curves], axis=0)


def _learning_trace(number: int, group: Group, curve: np.ndarray, *, bold: bool) -> dict[str, Any]:
    color, symbol, dash = look(number)
    trace: dict[str, Any] = {
        "type": "scatter",
        "mode": "lines+markers" if bold else "lines",
        "x": numbers(curve[:, 1]),
        "y": numbers(curve[:, 4]),
        "line": {"color": color, "dash": dash, "width": 2.5 if bold else 1},
        "name": safe(group.name),
        "opacity": 1 if bold else 0.5,
        "hoverinfo": "text" if bold else "skip",
        "meta": number,
    }
    if bold:
        trace["marker"] = {"color": color, "symbol": symbol, "size": 7}
        decimals = max(0, decimals_for(curve[:, 3:]) - 1)
        trace["hovertext"] = [
            f"{_headed(group)}update {update + 1:,.0f}: {steps:,.0f} env steps, {minutes:,.1f} minutes<br>"
            f"first round {number_text(before, decimals)}, last round {number_text(after, decimals)}"
            for update, steps, minutes, before, after in curve
        ]
    return trace


def _band(number: int, x: np.ndarray, low: np.ndarray, high: np.ndarray) -> list[dict[str, Any]]:
    """Return the area of an interval, none where there is no interval; of a single point a bar."""
    if not (np.isfinite(low).all() and np.isfinite(high).all()):
        return []
    color, _, _ = look(number)
    common = {"type": "scatter", "mode": "lines", "hoverinfo": "skip", "meta": number}
    if len(x) == 1:
        return [
            {
                **common,
                "x": numbers(np.repeat(x, 2)),
                "y": numbers(np.array([low[0], high[0]])),
                "line": {"color": color},
            }
        ]
    around = {"x": numbers(np.concatenate([x, x[::-1]])), "y": numbers(np.concatenate([high, low[::-1]]))}
    return [{**common, **around, "fill": "toself", "fillcolor": _faint(color), "line": {"width": 0}}]


def _faint(color: str) -> str:
    red, green, blue = (int(color[place : place + 2], 16) for place in (1, 3, 5))
    return f"rgba({red},{green},{blue},0.18)"


def _headed(group: Group) -> str:
    """Return the first lines of a hover text: the group's name, bold, broken where it is long."""
    return "".join(f"<b>{safe(line)}</b><br>" for line in textwrap.wrap(group.name, 40))


def _with_interval(value: float, ends: np.ndarray) -> str:
    decimals = max(0, decimals_for(np.array([value, *ends])) - 1)
    return f"return {number_text(value, decimals)} {interval_text(ends, lambda end: number_text(end, decimals))}"
