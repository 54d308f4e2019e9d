"""Students beside their teachers: what `metarl evaluate RUN --teacher` wrote."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from ..base.figures import legend_label
from ..evaluation.agreement import Agreement
from .captions import training_sentence
from .cells import MAX_LENGTH, MISSING, Cell, Number, Text
from .columns import Column, Kind
from .figures import add_legend, set_title
from .figures import style_of as figure_style
from .groups import Group
from .panel import Panel, Plot, axis, legend_of_drawn, line_of
from .rows import page_decimals, table_of
from .table import Table

if TYPE_CHECKING:
    from matplotlib.figure import Figure

STEP = "Step of the trial"
"""Title of the axis of steps."""
AGREEMENT = "Steps in which the student did what its teacher would (%)"
"""Title of the axis of agreement."""


class Beside(NamedTuple):
    """A group of students beside its teachers."""

    number: int
    """Number of the group on the page."""
    group: Group
    """The students."""
    found: Sequence[Agreement]
    """One for each training seed."""

    @property
    def by_step(self) -> np.ndarray:
        """Agreement in percent, NaN where no episode lasted so long. [seed, step of the trial]"""
        told = [[share for of_round in each.shares for share in of_round] for each in self.found]
        return 100 * np.array(told, dtype=np.float64)

    @property
    def teacher(self) -> str:
        """The teacher's name; the number of names where seeds have teachers of other names."""
        names = list(dict.fromkeys(each.teacher for each in self.found))
        return names[0] if len(names) == 1 else f"{len(names)} runs"


def besides(groups: Sequence[Group]) -> list[Beside]:
    """Return the groups of which every run was measured beside its teacher, in the same trials."""
    found = []
    for number, group in enumerate(groups):
        known = [run.agreement for run in group.runs if run.agreement is not None]
        alike = all((each.plan, len(each.shares[0])) == (known[0].plan, len(known[0].shares[0])) for each in known)
        if known and len(known) == len(group.runs) and alike:
            found.append(Beside(number, group, known))
    return found


def teacher_table(groups: Sequence[Group]) -> Table:
    """Return what students have learned from their teachers, and what both cost; no rows without teachers."""
    columns = [
        Column("teacher", "Who taught.", kind=Kind.NAME),
        Column("agreement", "Share of steps in which the student did what its teacher would: mean over seeds."),
        Column("of seeds", "The least and the greatest share of a seed."),
        Column("parameters", "Numbers in the student's state."),
        Column("ms an action", "Median time of an action of the student, one world at a time."),
        Column("teacher's parameters", "Numbers in the state of all teachers; '-' for those that learn nothing."),
        Column("teacher's ms an action", "Median time of an action of a teacher, one world at a time."),
    ]
    found = besides(groups)
    rows = [(each.group, _cells(each)) for each in found]
    plans = [each.found[0].plan for each in found]
    tasks = " or ".join(dict.fromkeys(f"{plan.num_tasks} {plan.split}" for plan in plans))
    how = "deterministically" if plans and all(plan.deterministic for plan in plans) else "with exploration noise"
    statistic = (
        f"The student plays {tasks} tasks, {how}, and its teacher says at every step what it would do; in a box, "
        "actions agree within a tenth of its range. Times are of the machine that measured them, student and teacher "
        "one after the other: compare them within a row."
    )
    table = table_of("teachers", "By a teacher", statistic, columns, rows, groups)
    return replace(table, caption=f"{statistic} {training_sentence(groups)}")


def _cells(beside: Beside) -> list[Cell]:
    means = np.array([100 * each.mean for each in beside.found])
    sizes = [each.teachers.parameters for each in beside.found]
    known = [size for size in sizes if size is not None]
    return [
        Text(beside.teacher[:MAX_LENGTH]),
        Number(float(means.mean()), 1, unit="%"),
        Text(f"{means.min():.1f} to {means.max():.1f}%"),
        Number(float(np.mean([each.student.parameters or 0 for each in beside.found])), 0),
        _time([each.student.milliseconds for each in beside.found]),
        Number(float(np.mean(known)), 0) if known else MISSING,
        _time([each.teachers.milliseconds for each in beside.found]),
    ]


def _time(values: Sequence[float]) -> Number:
    mean = float(np.mean(values))
    return Number(mean, page_decimals(np.array([mean])) + 1)


def _title(groups: Sequence[Group]) -> str:
    return f"Students and teachers on {groups[0].evaluations[0].title}"


def agreement_figure(groups: Sequence[Group]) -> Figure | None:
    """Return the figure of agreement by step of the trial; None where no student was measured beside its teacher."""
    from matplotlib.figure import Figure

    found = besides(groups)
    if not found:
        return None
    figure = Figure(figsize=(7.2, 4.5), layout="constrained")
    axes = figure.subplots()
    for beside in found:
        color, _, style = figure_style(beside.number)
        shares = beside.by_step
        steps = np.arange(1, shares.shape[1] + 1)
        for each in shares if len(shares) > 1 else ():
            axes.plot(steps, each, color=color, ls=style, lw=0.7, alpha=0.45)
        label = legend_label(f"{beside.group.name}, taught by {beside.teacher}")
        axes.plot(steps, shares.mean(axis=0), color=color, ls=style, lw=2, label=label)
    set_title(axes, _title(groups))
    axes.set(xlabel=STEP, ylabel=AGREEMENT)
    return add_legend(figure, [beside.group for beside in found])


def agreement_panel(groups: Sequence[Group]) -> Panel | None:
    """Return the panel of agreement by step on one problem; None where no student was measured beside its teacher."""
    traces: list[dict[str, Any]] = []
    for beside in besides(groups):
        means = beside.by_step.mean(axis=0)
        known = ~np.isnan(means)
        steps = np.arange(1, len(means) + 1)[known]
        told = [f"step {step}<br>{share:.1f} %" for step, share in zip(steps, means[known], strict=True)]
        traces.append(line_of(beside.number, beside.group, steps, means[known], told, markers=False))
    if not traces:
        return None
    layout = {"xaxis": axis(STEP, rangemode="tozero"), "yaxis": axis(AGREEMENT)}
    note = f"Means over seeds. {training_sentence(groups)}"
    return Panel(_title(groups), note, [Plot(_title(groups), traces, layout)], (), legend_of_drawn(groups, traces))
