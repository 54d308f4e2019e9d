"""How an agent does with fewer and more examples: the evaluations that `metarl evaluate RUN --shots` wrote."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from ..base.figures import legend_label
from ..base.text import with_noun
from ..evaluation.record import Evaluation
from .captions import caption
from .cells import MISSING, plain
from .columns import MEAN, Column
from .figures import add_legend, set_title
from .figures import style_of as figure_style
from .groups import Group
from .measured import measured
from .panel import Panel, Plot, axis, band, legend_of_drawn, line_of
from .rows import Row, level_cell, number_cell, table_of
from .table import Table

if TYPE_CHECKING:
    from matplotlib.figure import Figure

SHOTS = "Examples in the first round (of each class, where there are classes)"
"""Title of the axis of shots."""


def shots_table(groups: Sequence[Group]) -> Table:
    """Return the last round by the number of examples; no rows where agents were measured with one number alone."""
    found = {group.name + group.problem: by_shots(group, groups) for group in groups}
    what, all_shots = measured(groups), sorted({shots for each in found.values() for shots in each})
    columns = [
        Column(
            with_noun(shots, "shot"),
            f"{what.label} of the last round after so many examples, of each class if any: {MEAN}.",
        )
        for shots in all_shots
    ]
    rows: list[Row] = []
    for group in groups:
        if each := found[group.name + group.problem]:
            last = {shots: at.returns[..., -1] for shots, at in each.items()}
            rows.append((group, [level_cell(group, last[n]) if n in last else MISSING for n in all_shots]))
    statistic = (
        f"{what.title} of the last round by the number of examples, of each class where there are classes: means."
    )
    return table_of("shots", "By shots", statistic, columns, rows, groups)


def by_shots(group: Group, groups: Sequence[Group]) -> Mapping[int, Group]:
    """Return the group as it was measured with each number of examples, ascending; {} where that is one number alone.

    A trained group needs each number for every seed. `groups` are all of the page, whose runs hold a reference's files.
    """
    runs = group.runs or [run for each in groups if each.problem == group.problem for run in each.runs]
    found: dict[int, list[Evaluation]] = {}
    for run in runs:
        for _, evaluation in run.by_shots:
            if evaluation.label == group.evaluations[0].label:
                _add_new(found.setdefault(evaluation.settings["shots"], []), evaluation)
    complete = {shots: each for shots, each in found.items() if not group.runs or len(each) == len(group.runs)}
    own = group.evaluations[0].settings.get("shots")
    if not complete or own is None:
        return {}
    complete[own] = list(group.evaluations)
    if len(complete) == 1:
        return {}
    return {shots: replace(group, evaluations=complete[shots]) for shots in sorted(complete)}


def _add_new(found: list[Evaluation], evaluation: Evaluation) -> None:
    """Add an evaluation, unless another run has the same of an untrained reference."""
    trained = evaluation.agent.trained is not None
    if trained or not any(np.array_equal(each.returns, evaluation.returns, equal_nan=True) for each in found):
        found.append(evaluation)


def _curve(group: Group, groups: Sequence[Group]) -> tuple[np.ndarray, np.ndarray, np.ndarray] | None:
    """Return shots, means and intervals [shots, 2] of the last round; None for one number of shots alone."""
    found = by_shots(group, groups)
    if not found:
        return None
    last = [each.returns[..., -1] for each in found.values()]
    ends = np.stack([group.mean_interval_of(each).clip(*group.bounds) for each in last])
    return np.array(list(found), dtype=np.float64), np.array([each.mean() for each in last]), ends


def shots_panel(groups: Sequence[Group]) -> Panel | None:
    """Return the panel of the last round by examples on one problem; None where no agent has several numbers."""
    traces: list[dict[str, Any]] = []
    for number, group in enumerate(groups):
        if (curve := _curve(group, groups)) is None:
            continue
        shots, means, ends = curve
        told = [
            f"{with_noun(int(n), 'shot')}<br>{group.measure.label} {plain(number_cell(mean, end))}"
            for n, mean, end in zip(shots, means, ends, strict=True)
        ]
        traces += [*band(number, shots, *ends.T), line_of(number, group, shots, means, told)]
    if not traces:
        return None
    what = measured(groups)
    title = f"{what.title} by shots on {groups[0].evaluations[0].title}"
    layout = {"xaxis": axis(SHOTS, rangemode="tozero"), "yaxis": axis(f"{what.title}, last round (mean)")}
    note = caption("Lines: means over seeds and tasks; bands: their intervals.", groups)
    return Panel(title, note, [Plot(title, traces, layout)], (), legend_of_drawn(groups, traces))


def shots_figure(groups: Sequence[Group]) -> Figure | None:
    """Return the figure of `shots_panel`."""
    from matplotlib.figure import Figure

    curves = [(n, group, curve) for n, group in enumerate(groups) if (curve := _curve(group, groups)) is not None]
    if not curves:
        return None
    figure = Figure(figsize=(7.2, 4.5), layout="constrained")
    axes = figure.subplots()
    for number, group, (shots, means, ends) in curves:
        color, marker, style = figure_style(number)
        axes.fill_between(shots, *ends.T, color=color, alpha=0.25, lw=0)
        axes.plot(shots, means, color=color, marker=marker, ls=style, mec="white", lw=2, label=legend_label(group.name))
    what = measured(groups)
    set_title(axes, f"{what.title} by shots on {groups[0].evaluations[0].title}")
    axes.set(xlabel=SHOTS, ylabel=f"{what.title}, last round (mean, 95 % interval)")
    return add_legend(figure, [group for _, group, _ in curves])
