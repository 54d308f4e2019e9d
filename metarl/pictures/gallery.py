"""Pictures of families: the tasks of each split, and the worlds of a few tasks."""

from __future__ import annotations

import contextlib
import math
import textwrap
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ..base.figures import picture_suffix, save_figure
from ..base.streams import Streams
from ..evaluation.figure import COLORS, MARKERS
from ..families.distributions import Labels, LogUniform
from ..families.family import TaskFamily
from ..families.questions import asks_questions, require_questions
from ..families.spaces import draw_actions
from ..families.task import SPLITS, Parameter, Tasks
from ..families.vector import BatchedEnv
from ..families.words import in_words, warn_of_few_tasks
from .drawing import drawing, ink_box, nothing_drawn
from .examples import examples_figure

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.axis import Axis
    from matplotlib.figure import Figure, SubFigure

MOST_ELEMENTS = 16
"""Most elements of an array parameter that are drawn."""
MOST_BARS = 24
"""Most different values that are drawn as bars."""
MOST_PARAMETERS = 6
"""Most parameters of a task that are written above its picture."""
GREY = "0.4"

BySplit = Mapping[str, np.ndarray]
"""Values of one parameter by split. float64 [task, *shape]"""


def plot_tasks(family: TaskFamily, path: str | Path, num_tasks: int = 200) -> None:
    """Write a picture of the first tasks of each split (seed 0) to a .png or .svg file.

    Raises MetarlError for another suffix, and if the file cannot be written.
    """
    picture_suffix(path)
    save_figure(tasks_figure(family, num_tasks), path)


def plot_worlds(
    family: TaskFamily, path: str | Path, num_tasks: int = 6, split: str = "train", steps: int = 20
) -> None:
    """Write a picture of the worlds of the first tasks of a split (seed 0), after some random steps.

    Raises MetarlError for a suffix other than .png and .svg, an unknown split, a family or machine that draws nothing,
    and if the file cannot be written.
    """
    picture_suffix(path)
    save_figure(worlds_figure(family, num_tasks, split, steps), path)


def tasks_figure(family: TaskFamily, num_tasks: int = 200) -> Figure:
    """Return the figure of `plot_tasks`: a panel for each parameter, a colour for each split.

    Of a family of questions that draws its tasks, the first ones of each split.
    """
    from matplotlib.figure import Figure

    if asks_questions(family) and (asking := require_questions(family)).draws_tasks:
        return examples_figure(family, asking, num_tasks)
    drawn = {split: family.sample(split, num_tasks, seed=0).values for split in family.splits}
    panels = {name: {split: values[name] for split, values in drawn.items()} for name in family.parameters}
    sizes = [_size(panel) for panel in panels.values()]
    columns = 1 if any(width > 1 for width, _ in sizes) else min(3, len(sizes))
    rows = [sizes[i : i + columns] for i in range(0, len(sizes), columns)]
    heights = [max(height for _, height in row) for row in rows]
    width = 8.0 if columns == 1 else 4.6 * columns
    title = f"Tasks of {family.title}, {num_tasks:,} of each split{warn_of_few_tasks(family)}"
    title = textwrap.fill(title, round(width * 11))
    figure = Figure(figsize=(width, 0.4 + 0.2 * len(title.splitlines()) + sum(heights)), layout="constrained")
    cells = figure.subfigures(len(rows), columns, squeeze=False, height_ratios=heights).ravel()
    for cell, (name, panel) in zip(cells, panels.items(), strict=False):
        parameter = family.parameters[name]
        cell.suptitle(_caption(name, parameter, round(width / columns * 14)), x=0.01, ha="left", size=9, color=GREY)
        _painter(panel, parameter)(cell, panel, name, parameter)
    figure.suptitle(title, x=0.01, ha="left", weight="bold", size=11)
    return figure


def _shape(panel: BySplit) -> tuple[int, ...]:
    return panel["train"].shape[1:]


def _size(panel: BySplit) -> tuple[int, float]:
    """Return the columns and the height in inches of a panel."""
    if _shape(panel) == (2,):
        return 2, 1.1 + 6.8 / len(panel)
    return (1, 2.9) if _shape(panel) == () else (2, 3.1)


def _painter(panel: BySplit, parameter: Parameter) -> Callable[[SubFigure, BySplit, str, Parameter], None]:
    if _shape(panel) == (2,):
        return _draw_points
    if _shape(panel) != ():
        return _draw_elements
    different = len(np.unique(np.concatenate(list(panel.values()))))
    return _draw_strips if parameter.train.num_values is None or different > MOST_BARS else _draw_counts


def _caption(name: str, parameter: Parameter, width: int) -> str:
    """Return the meaning and the distribution of a parameter."""
    outside = "" if parameter.extrapolation is None else f"; extrapolation: {in_words(parameter.extrapolation)}"
    meaning = f"{name}: {parameter.meaning}" if parameter.meaning not in ("", name) else name
    lines = [meaning, f"{in_words(parameter.train)}{outside}"]
    return "\n".join(textwrap.fill(line, width) for line in lines)


def _with_unit(name: str, parameter: Parameter) -> str:
    return f"{name} ({parameter.unit})" if parameter.unit else name


def _is_logarithmic(parameter: Parameter) -> bool:
    return isinstance(parameter.train, LogUniform) and parameter.train.high > 10 * parameter.train.low


def _color(split: str) -> str:
    return COLORS[SPLITS.index(split)]


def _dot(num_tasks: int) -> float:
    """Return the size of a task's dot in points: large for few tasks."""
    return min(7.0, max(2.5, 36 / math.sqrt(num_tasks)))


def _label_decades(axis: Axis) -> None:
    """Label a logarithmic axis at 1, 2 and 5 in each decade, or only at the decades if there are many."""
    from matplotlib.ticker import LogLocator, NullFormatter

    low, high = axis.get_data_interval()
    axis.set_major_locator(LogLocator(subs=(1, 2, 5) if high < 2000 * low else (1,)))
    axis.set_major_formatter("{x:g}")
    axis.set_minor_formatter(NullFormatter())


def _undress(axes: Axes) -> None:
    axes.spines[["top", "right"]].set_visible(False)
    axes.tick_params(labelsize=9)
    axes.set_axisbelow(True)


def _draw_strips(figure: SubFigure, panel: BySplit, name: str, parameter: Parameter) -> None:
    """Draw numbers on a line for each split, and their density above it."""
    axes = figure.subplots()
    logarithmic = _is_logarithmic(parameter)
    for row, (split, values) in enumerate(panel.items()):
        if values.min() < values.max():
            edges = (np.geomspace if logarithmic else np.linspace)(values.min(), values.max(), 21)
            counts = np.histogram(values, edges)[0]
            height = np.append(0.55 * counts / counts.max(), 0)
            axes.fill_between(edges, -row, height - row, step="post", color=_color(split), alpha=0.45, lw=0)
        scatter = -row - 0.08 - 0.16 * np.mod(np.arange(len(values)) * 0.618034, 1)
        axes.plot(values, scatter, ".", color=_color(split), ms=_dot(len(values)), mew=0, alpha=0.8)
    if logarithmic:
        axes.set_xscale("log")
        _label_decades(axes.xaxis)
    axes.set_yticks(-np.arange(len(panel)), list(panel))
    axes.set_ylim(0.75 - len(panel) - 0.1, 0.65)
    axes.set_xlabel(_with_unit(name, parameter))
    axes.grid(axis="x", color="0.9", lw=0.8)
    axes.tick_params(axis="y", length=0)
    _undress(axes)
    axes.spines["left"].set_visible(False)


def _draw_counts(figure: SubFigure, panel: BySplit, name: str, parameter: Parameter) -> None:
    """Draw the number of tasks with each value in each split, as bars."""
    axes = figure.subplots()
    values = np.unique(np.concatenate(list(panel.values())))
    width = 0.8 / len(panel)
    for i, (split, drawn) in enumerate(panel.items()):
        counts = [int((drawn == value).sum()) for value in values]
        places = np.arange(len(values)) + (i - (len(panel) - 1) / 2) * width
        axes.bar(places, counts, 0.9 * width, color=_color(split), label=split)
    axes.set_xticks(np.arange(len(values)), [_tick(parameter, value) for value in values])
    axes.set_xlabel(_with_unit(name, parameter))
    axes.set_ylabel("tasks")
    axes.grid(axis="y", color="0.9", lw=0.8)
    axes.legend(frameon=False, fontsize=8, loc="center left", bbox_to_anchor=(1, 0.5))
    _undress(axes)


def _tick(parameter: Parameter, value: float) -> str:
    return parameter.train.word(value) if isinstance(parameter.train, Labels) else f"{value:.5g}"


def _draw_points(figure: SubFigure, panel: BySplit, name: str, parameter: Parameter) -> None:
    """Draw pairs of numbers as points, a plane for each split. Frequent points are larger."""
    planes = figure.subplots(1, len(panel), sharex=True, sharey=True, squeeze=False)[0]
    every = np.concatenate(list(panel.values()))
    extents = np.ptp(every, axis=0)
    for axes, (split, values) in zip(planes, panel.items(), strict=True):
        places, counts = np.unique(values, axis=0, return_counts=True)
        finite = parameter.train.num_values is not None
        sizes = 150 * counts / counts.max() if finite else np.full(len(places), _dot(len(values)) ** 2)
        marker = MARKERS[SPLITS.index(split)]
        axes.scatter(*places.T, s=sizes, marker=marker, color=_color(split), alpha=0.7, linewidths=0)
        if extents.max() < 5 * extents.min():
            axes.set_aspect("equal", adjustable="box")
        axes.set_title(split, size=10, color=_color(split))
        axes.grid(color="0.9", lw=0.8)
        _undress(axes)
        axes.set_xlabel(_with_unit(f"{name}[0]", parameter), size=9)
    if (every == np.round(every)).all():
        planes[0].locator_params(integer=True)
    planes[0].set_ylabel(_with_unit(f"{name}[1]", parameter), size=9)


def _draw_elements(figure: SubFigure, panel: BySplit, name: str, parameter: Parameter) -> None:
    """Draw each element of an array parameter as a strip of points for each split."""
    axes = figure.subplots()
    size = math.prod(_shape(panel))
    shown = min(size, MOST_ELEMENTS)
    width = 0.8 / len(panel)
    for i, (split, values) in enumerate(panel.items()):
        flat, offset = values.reshape(len(values), -1)[:, :shown], (i - (len(panel) - 1) / 2) * width
        if parameter.train.num_values is None:
            scatter = offset + 0.7 * (np.mod(np.arange(len(flat)) * 0.618034, 1) - 0.5) * width
            places, heights, sizes = np.arange(shown) + scatter[:, None], flat, np.array(0.5 * _dot(len(flat)) ** 2)
        else:  # a dot for each value; frequent values have larger dots
            heights, counts = np.unique(
                [np.tile(np.arange(shown), len(flat)), flat.ravel()], axis=1, return_counts=True
            )
            places, heights, sizes = heights[0] + offset, heights[1], 120 * counts / len(flat)
        axes.scatter(places, heights, s=sizes, color=_color(split), alpha=0.6, linewidths=0, label=split)
    if _is_logarithmic(parameter):
        axes.set_yscale("log")
        _label_decades(axes.yaxis)
    names = [str(tuple(map(int, np.unravel_index(i, _shape(panel))))) for i in range(shown)]
    axes.set_xticks(np.arange(shown), names if len(_shape(panel)) > 1 else [str(i) for i in range(shown)])
    if len(_shape(panel)) > 1:
        axes.tick_params(axis="x", rotation=45)
    axes.set_xlim(-0.6, shown - 0.4)
    axes.set_xlabel("element" if shown == size else f"element (the first {shown} of {size:,})")
    axes.set_ylabel(_with_unit(name, parameter))
    axes.grid(axis="y", color="0.9", lw=0.8)
    legend = axes.legend(frameon=False, fontsize=8, loc="center left", bbox_to_anchor=(1, 0.5))
    for handle in legend.legend_handles:
        handle.set_sizes([30])  # type: ignore[union-attr]
    _undress(axes)


def worlds_figure(family: TaskFamily, num_tasks: int = 6, split: str = "train", steps: int = 20) -> Figure:
    """Return the figure of `plot_worlds`: a picture of each task with its values above."""
    from matplotlib.figure import Figure

    tasks, steps = family.sample(split, num_tasks, seed=0), min(steps, family.horizon)
    frames, taken = _frames(family, tasks, steps)
    columns = min(4, math.ceil(math.sqrt(num_tasks)))
    rows = math.ceil(num_tasks / columns)
    figure = Figure(figsize=(3 * columns, 0.5 + 3.3 * rows), layout="constrained")
    every = figure.subplots(rows, columns, squeeze=False).ravel()
    for axes in every:
        axes.set_axis_off()
    for axes, frame, task, step in zip(every, _crop(frames), tasks, taken, strict=False):
        axes.imshow(frame)
        ended = f"\n(ended after {step} steps)" if step < steps else ""
        axes.set_title(textwrap.fill(task_in_words(family, task), 44) + ended, size=9)
    title = f"Worlds of {family.title}: {num_tasks} tasks of the {split} split after {steps} random steps"
    figure.suptitle(textwrap.fill(title, 33 * columns), x=0.01, ha="left", weight="bold", size=11)
    return figure


def _crop(frames: Sequence[np.ndarray]) -> Sequence[np.ndarray]:
    """Return the pictures without their common white margin."""
    if len({frame.shape for frame in frames}) > 1:
        return frames
    box = ink_box(frames)
    return [frame[box] for frame in frames]


def _frames(family: TaskFamily, tasks: Tasks, steps: int) -> tuple[Sequence[np.ndarray], np.ndarray]:
    """Return a picture of the world of each task after random steps, and the steps that each world took."""
    with drawing(family):
        envs = BatchedEnv(family, tasks, threads=0, render_mode="rgb_array")
        with contextlib.closing(envs):
            envs.reset(seed=0)
            taken = _walk(envs, steps)
            frames = envs.render() or ()
    if len(frames) < len(tasks):
        raise nothing_drawn(family)
    return frames, taken


def _walk(envs: BatchedEnv, steps: int) -> np.ndarray:
    """Act at random for at most `steps` steps, until the episodes end. Return the steps of each world."""
    streams = Streams.of(0, "walk", envs.tasks.index)
    active, taken = np.ones(envs.num_envs, dtype=bool), np.zeros(envs.num_envs, dtype=np.int64)
    for _ in range(steps):
        if not active.any():
            break
        step = envs.advance(draw_actions(envs.single_action_space, streams), active)
        taken += active
        active &= ~(step.terminations | step.truncations)
    return taken


def task_in_words(family: TaskFamily, task: Mapping[str, Any]) -> str:
    """Return the values of a task in few digits, with units; of many values only the first."""
    parts: list[str] = []
    for name, value in list(task.items())[:MOST_PARAMETERS]:
        parameter = family.parameters[name]
        if isinstance(parameter.train, Labels):
            parts.append(f"{name} {parameter.train.word(value)}")
            continue
        numbers = np.ravel(value)
        digits, shown = (3 if len(numbers) < 3 else 2), (5 if len(numbers) <= 5 else 3)
        text = ", ".join(_in_digits(number, digits) for number in numbers[:shown])
        text += f" and {len(numbers) - shown} more" if len(numbers) > shown else ""
        parts.append(f"{name} {text} {parameter.unit}".rstrip())
    more = len(task) - len(parts)
    return "; ".join(parts) + (f"; {more} more" if more else "")


def _in_digits(number: float, digits: int) -> str:
    """Return a number in few digits; a whole number, such as that of a class, with all of them."""
    return f"{number:.0f}" if number == round(number) and abs(number) < 1e6 else f"{number:.{digits}g}"
