"""What agents gain in one objective and lose in another: the same agents with other settings of the family.

`metarl evaluate RUN family.weights=[1,0,0]` wrote the evaluations. A family says which outcomes are its objectives.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import combinations
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from ..base.figures import legend_label
from ..evaluation.pareto import pareto_front
from ..evaluation.record import Evaluation
from .captions import caption
from .cells import Number, Text, plain
from .columns import MEAN, Column
from .escape import plotly_text
from .figures import add_legend, set_title
from .figures import style_of as figure_style
from .groups import Group
from .panel import Panel, Plot, axis, hover_head, json_numbers, legend_of_drawn, style_of
from .rows import mean_cell, table_of
from .runs import family_changes
from .table import Table

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_FRONT = "No other row has means at least as high in every objective, and higher in one."


class Point(NamedTuple):
    """One agent with one choice of the family's settings."""

    number: int
    """Number of its group on the page."""
    group: Group
    """The agent, with its evaluations in these settings."""
    settings: str
    """The settings, as the command line takes them."""
    values: np.ndarray
    """Objectives in the last round. [seed, task, objective]"""

    @property
    def means(self) -> np.ndarray:
        """Mean of each objective over seeds and tasks. [objective]"""
        return self.values.mean(axis=(0, 1))


class TradeOffs(NamedTuple):
    """The points of a page, all of one problem."""

    objectives: Sequence[str]
    """Names of the outcomes, at least two."""
    points: Sequence[Point]
    """At least two: one alone trades nothing."""

    @property
    def on_front(self) -> np.ndarray:
        """Whether each point is on the Pareto front of all. bool [point]"""
        return pareto_front(np.stack([point.means for point in self.points]))

    @property
    def choices(self) -> list[str]:
        """The different settings, in the order of the page."""
        return list(dict.fromkeys(point.settings for point in self.points))


def trade_offs(groups: Sequence[Group]) -> TradeOffs | None:
    """Return the points of agents on one problem that were evaluated with other settings; None for fewer than two."""
    objectives = [name for name, told in groups[0].evaluations[0].outcomes.items() if told.objective]
    if len(objectives) < 2:
        return None
    points = [
        Point(number, each, settings, values)
        for number, group in enumerate(groups)
        for settings, each in _by_settings(group, groups).items()
        if (values := _objectives_of(each, objectives)) is not None
    ]
    return TradeOffs(objectives, points) if len(points) > 1 else None


def _by_settings(group: Group, groups: Sequence[Group]) -> Mapping[str, Group]:
    """Return the group as it was evaluated with each choice of other settings; a trained one needs it for every seed.

    `groups` are all of the problem, whose runs hold a reference's files.
    """
    runs = group.runs or [run for each in groups for run in each.runs]
    own = group.evaluations[0]
    found: dict[str, list[Evaluation]] = {}
    for run in runs:
        for _, evaluation in run.changed:
            if evaluation.label == own.label:
                members = found.setdefault(" ".join(family_changes(evaluation, own)), [])
                known = any(np.array_equal(each.returns, evaluation.returns, equal_nan=True) for each in members)
                if group.runs or not known:  # beside every run a reference that draws nothing has the same numbers
                    members.append(evaluation)
    return {
        settings: replace(group, evaluations=each)
        for settings, each in sorted(found.items(), reverse=True)
        if not group.runs or len(each) == len(group.runs)
    }


def _objectives_of(group: Group, names: Sequence[str]) -> np.ndarray | None:
    """Return the objectives of the last round, [seed, task, objective]; None where one of them is missing."""
    told = [
        [each.outcomes[name].told[..., -1] for name in names if name in each.outcomes] for each in group.evaluations
    ]
    if any(len(each) < len(names) for each in told):
        return None
    values = np.stack([np.stack(each, axis=-1) for each in told])
    return None if np.isnan(values).any() else values


def trade_off_table(groups: Sequence[Group]) -> Table:
    """Return the objectives of each agent with each choice of settings; no rows where there are not two or more."""
    problems: dict[str, list[Group]] = {}
    for group in groups:
        problems.setdefault(group.problem, []).append(group)
    found = [each for alike in problems.values() if (each := trade_offs(alike)) is not None]
    names = list(dict.fromkeys(name for each in found for name in each.objectives))
    columns = [
        Column("settings", "Settings of the family, in which it differs from that of the other tables."),
        *(Column(name, f"{MEAN}.") for name in names),
        Column("on the front", _FRONT),
    ]
    rows = [
        (point.group, _cells(point, each.objectives, names, bool(on_front)))
        for each in found
        for point, on_front in zip(each.points, each.on_front, strict=True)
    ]
    statistic = "Objectives of the last round: means over seeds and tasks. The front is that of the means."
    return table_of("trade-offs", "Trade-offs", statistic, columns, rows, groups)


def _cells(point: Point, objectives: Sequence[str], names: Sequence[str], on_front: bool) -> list[Number | Text]:
    own = {name: mean_cell(point.group, point.values[..., k]) for k, name in enumerate(objectives)}
    return [Text(point.settings), *(own.get(name, Text("-")) for name in names), Text("yes" if on_front else "no")]


def trade_off_figure(groups: Sequence[Group]) -> Figure | None:
    """Return the figure of each pair of objectives; None where no agent was evaluated with other settings."""
    from matplotlib.figure import Figure

    found = trade_offs(groups)
    if found is None:
        return None
    pairs = list(combinations(range(len(found.objectives)), 2))
    figure = Figure(figsize=(max(7.2, 4.4 * len(pairs)), 4.6), layout="constrained")
    for axes, (first, second) in zip(np.ravel(figure.subplots(1, len(pairs))), pairs, strict=True):
        _draw_pair(axes, found, first, second)
    choices = [f"{n}: {settings}" for n, settings in enumerate(found.choices, start=1)]
    lines = ["Filled: on the front", *(";  ".join(choices[n : n + 4]) for n in range(0, len(choices), 4))]
    figure.suptitle("\n".join(lines), fontsize=8, x=0.01, ha="left")
    drawn = list(dict.fromkeys(point.number for point in found.points))
    for number in drawn:  # markers of the legend are filled, whatever the first point of an agent is
        color, marker, _ = figure_style(number)
        axes.plot([], [], marker=marker, color=color, ls="", ms=8, label=legend_label(groups[number].name))
    return add_legend(figure, [groups[number] for number in drawn])


def _draw_pair(axes: Axes, found: TradeOffs, first: int, second: int) -> None:
    for point, on_front in zip(found.points, found.on_front, strict=True):
        color, marker, _ = figure_style(point.number)
        place = (float(point.means[first]), float(point.means[second]))
        axes.plot(*place, marker=marker, color=color, ls="", ms=8, mfc=color if on_front else "white")
        number = str(found.choices.index(point.settings) + 1)
        axes.annotate(number, place, xytext=(6, 3), textcoords="offset points", fontsize=8, color=color)
    set_title(axes, f"{found.objectives[second]} against {found.objectives[first]}")
    axes.set(xlabel=f"{found.objectives[first]} (mean)", ylabel=f"{found.objectives[second]} (mean)")


def trade_off_panel(groups: Sequence[Group]) -> Panel | None:
    """Return the panel of each pair of objectives on one problem; None where there are fewer than two points."""
    found = trade_offs(groups)
    if found is None:
        return None
    plots = [
        Plot(
            f"{found.objectives[second]} against {found.objectives[first]}",
            _traces(found, first, second),
            {
                "xaxis": axis(f"{found.objectives[first]} (mean)"),
                "yaxis": axis(f"{found.objectives[second]} (mean)"),
            },
        )
        for first, second in combinations(range(len(found.objectives)), 2)
    ]
    note = caption(f"Markers: means over seeds and tasks; filled: on the front. {_FRONT}", groups, intervals=False)
    legend = legend_of_drawn(groups, plots[0].traces)
    return Panel(f"Trade-offs on {groups[0].evaluations[0].title}", note, plots, (), legend, "markers")


def _traces(found: TradeOffs, first: int, second: int) -> list[dict[str, Any]]:
    """Return a trace for each agent."""
    traces = []
    for number in dict.fromkeys(point.number for point in found.points):
        mine = [n for n, point in enumerate(found.points) if point.number == number]
        points, means = [found.points[n] for n in mine], np.stack([found.points[n].means for n in mine])
        color, symbol, _ = style_of(number)
        symbols = [symbol if on_front else f"{symbol}-open" for on_front in found.on_front[mine]]
        traces.append(
            {
                "type": "scatter",
                "mode": "markers",
                "x": json_numbers(means[:, first]),
                "y": json_numbers(means[:, second]),
                "marker": {"color": color, "symbol": symbols, "size": 10},
                "name": plotly_text(points[0].group.name),
                "hoverinfo": "text",
                "hovertext": [_told(point, found.objectives) for point in points],
                "meta": number,
            }
        )
    return traces


def _told(point: Point, objectives: Sequence[str]) -> str:
    numbers = [f"{name} {plain(mean_cell(point.group, point.values[..., k]))}" for k, name in enumerate(objectives)]
    return "<br>".join([f"{hover_head(point.group)}{plotly_text(point.settings)}", *numbers])
