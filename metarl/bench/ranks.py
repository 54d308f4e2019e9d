"""How training speeds up with processes that share the tasks of an update, and a model of why it stops to.

The time of an update by R ranks with M tasks in all is modelled as

    t(R) = fixed + per_task M / R + exchanges latency(R) + bytes / bandwidth

`fixed` and `per_task` are read from one process with M and with M / 2 tasks: a step of a batch costs Python some time
whatever the number of its tasks. Latency is read from two ranks, and grows with log2 R as in a tree of messages.
"""

from __future__ import annotations

import itertools
import json
import math
import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from ..base.cores import available_threads
from ..base.errors import MetarlError
from ..base.meter import Report, counted, ignore
from ..base.text import align_columns
from ..runs.config import load_config

BANDWIDTH = 1e9
"""Bytes a second between machines that the extrapolation assumes: 10 Gbit/s, a few lost to protocols."""
FAR = (8, 32, 128, 512)
"""Ranks that are extrapolated to, where the meta-batch is raised to a task a rank."""


class Way(NamedTuple):
    """A way to train: the title of its row, its number of ranks and what it changes."""

    title: str
    ranks: int
    settings: tuple[str, ...]


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


def bench_ranks(
    config: str | Path,
    ranks: Sequence[int] = (2, 4),
    *,
    updates: int = 8,
    repeats: int = 3,
    report: Report = ignore,
) -> str:
    """Return two tables: the speed of processes that train together, and what the model makes of it.

    Every way trains `updates` updates in processes of its own, `repeats` times, in turn with the others, on as many
    threads of simulation as it has ranks or shards. Raises MetarlError for a meta-batch that cannot be shared so.
    """
    num_tasks = load_config(config).meta_batch_size
    if 2 not in ranks or num_tasks < max(*ranks, 2):
        raise MetarlError(
            f"ranks are {', '.join(map(str, ranks))} and meta_batch_size is {num_tasks}; give 2 among them, and at "
            "most one rank a task"
        )
    alone = ("rollout_shards=1", "threads=1")
    ways = [
        Way("one process, one core", 1, alone),
        Way("one process, half the tasks", 1, (*alone, f"meta_batch_size={num_tasks // 2}")),
        Way("one process, rollout_shards=2", 1, ("rollout_shards=2", "threads=2")),
        *(Way(f"{number} ranks", number, alone) for number in ranks),
    ]
    found: dict[Way, list[Speed]] = {way: [] for way in ways}
    turns = [way for _ in range(repeats) for way in ways]
    for way in counted(turns, report, len(turns)):
        found[way].append(measure(config, way, updates))
    medians = {way: Speed(*np.median(np.array(speeds), axis=0)) for way, speeds in found.items()}
    return f"{_measured(medians, found, num_tasks)}\n\n{_modelled(medians, num_tasks)}"


def measure(config: str | Path, way: Way, updates: int) -> Speed:
    """Return the speed of a way: the median over its updates but the first, which warms up."""
    with tempfile.TemporaryDirectory() as folder:
        run = Path(folder, "run")
        words = [
            *("train", str(config), "--run-dir", str(run), "--quiet", "--log", "none", *way.settings),
            *(f"num_updates={updates}", f"evaluation.every={10 * updates}", "checkpoint_every=1000000"),
            *("evaluation.num_tasks=1", "evaluation.replicas=1"),
            *(["--workers", str(way.ranks)] if way.ranks > 1 else []),
        ]
        environment = {**os.environ, "OMP_NUM_THREADS": "1"}
        done = subprocess.run(
            [sys.executable, "-m", "metarl", *words], env=environment, capture_output=True, text=True, check=False
        )
        if done.returncode:
            why = done.stderr.strip().splitlines() or [f"the process ended with status {done.returncode}"]
            raise MetarlError(f"{way.title}: {why[-1].removeprefix('metarl: error: ')}")
        lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    # The last update is evaluated.
    return Speed(*np.median([_speed(*pair) for pair in itertools.pairwise(lines[:-1])], axis=0))


def _speed(before: dict[str, Any], line: dict[str, Any]) -> Speed:
    env_steps = line["env_steps"] - before["env_steps"]
    seconds = env_steps / line["time/steps_per_second"]
    waiting = seconds * line.get("time/exchange_share", 0.0)
    exchanged = (line.get("ranks/exchanges", 0.0), line.get("ranks/exchanged_bytes", 0.0))
    return Speed(seconds, line["time/steps_per_second"], *exchanged, waiting)


def _measured(medians: dict[Way, Speed], found: dict[Way, list[Speed]], num_tasks: int) -> str:
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
        f"Training by processes: {num_tasks} tasks an update, on {available_threads()} cores; medians over updates and "
        f"repeats, ratios of each repeat to one core in its turn.\n{align_columns(rows)}"
    )


def _modelled(medians: dict[Way, Speed], num_tasks: int) -> str:
    """Return the table of the model: beside what was measured, and far from it."""
    whole, half, *_ = medians.values()
    two = next(speed for way, speed in medians.items() if way.ranks == 2)
    model = fit(whole, half, two, num_tasks)
    rows: list[tuple[str, ...]] = [
        ("ranks", "tasks an update", "s an update, model", "measured", "tasks/s to one core")
    ]
    one = num_tasks / whole.seconds
    near = {1: whole, **{way.ranks: speed for way, speed in medians.items() if way.ranks > 1}}
    for ranks, tasks in [*((each, num_tasks) for each in near), *((each, max(num_tasks, each)) for each in FAR)]:
        seconds = model.seconds(tasks, ranks, BANDWIDTH if ranks in FAR else math.inf)
        measured = f"{near[ranks].seconds:.3f}" if ranks in near else ""
        rows.append((str(ranks), str(tasks), f"{seconds:.3f}", measured, f"{tasks / seconds / one:.1f}"))
    told = (
        f"Model: {model.fixed * 1e3:.0f} ms fixed, {model.per_task * 1e3:.1f} ms a task; {model.exchanges:.0f} "
        f"exchanges, each {model.latency * 1e3:.2f} ms between two ranks, times log2 of the ranks;\n"
        f"{model.num_bytes / 1e3:,.1f} kB a rank, from {FAR[0]} ranks on at {BANDWIDTH / 1e9:g} GB/s between machines. "
        "Each rank has a core, and none is slower."
    )
    return f"{told}\n{align_columns(rows)}"
