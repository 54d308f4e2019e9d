"""How training speeds up with processes that share the tasks of an update."""

from __future__ import annotations

import itertools
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ..base.child import METARL, Child, told_by
from ..base.errors import MetarlError
from ..base.meter import Report, counted, ignore
from ..runs.config import load_config
from ..runs.record import read_metrics
from .scaling import Scaling, Speed, Way

ONE_THREAD = {"OMP_NUM_THREADS": "1"}
"""Variables of its processes."""


def bench_ranks(
    config: str | Path,
    ranks: Sequence[int] = (2, 4),
    *,
    updates: int = 8,
    repeats: int = 3,
    report: Report = ignore,
) -> Scaling:
    """Return the speed of processes that train together.

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
    half = (*alone, f"meta_batch_size={num_tasks // 2}")
    ways = [
        Way("one process, one core", 1, alone),
        Way("one process, half the tasks", 1, half),
        Way("two of these that share nothing", 1, half, apart=2),
        Way("one process, rollout_shards=2", 1, ("rollout_shards=2", "threads=2")),
        *(Way(f"{number} ranks", number, alone) for number in ranks),
    ]
    found: dict[Way, list[Speed]] = {way: [] for way in ways}
    turns = [way for _ in range(repeats) for way in ways]
    for way in counted(turns, report, len(turns)):
        found[way].append(measure(config, way, updates))
    return Scaling(num_tasks, found)


def measure(config: str | Path, way: Way, updates: int) -> Speed:
    """Return the speed of a way: the median over its updates but the first, which warms up."""
    with tempfile.TemporaryDirectory() as folder, tempfile.TemporaryFile() as errors:
        runs = [Path(folder, str(number)) for number in range(way.apart)]
        trainings: list[Child] = []
        try:
            trainings += [Child([*METARL, *_words(config, way, updates, run)], errors, ONE_THREAD) for run in runs]
            statuses = [training.wait() for training in trainings]
        finally:
            for training in trainings:
                training.stop(seconds=60)
        if any(statuses):
            errors.seek(0)
            why, _, _ = told_by(errors.read())
            raise MetarlError(f"{way.title}: {why[-1] if why else f'a process ended with status {max(statuses)}'}")
        mean = Speed(*np.mean([_median_speed(run) for run in runs], axis=0))
    return mean._replace(rate=mean.rate * way.apart)


def _words(config: str | Path, way: Way, updates: int, run: Path) -> list[str]:
    return [
        *("train", str(config), "--run-dir", str(run), "--quiet", "--log", "none", *way.settings),
        *(f"num_updates={updates}", f"evaluation.every={10 * updates}", "checkpoint_every=1000000"),
        *("evaluation.num_tasks=1", "evaluation.replicas=1"),
        *(["--workers", str(way.ranks)] if way.ranks > 1 else []),
    ]


def _median_speed(run: Path) -> Speed:
    lines = read_metrics(run)
    # The last update is evaluated.
    return Speed(*np.median([_speed(*pair) for pair in itertools.pairwise(lines[:-1])], axis=0))


def _speed(before: dict[str, Any], line: dict[str, Any]) -> Speed:
    env_steps = line["env_steps"] - before["env_steps"]
    seconds = env_steps / line["time/steps_per_second"]
    waiting = seconds * line.get("time/exchange_share", 0.0)
    exchanged = (line.get("ranks/exchanges", 0.0), line.get("ranks/exchanged_bytes", 0.0))
    return Speed(seconds, line["time/steps_per_second"], *exchanged, waiting)
