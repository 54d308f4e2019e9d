"""Plots of single tasks: where in the space of tasks an agent does well, and where it fails."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..base.errors import MetarlError
from ..base.text import decimals_for, number_text
from ..evaluation.record import Evaluation
from ..families.load import load
from .groups import Group
from .plots import Choice, Option, Panel, Plot, axis, ends, look, numbers, safe

_MOST_NUMBERS = 32
"""Numbers of one parameter that can be chosen; of larger ones there are the mean, the least and the largest besides."""
_MOST_TOLD = 10
"""Numbers of a task, and rounds, that a hover text tells."""


@dataclass(frozen=True)
class Points:
    """The different tasks of a problem."""

    places: Mapping[str, np.ndarray]
    """What can be an axis, by label: numbers that are not the same in all tasks. [point]"""
    one_parameter: bool
    """Whether all of `places` are numbers of one parameter, which have a unit in common."""
    texts: Sequence[str]
    """What each is, for the hover text."""
    of: np.ndarray
    """Which of them each task of the evaluation is. [task]"""

    def mean(self, group: Group) -> np.ndarray:
        """Return the mean over seeds, and over tasks that are the same, of the return. [point, round]"""
        returns = group.returns.mean(axis=0)
        sums = np.zeros((len(self.texts), returns.shape[1]))
        np.add.at(sums, self.of, returns)
        return sums / np.bincount(self.of)[:, None]


def tasks_panel(groups: Sequence[Group]) -> Panel | None:
    """Return where in the space of tasks the agents do well, on one problem; None where all tasks are the same.

    One parameter that is a number: return against it. Two numbers: a map, coloured by return. Others: return against
    the one that is chosen.
    """
    points = different_tasks(groups[0].evaluations[0])
    if not points.places:
        return None
    scores = [points.mean(group) for group in groups]
    hovers = [_hovers(group, points, score) for group, score in zip(groups, scores, strict=True)]
    many = len(points.of) > len(points.texts)
    note = f"One point a task, mean over seeds{' and over tasks that are the same' if many else ''}; hover tells the task and every round."
    family = groups[0].evaluations[0].family
    if len(points.places) == 2:
        return _map(f"Return by task on {family}", note, groups, points, scores, hovers)
    return _scatter(f"Return by task on {family}", note, groups, points, scores, hovers)


def different_tasks(evaluation: Evaluation) -> Points:
    """Return the tasks of an evaluation, each once, with all that can be said of one by a number."""
    columns = {name: values.reshape(len(values), -1) for name, values in evaluation.tasks.values.items()}
    table = np.concatenate(list(columns.values()), axis=1)
    _, first, of = np.unique(table, axis=0, return_index=True, return_inverse=True)
    of, units = of.reshape(-1), _units(evaluation)
    places: dict[str, np.ndarray] = {}
    varying = []
    for name, values in columns.items():
        shape = evaluation.tasks.values[name].shape[1:]
        found = _numbers_of(name, shape, values[first])
        varying += [name] * bool(found)
        places |= {f"{label}{units[name]}": column for label, column in found.items()}
    times = np.bincount(of)
    texts = [
        "<br>".join(
            [
                *(_told(f"{name}{units[name]}", values[row]) for name, values in columns.items()),
                *([f"{count} tasks are this one"] if count > 1 else []),
            ]
        )
        for row, count in zip(first, times, strict=True)
    ]
    return Points(places, len(varying) == 1, texts, of)


def _numbers_of(name: str, shape: tuple[int, ...], values: np.ndarray) -> dict[str, np.ndarray]:
    """Return the numbers of a parameter [point, number] that differ between tasks, those that sum up many first."""
    count = values.shape[1]
    places = [", ".join(map(str, place)) for place in np.ndindex(*shape)][:_MOST_NUMBERS]
    singles = {f"{name}[{place}]" if place else name: values[:, n] for n, place in enumerate(places)}
    sums = {f"{name}, largest": values.max(1), f"{name}, mean": values.mean(1), f"{name}, smallest": values.min(1)}
    found = {**(sums if count > 2 else {}), **singles}
    return {label: column for label, column in found.items() if np.ptp(column) > 1e-12 * np.abs(column).max()}


def _units(evaluation: Evaluation) -> dict[str, str]:
    """Return each parameter's unit as it stands behind its name, '' where it has none or the family is not known here."""
    try:
        parameters = load(evaluation.family, **evaluation.settings).parameters
    except MetarlError:  # evaluated where a plug-in was installed that is not here
        parameters = {}
    units = {name: parameters[name].unit if name in parameters else "" for name in evaluation.tasks.values}
    return {name: f" ({unit})" if unit else "" for name, unit in units.items()}


def _told(label: str, values: np.ndarray) -> str:
    listed = ", ".join(f"{value:.4g}" for value in values[:_MOST_TOLD])
    more = f", ... ({len(values)} numbers)" if len(values) > _MOST_TOLD else ""
    return "<br>".join(textwrap.wrap(safe(f"{label}: {listed}{more}"), 48))


def _hovers(group: Group, points: Points, score: np.ndarray) -> list[str]:
    """Return what is said of each point: agent, task and the return of every round."""
    head = "".join(f"<b>{safe(line)}</b><br>" for line in textwrap.wrap(group.name, 40))
    decimals = max(0, decimals_for(score) - 1)
    shown = range(score.shape[1]) if score.shape[1] <= _MOST_TOLD else (0, score.shape[1] - 1)
    return [
        head + text + "".join(f"<br>round {n + 1}: {number_text(row[n], decimals)}" for n in shown)
        for text, row in zip(points.texts, score, strict=True)
    ]


def _scatter(
    title: str,
    note: str,
    groups: Sequence[Group],
    points: Points,
    scores: Sequence[np.ndarray],
    hovers: Sequence[list[str]],
) -> Panel:
    """Return the plot of the return against one number of the task, a marker for each group and point."""
    size = 9 if len(points.texts) <= 100 else 6 if len(points.texts) <= 500 else 4
    x_label, x = next(iter(points.places.items()))
    *_, (_, y_label, last) = rounds = _rounds(scores)
    traces = []
    for number, (values, group, hover) in enumerate(zip(last, groups, hovers, strict=True)):
        color, symbol, _ = look(number)
        traces.append(
            {
                "type": "scatter",
                "mode": "markers",
                "x": numbers(x),
                "y": numbers(values),
                "marker": {"color": color, "symbol": symbol, "size": size, "opacity": 0.75 if size > 4 else 0.5},
                "name": safe(group.name),
                "hoverinfo": "text",
                "hovertext": hover,
                "meta": number,
            }
        )
    layout = {"xaxis": axis(x_label), "yaxis": axis(y_label, tickformat=",")}
    choices = [*_against(points), *_return_of(rounds, scores)]
    legend = [(number, group.name) for number, group in enumerate(groups)]
    return Panel(title, note, [Plot(title, traces, layout)], choices, legend, "markers")


def _rounds(scores: Sequence[np.ndarray]) -> list[tuple[str, str, list[np.ndarray]]]:
    """Return each round's name, its axis and the groups' returns [point]; nothing of a group that has fewer rounds."""
    what, count = "Undiscounted return of an episode", max(score.shape[1] for score in scores)
    return [
        (
            f"round {n + 1}",
            f"{what}, round {n + 1}" if count > 1 else what,
            [score[:, n] if n < score.shape[1] else np.full(len(score), np.nan) for score in scores],
        )
        for n in range(count)
    ]


def _against(points: Points) -> list[Choice]:
    """Return the choice of the number of the task that is the axis, where there is one."""
    first = next(iter(points.places))
    options = [
        Option(label, [{"style": {"x": [numbers(x)]}, "layout": {"xaxis.title.text": safe(label)}}], label == first)
        for label, x in points.places.items()
    ]
    return [Choice("Against", options)] if len(options) > 1 else []


def _return_of(rounds: Sequence[tuple[str, str, list[np.ndarray]]], scores: Sequence[np.ndarray]) -> list[Choice]:
    """Return the choice of the round, or of what adaptation gained, where there are several rounds."""
    if len(rounds) == 1:
        return []
    gain = ("gain", "Return, last round less first", [score[:, -1] - score[:, 0] for score in scores])
    options = [
        Option(
            name,
            [{"style": {"y": [numbers(each) for each in values]}, "layout": {"yaxis.title.text": y_label}}],
            name == rounds[-1][0],
        )
        for name, y_label, values in (*rounds, gain)
    ]
    return [Choice("Return of", options)]


def _map(
    title: str,
    note: str,
    groups: Sequence[Group],
    points: Points,
    scores: Sequence[np.ndarray],
    hovers: Sequence[list[str]],
) -> Panel:
    """Return a map for each group of tasks of two numbers; one scale of colours for all maps and rounds."""
    *_, (_, _, last) = rounds = _rounds(scores)
    (x_label, x), (y_label, y) = points.places.items()
    low, high = ends(scores)
    side = max(5.0, min(20.0, 180 / math.sqrt(len(x))))
    plots = []
    for values, group, hover in zip(last, groups, hovers, strict=True):
        marker = {
            "color": numbers(values),
            "colorscale": "Viridis",
            "cmin": low,
            "cmax": high if high > low else low + 1,
            "size": side,
            "line": {"color": "rgba(0,0,0,0.35)", "width": 0.5},
            "colorbar": {
                "thickness": 10,
                "outlinewidth": 0,
                "tickformat": ",",
                "title": {"text": "return", "side": "right"},
            },
        }
        trace = {"type": "scatter", "mode": "markers", "x": numbers(x), "y": numbers(y), "marker": marker}
        trace |= {"name": safe(group.name), "hoverinfo": "text", "hovertext": hover}
        layout: dict[str, Any] = {
            "xaxis": axis(x_label, zeroline=False),
            "yaxis": axis(y_label, zeroline=False),
            "height": 330,
        }
        if points.one_parameter:
            layout["yaxis"] |= {"scaleanchor": "x", "constrain": "domain"}
            layout["xaxis"] |= {"constrain": "domain"}
        plots.append(Plot(group.name, [trace], layout))
    options = [
        Option(
            name,
            [{"style": {"marker.color": [numbers(each)]}, "layout": {}} for each in values],
            name == rounds[-1][0],
        )
        for name, _, values in rounds
    ]
    return Panel(title, note, plots, [Choice("Return of", options)] if len(options) > 1 else [])
