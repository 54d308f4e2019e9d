"""The panel of results by task: where in the space of tasks an agent does well, and where it fails."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..base.errors import MetarlError
from ..base.text import number_text
from ..evaluation.record import Evaluation
from ..families.distributions import Labels, Subset
from ..families.family import FAMILIES
from ..families.load import load
from ..families.task import Parameter
from .captions import protocol_sentence
from .escape import plotly_text
from .groups import Group
from .measured import measured
from .panel import Choice, Option, Panel, Plot, axis, finite_range, json_numbers, legend_of, style_of
from .rows import page_decimals

_MOST_NUMBERS = 32
"""Numbers of one parameter that the reader can choose, beside its mean, least and largest."""
_MOST_LISTED = 10
"""Numbers of a task, and rounds, that a hover text lists."""


@dataclass(frozen=True)
class Points:
    """The different tasks of a problem."""

    places: Mapping[str, np.ndarray]
    """Numbers that can be an axis, by label: those that differ between tasks. [point]"""
    one_parameter: bool
    """Whether all of `places` belong to one parameter, so that they share a unit."""
    texts: Sequence[str]
    """Description of each for the hover text."""
    of: np.ndarray
    """Number of the point of each task of the evaluation. [task]"""

    def mean(self, group: Group) -> np.ndarray:
        """Return the measure, mean over seeds and over equal tasks. [point, round]"""
        returns = group.returns.mean(axis=0)
        sums = np.zeros((len(self.texts), returns.shape[1]))
        np.add.at(sums, self.of, returns)
        return sums / np.bincount(self.of)[:, None]


@dataclass(frozen=True)
class _Tasks:
    """The content of a panel of tasks."""

    title: str
    """Heading."""
    note: str
    """Caption."""
    groups: Sequence[Group]
    """Groups of one problem."""
    points: Points
    """Its different tasks."""
    scores: Sequence[np.ndarray]
    """Mean of each group. [point, round]"""
    hovers: Sequence[list[str]]
    """Hover texts of each group. [point]"""


def tasks_panel(groups: Sequence[Group]) -> Panel | None:
    """Return the panel of the measure by task on one problem; None where all tasks are the same.

    Tasks of two numbers are a map, coloured by the measure. Others are drawn against one number, which the reader
    chooses where there are several.
    """
    points = different_tasks(groups[0].evaluations[0])
    if not points.places:
        return None
    scores = [points.mean(group) for group in groups]
    hovers = [_hovers(group, points, score) for group, score in zip(groups, scores, strict=True)]
    equal = " and over equal tasks" if len(points.of) > len(points.texts) else ""
    note = f"One point a task: mean over seeds{equal}. Point at it for its parameters and every round."
    title = f"{measured(groups).title} by task on {groups[0].evaluations[0].title}"
    what = _Tasks(title, f"{note} {protocol_sentence(groups)}", groups, points, scores, hovers)
    return _map(what) if len(points.places) == 2 else _scatter(what)


def different_tasks(evaluation: Evaluation) -> Points:
    """Return the different tasks of an evaluation, each once. What is drawn from a `Subset` is no place of theirs."""
    columns = {name: values.reshape(len(values), -1) for name, values in evaluation.tasks.values.items()}
    table = np.concatenate([np.zeros((evaluation.num_tasks, 1)), *columns.values()], axis=1)  # also without parameters
    _, first, of = np.unique(table, axis=0, return_index=True, return_inverse=True)
    of, parameters = of.reshape(-1), _parameters(evaluation)
    units = {name: f" ({p.unit})" if (p := parameters.get(name)) and p.unit else "" for name in columns}
    places: dict[str, np.ndarray] = {}
    varying = []
    for name, values in columns.items():
        shape = evaluation.tasks.values[name].shape[1:]
        # Numbers of classes have no order in which a return could rise or fall.
        named = name in parameters and isinstance(parameters[name].train, Subset)
        found = {} if named else _numbers_of(name, shape, values[first])
        varying += [name] * bool(found)
        places |= {f"{label}{units[name]}": column for label, column in found.items()}
    times = np.bincount(of)
    texts = [
        "<br>".join(
            [
                *(_parameter_text(f"{n}{units[n]}", values[row], parameters.get(n)) for n, values in columns.items()),
                *([f"{count} tasks are equal"] if count > 1 else []),
            ]
        )
        for row, count in zip(first, times, strict=True)
    ]
    return Points(places, len(varying) == 1, texts, of)


def _numbers_of(name: str, shape: tuple[int, ...], values: np.ndarray) -> dict[str, np.ndarray]:
    """Return the numbers of a parameter [point, number] that differ between tasks, by label; summaries come first."""
    count = values.shape[1]
    places = [", ".join(map(str, place)) for place in np.ndindex(*shape)][:_MOST_NUMBERS]
    singles = {f"{name}[{place}]" if place else name: values[:, n] for n, place in enumerate(places)}
    sums = {f"{name}, largest": values.max(1), f"{name}, mean": values.mean(1), f"{name}, smallest": values.min(1)}
    found = {**(sums if count > 2 else {}), **singles}
    return {label: column for label, column in found.items() if np.ptp(column) > 1e-12 * np.abs(column).max()}


_PATHS = ("folder", "file")
"""Settings of families that name files to read."""


def _parameters(evaluation: Evaluation) -> Mapping[str, Parameter]:
    """Return the family's parameters, none where it is not installed."""
    # By its registered name only: a file names neither code nor other files. Settings of its own would be arguments.
    leads_elsewhere = {"name", "preset"} & evaluation.settings.keys() or any(map(evaluation.settings.get, _PATHS))
    known = evaluation.family in list(FAMILIES) and not leads_elsewhere
    try:
        return load(evaluation.family, **evaluation.settings).parameters if known else {}
    except MetarlError:  # settings of another version
        return {}


def _parameter_text(label: str, values: np.ndarray, parameter: Parameter | None) -> str:
    labels = parameter.train if parameter is not None and isinstance(parameter.train, Labels) else None
    listed = ", ".join(labels.word(v) if labels else f"{v:.4g}" for v in values[:_MOST_LISTED])
    more = f", ... ({len(values)} numbers)" if len(values) > _MOST_LISTED else ""
    return "<br>".join(map(plotly_text, textwrap.wrap(f"{label}: {listed}{more}", 48)))


def _hovers(group: Group, points: Points, score: np.ndarray) -> list[str]:
    """Return the hover text of each point: agent, task and the measure of every round."""
    head = "".join(f"<b>{plotly_text(line)}</b><br>" for line in textwrap.wrap(group.name, 40))
    decimals = page_decimals(score)
    shown = range(score.shape[1]) if score.shape[1] <= _MOST_LISTED else (0, score.shape[1] - 1)
    return [
        head + text + "".join(f"<br>round {n + 1}: {number_text(row[n], decimals)}" for n in shown)
        for text, row in zip(points.texts, score, strict=True)
    ]


def _scatter(what: _Tasks) -> Panel:
    """Return the plot of the measure against one number of the task, with a marker for each group and point."""
    rounds = _rounds(what)
    *_, (_, y_label, last) = rounds
    traces = [
        _scatter_trace(what.points, number, group, values, hover)
        for number, (values, group, hover) in enumerate(zip(last, what.groups, what.hovers, strict=True))
    ]
    layout = {"xaxis": axis(next(iter(what.points.places))), "yaxis": axis(y_label, tickformat=",")}
    choices = [*_choice_of_axis(what.points), *_choice_of_round(rounds, what)]
    return Panel(what.title, what.note, [Plot(what.title, traces, layout)], choices, legend_of(what.groups), "markers")


def _scatter_trace(
    points: Points, number: int, group: Group, values: np.ndarray, hover: Sequence[str]
) -> dict[str, Any]:
    size = 9 if len(points.texts) <= 100 else 6 if len(points.texts) <= 500 else 4
    color, symbol, _ = style_of(number)
    return {
        "type": "scatter",
        "mode": "markers",
        "x": json_numbers(next(iter(points.places.values()))),
        "y": json_numbers(values),
        "marker": {"color": color, "symbol": symbol, "size": size, "opacity": 0.75 if size > 4 else 0.5},
        "name": plotly_text(group.name),
        "hoverinfo": "text",
        "hovertext": hover,
        "meta": number,
    }


def _rounds(shown: _Tasks) -> list[tuple[str, str, list[np.ndarray]]]:
    """Return for each round its name, title of the axis, and numbers of each group [point], NaN beyond its rounds."""
    what, scores = measured(shown.groups).definition, shown.scores
    count = max(score.shape[1] for score in scores)
    return [
        (
            f"round {n + 1}",
            f"{what}, round {n + 1}" if count > 1 else what,
            [score[:, n] if n < score.shape[1] else np.full(len(score), np.nan) for score in scores],
        )
        for n in range(count)
    ]


def _choice_of_axis(points: Points) -> list[Choice]:
    """Return the menu of the number on the axis, none for a single number."""
    first = next(iter(points.places))
    options = [
        Option(
            label,
            [{"style": {"x": [json_numbers(x)]}, "layout": {"xaxis.title.text": plotly_text(label)}}],
            label == first,
        )
        for label, x in points.places.items()
    ]
    return [Choice("Against", options)] if len(options) > 1 else []


def _choice_of_round(rounds: Sequence[tuple[str, str, list[np.ndarray]]], what: _Tasks) -> list[Choice]:
    """Return the menu of the round, or of the gain, none for a single round."""
    if len(rounds) == 1:
        return []
    title = measured(what.groups).title
    gain = ("gain", f"{title}, last round less first", [score[:, -1] - score[:, 0] for score in what.scores])
    options = [
        Option(
            name,
            [{"style": {"y": [json_numbers(each) for each in values]}, "layout": {"yaxis.title.text": y_label}}],
            name == rounds[-1][0],
        )
        for name, y_label, values in (*rounds, gain)
    ]
    return [Choice(f"{title} of", options)]


def _map(what: _Tasks) -> Panel:
    """Return a map of the tasks for each group, with one scale of colours for all maps and rounds."""
    rounds = _rounds(what)
    *_, (_, _, last) = rounds
    plots = [
        Plot(group.name, [_map_trace(what, values, group, hover)], _map_layout(what.points))
        for values, group, hover in zip(last, what.groups, what.hovers, strict=True)
    ]
    options = [
        Option(
            name,
            [{"style": {"marker.color": [json_numbers(each)]}, "layout": {}} for each in values],
            name == rounds[-1][0],
        )
        for name, _, values in rounds
    ]
    choices = [Choice(f"{measured(what.groups).title} of", options)] if len(options) > 1 else []
    return Panel(what.title, what.note, plots, choices)


def _map_trace(what: _Tasks, values: np.ndarray, group: Group, hover: list[str]) -> dict[str, Any]:
    x, y = what.points.places.values()
    low, high = finite_range(what.scores)
    colorbar = {
        "thickness": 10,
        "outlinewidth": 0,
        "tickformat": ",",
        "title": {"text": plotly_text(measured(what.groups).label), "side": "right"},
    }
    marker = {
        "color": json_numbers(values),
        "colorscale": "Viridis",
        "cmin": low,
        "cmax": high if high > low else low + 1,
        "size": max(5.0, min(20.0, 180 / math.sqrt(len(x)))),
        "line": {"color": "rgba(0,0,0,0.35)", "width": 0.5},
        "colorbar": colorbar,
    }
    trace = {"type": "scatter", "mode": "markers", "x": json_numbers(x), "y": json_numbers(y), "marker": marker}
    return trace | {"name": plotly_text(group.name), "hoverinfo": "text", "hovertext": hover}


def _map_layout(points: Points) -> dict[str, Any]:
    x_label, y_label = points.places
    layout: dict[str, Any] = {
        "xaxis": axis(x_label, zeroline=False),
        "yaxis": axis(y_label, zeroline=False),
        "height": 330,
    }
    if points.one_parameter:  # one unit on both axes
        layout["yaxis"] |= {"scaleanchor": "x", "constrain": "domain"}
        layout["xaxis"] |= {"constrain": "domain"}
    return layout
