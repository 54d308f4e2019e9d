"""The panel of validations during training on a page of HTML."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..base.text import number_text
from .captions import training_sentence
from .escape import plotly_text
from .groups import Group
from .measured import measured
from .panel import Choice, Option, Panel, Plot, axis, hover_head, json_numbers, legend_of, style_of
from .rows import page_decimals

STEPS, MINUTES, BEFORE, AFTER = 1, 2, 3, 4
"""Columns of a curve beside the update, which is its first."""
_X_TITLES = {STEPS: "Environment steps of training", MINUTES: "Minutes of rollouts and updates (wall clock)"}


@dataclass(frozen=True)
class _Line:
    """One line of the plot."""

    number: int
    """Number of its group."""
    group: Group
    """Its group."""
    curve: np.ndarray
    """Update, env steps, minutes, measure before and after adaptation. [validation, 5]"""
    bold: bool
    """Whether it is the mean over seeds, not a single seed."""


def learning_panel(groups: Sequence[Group]) -> Panel | None:
    """Return the panel of validations on one problem against steps or minutes of training; None without any."""
    lines = [line for number, group in enumerate(groups) for line in _lines(number, group)]
    if not lines:
        return None
    what = measured(groups)
    y_titles = {n: f"Validation {what.label} (IQM), {at} round" for n, at in ((AFTER, "last"), (BEFORE, "first"))}
    title = f"Meta-training on {groups[0].evaluations[0].title}"
    layout = {
        "xaxis": axis(_X_TITLES[STEPS], rangemode="tozero"),
        "yaxis": axis(y_titles[AFTER], tickformat=","),
    }
    plot = Plot(title, [_trace(line) for line in lines], layout)
    choices = [
        _choice("Against", "x", {STEPS: "environment steps", MINUTES: "minutes"}, _X_TITLES, lines),
        _choice(f"{what.title} of", "y", {AFTER: "the last round", BEFORE: "the first round"}, y_titles, lines),
    ]
    note = f"{what.title} in validation tasks, which select checkpoints. Bold: mean over seeds; thin: each seed."
    drawn = {line.number for line in lines}
    legend = [entry for entry in legend_of(groups) if entry[0] in drawn]
    return Panel(title, f"{note} {training_sentence(groups)}", [plot], choices, legend)


def _choice(
    label: str, axis_name: str, labels: dict[int, str], titles: dict[int, str], lines: Sequence[_Line]
) -> Choice:
    """Return the menu of the columns that an axis can show, the first of which is chosen."""
    options: list[Option] = []
    for column, text in labels.items():
        style = {axis_name: [json_numbers(line.curve[:, column]) for line in lines]}
        change = {"style": style, "layout": {f"{axis_name}axis.title.text": titles[column]}}
        options.append(Option(text, [change], chosen=not options))
    return Choice(label, options)


def _lines(number: int, group: Group) -> list[_Line]:
    """Return the lines of a group: each seed where there are several, and their mean."""
    curves = [_validations(group, run) for run in range(len(group.runs))]
    lines = [_Line(number, group, curve, False) for curve in curves] if len(curves) > 1 else []
    lines += [_Line(number, group, _mean(curves), True)] if curves else []
    return [line for line in lines if len(line.curve)]


def _validations(group: Group, number: int) -> np.ndarray:
    """Return a run's validations: update, env steps, minutes, measure before and after adaptation. [validation, 5]"""
    run = group.runs[number]
    keys = ("validation/return_before", "validation/return_after")
    rows = [
        [line["update"], line["env_steps"], minutes, *(line[key] for key in keys)]
        for line, minutes in zip(run.metrics, run.minutes_by_update, strict=True)
        if all(key in line for key in keys)
    ]
    found = np.array(rows, dtype=np.float64).reshape(-1, 5)
    found[:, BEFORE:] = group.measure.tell(found[:, BEFORE:])
    return found


def _mean(curves: Sequence[np.ndarray]) -> np.ndarray:
    """Return the mean over runs of the validations at updates that all runs have. [validation, 5]"""
    shared = [update for update in curves[0][:, 0] if all(update in curve[:, 0] for curve in curves)]
    return np.mean([curve[np.isin(curve[:, 0], shared)] for curve in curves], axis=0)


def _trace(line: _Line) -> dict[str, Any]:
    curve, bold = line.curve, line.bold
    color, symbol, dash = style_of(line.number)
    trace: dict[str, Any] = {
        "type": "scatter",
        "mode": "lines+markers" if bold else "lines",
        "x": json_numbers(curve[:, STEPS]),
        "y": json_numbers(curve[:, AFTER]),
        "line": {"color": color, "dash": dash, "width": 2.5 if bold else 1},
        "name": plotly_text(line.group.name),
        "opacity": 1 if bold else 0.5,
        "hoverinfo": "text" if bold else "skip",
        "meta": line.number,
    }
    if bold:
        trace["marker"] = {"color": color, "symbol": symbol, "size": 7}
        decimals = page_decimals(curve[:, BEFORE:])
        trace["hovertext"] = [
            f"{hover_head(line.group)}update {update + 1:,.0f}: {steps:,.0f} env steps, {minutes:,.1f} minutes<br>"
            f"first round {number_text(before, decimals)}, last round {number_text(after, decimals)}"
            for update, steps, minutes, before, after in curve
        ]
    return trace
