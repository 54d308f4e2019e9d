"""A model of why training by several processes stops to speed up, fitted to what was measured.

The time of an update by R ranks with M tasks in all is modelled as

    t(R) = fixed + per_task M / R + exchanges latency(R) + bytes / bandwidth

`fixed` and `per_task` are read from one process with M and with M / 2 tasks: a step of a batch costs Python some time
whatever the number of its tasks. Latency is read from two ranks, and grows with log2 R as in a tree of messages.
"""

from __future__ import annotations

import functools
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from ..base.cores import available_threads
from ..base.text import align_columns

if TYPE_CHECKING:
    from matplotlib.figure import Figure

BANDWIDTH = 1e9
"""Bytes a second between machines that the extrapolation assumes: 10 Gbit/s, a few lost to protocols."""
FAR = (8, 32, 128, 512)
"""Ranks that are extrapolated to, where the meta-batch is raised to a task a rank."""


class Way(NamedTuple):
    """A way to train."""

    title: str
    """Title of its row."""
    ranks: int
    """Processes that train together."""
    settings: tuple[str, ...]
    """What it changes in the config."""
    apart: int = 1
    """Trainings at once that share nothing: how much of two cores' speed the machine has for two processes."""


class Speed(NamedTuple):
    """Seconds of an update, and what the ranks exchange in one."""

    seconds: float
    rate: float
    """Environment steps per second."""
    exchanges: float = 0.0
    num_bytes: float = 0.0
    waiting: float = 0.0
    """Seconds of an update in exchanges."""


class ScalingModel(NamedTuple):
    """The model of this module's docstring; times in seconds."""

    fixed: float
    per_task: float
    exchanges: float
    latency: float
    """Of an exchange between two ranks."""
    num_bytes: float

    def seconds(self, num_tasks: int, ranks: int, bandwidth: float = math.inf) -> float:
        """Return the time of an update of `num_tasks` tasks by `ranks` ranks."""
        moved = self.exchanges * self.latency * math.log2(ranks) + self.num_bytes / bandwidth if ranks > 1 else 0.0
        return self.fixed + self.per_task * math.ceil(num_tasks / ranks) + moved


def fit(whole: Speed, half: Speed, two: Speed, num_tasks: int) -> ScalingModel:
    """Return the model of one process with all and with half of the tasks, and of two ranks."""
    per_task = max(whole.seconds - half.seconds, 0.0) / (num_tasks - num_tasks // 2)
    fixed = max(whole.seconds - per_task * num_tasks, 0.0)
    return ScalingModel(fixed, per_task, two.exchanges, two.waiting / max(two.exchanges, 1.0), two.num_bytes)


@dataclass(frozen=True)
class Scaling:
    """What was measured of the ways to train, in turn."""

    num_tasks: int
    """Tasks of an update."""
    found: dict[Way, list[Speed]]
    """Speeds of each repeat: of one core, of one core with half the tasks, and of others."""

    @functools.cached_property
    def medians(self) -> dict[Way, Speed]:
        """Medians over the repeats."""
        return {way: Speed(*np.median(np.array(speeds), axis=0)) for way, speeds in self.found.items()}

    @functools.cached_property
    def by_ranks(self) -> dict[int, Speed]:
        """Medians of one core and of each number of ranks."""
        one = next(iter(self.medians.values()))
        return {1: one, **{way.ranks: speed for way, speed in self.medians.items() if way.ranks > 1}}

    @functools.cached_property
    def model(self) -> ScalingModel:
        """The model of one process with all and with half of the tasks, and of two ranks."""
        whole, half, *_ = self.medians.values()
        return fit(whole, half, self.by_ranks[2], self.num_tasks)

    def speed_up(self, num_tasks: int, ranks: int) -> float:
        """Return how many times as many tasks a second ranks train, by the model, as one core was measured to."""
        seconds = self.model.seconds(num_tasks, ranks, bandwidth_of(ranks))
        return num_tasks / seconds / (self.num_tasks / self.by_ranks[1].seconds)


def bandwidth_of(ranks: int) -> float:
    """Return the bytes a second that the model assumes between so many ranks: few stand in one machine."""
    return BANDWIDTH if ranks >= FAR[0] else math.inf


def scaling_tables(scaling: Scaling) -> str:
    """Return two tables: the speeds, and what the model makes of them."""
    return f"{_measured(scaling)}\n\n{_modelled(scaling)}"


def _measured(scaling: Scaling) -> str:
    medians, found = scaling.medians, scaling.found
    first = next(iter(medians.values()))
    rows: list[tuple[str, ...]] = [
        ("", "s an update", "steps/s", "to one core", "lowest, highest", "exchanges", "kB", "share of waiting")
    ]
    for way, speed in medians.items():
        ratios = [each.rate / base.rate for each, base in zip(found[way], next(iter(found.values())), strict=True)]
        shared = (f"{speed.exchanges:.0f}", f"{speed.num_bytes / 1e3:,.1f}", f"{speed.waiting / speed.seconds:.0%}")
        rows.append(
            (
                way.title,
                f"{speed.seconds:.3f}",
                f"{speed.rate:,.0f}",
                f"{speed.rate / first.rate:.2f}",
                f"{min(ratios):.2f}, {max(ratios):.2f}",
                *(shared if way.ranks > 1 else ("", "", "")),
            )
        )
    return (
        f"Training by processes: {scaling.num_tasks} tasks an update, on {available_threads()} cores; medians over "
        f"updates and repeats, ratios of each repeat to one core in its turn.\n{align_columns(rows)}"
    )


def _modelled(scaling: Scaling) -> str:
    """Return the table of the model: beside what was measured, and far from it."""
    model, near = scaling.model, scaling.by_ranks
    rows: list[tuple[str, ...]] = [
        ("ranks", "tasks an update", "s an update, model", "measured", "tasks/s to one core")
    ]
    for ranks in sorted({*near, *FAR}):
        tasks = max(scaling.num_tasks, ranks)
        seconds = model.seconds(tasks, ranks, bandwidth_of(ranks))
        measured = f"{near[ranks].seconds:.3f}" if ranks in near else ""
        rows.append((str(ranks), str(tasks), f"{seconds:.3f}", measured, f"{scaling.speed_up(tasks, ranks):.1f}"))
    told = (
        f"Model: {model.fixed * 1e3:.0f} ms fixed, {model.per_task * 1e3:.1f} ms a task; {model.exchanges:.0f} "
        f"exchanges, each {model.latency * 1e3:.2f} ms between two ranks, times log2 of the ranks;\n"
        f"{model.num_bytes / 1e3:,.1f} kB a rank, from {FAR[0]} ranks on at {BANDWIDTH / 1e9:g} GB/s between machines. "
        "Each rank has a core, and none is slower."
    )
    return f"{told}\n{align_columns(rows)}"


def scaling_figure(scaling: Scaling) -> Figure:
    """Draw how many times as many tasks a second R ranks train as one core: the model, and what was measured."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6.4, 4.2), layout="constrained")
    axes = figure.subplots()
    ranks = 2 ** np.arange(int(math.log2(FAR[-1])) + 1)
    axes.plot(ranks, ranks, color="0.7", linestyle=":", label="as many times as there are ranks")
    own = [scaling.speed_up(scaling.num_tasks, int(each)) for each in ranks]
    axes.plot(ranks, own, color="C0", linestyle="--", label=f"model, {scaling.num_tasks} tasks an update")
    more = [scaling.speed_up(max(scaling.num_tasks, int(each)), int(each)) for each in ranks]
    axes.plot(ranks, more, color="C1", label="model, a task a rank at least")
    one = next(iter(scaling.found.values()))
    for way, speeds in scaling.found.items():
        if way.ranks > 1 or speeds is one:
            times = [base.seconds / each.seconds for base, each in zip(one, speeds, strict=True)]
            axes.plot([way.ranks] * len(times), times, "o", color="C0", markersize=5, alpha=0.7)
    axes.plot([], [], "o", color="C0", markersize=5, label="measured here")
    axes.set(xscale="log", yscale="log", xlabel="ranks", ylabel="tasks a second, to one core")
    axes.set_xticks(ranks, [str(each) for each in ranks])
    axes.yaxis.set_major_formatter("{x:g}")  # the default one writes a formula, which pictures here show as it is
    axes.minorticks_off()
    axes.legend(frameon=False)
    return figure
