"""How fast agents train: environment steps per second of whole meta-updates, and where the time goes."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ..base.cores import available_threads
from ..base.errors import MetarlError, did_you_mean
from ..base.meter import Report, counted, ignore, part_of
from ..base.stopwatch import Stopwatch
from ..base.streams import generator
from ..base.text import align_columns
from ..families.mujoco.family import MujocoFamily
from ..runs.config import load_config, make_family, without_name
from ..trials.agent import TrainableAgent
from ..trials.registered import AGENTS, make_agent
from ..trials.shards import run_sharded_trial
from .rivals import native, raw_limit

if TYPE_CHECKING:
    from ..families.task import Tasks
    from ..trials.episodes import Trial


PARTS = ("simulation", "inference", "adaptation", "update")
"""Parts of an update's time; the rest is bookkeeping of the rollout and one shard's wait for another."""


def bench_training(
    configs: Sequence[Path] = (),
    *,
    agent: str | None = None,
    device: str | None = None,
    updates: int = 5,
    loop: bool = True,
    report: Report = ignore,
) -> str:
    """Return a table of how fast each config trains, as `metarl bench train` prints it.

    `configs` are paths, by default those in configs/bench; with `agent` only the configs of that agent are timed.
    `device` is 'auto', 'cpu' or 'cuda' instead of the config's. `updates` meta-updates are timed. With `loop` a second
    row times the same work one task after the other. `report` is told the updates that were timed. Raises MetarlError
    if there is no such config.
    """
    rows: list[tuple[str, ...]] = [("", "steps/s", *PARTS, "s an update", "limit", "share", "stepping alone", "share")]
    selected = _select(configs, agent)
    for number, path in enumerate(selected):
        rows += _train_rows(path, device, updates, part_of(report, number, len(selected)), loop=loop)
    return (
        "Meta-training: environment steps per second of whole updates (rollout, adaptation, update), and the parts of "
        f"that time.\nlimit: raw mj_step in {available_threads()} processes. stepping alone: the same worlds with "
        "random actions, as in `metarl bench sim`.\nBoth are measured between the updates; share is training's part of "
        f"them. one by one: a plain loop over tasks.\n{align_columns(rows)}"
    )


def _select(paths: Sequence[Path], agent: str | None) -> list[Path]:
    """Return the configs to time. Raises MetarlError if none trains the agent."""
    found = list(paths) or sorted(Path("configs/bench").glob("*.yaml"))
    if not found:
        raise MetarlError("no config given and none in configs/bench; write `metarl bench train CONFIG`")
    names = {path: load_config(path).agent["name"] for path in found}
    selected = [path for path in found if agent in (None, names[path])]
    if not selected:
        trained = ", ".join(map(str, found))
        raise MetarlError(f"--agent {agent!r}: none of {trained} trains it; {did_you_mean(str(agent), names.values())}")
    return selected


def _train_rows(path: Path, device: str | None, updates: int, report: Report, *, loop: bool) -> list[tuple[str, ...]]:
    """Return the row of one config: what `meta_train` does, without logging, evaluation and checkpoints.

    With `loop`, a second row times one update of the same work, one task after the other.
    """
    config = load_config(path)
    family, limits, alone = make_family(config), [], []
    worlds = config.meta_batch_size * config.replicas
    update, total, env_steps = _Update(path, device), Stopwatch(), 0
    with contextlib.ExitStack() as stack:
        stepping = stack.enter_context(native(family, worlds, config.threads))
        limit = stack.enter_context(raw_limit(family)) if isinstance(family, MujocoFamily) else None
        update(0, Stopwatch())  # warms up
        for number in counted(range(1, updates + 1), report, updates + loop):
            limits += [limit(0.5)] if limit is not None else []
            alone.append(stepping(0.5))
            env_steps += update(number, total)
        rows = [_row(str(path), total, updates, env_steps, limits, alone)]
        if loop:
            plain, single = Stopwatch(), _Update(path, device, one_by_one=True)
            single(0, Stopwatch())
            rows.append(_row("  one by one", plain, 1, single(1, plain), limits, alone))
    return rows


def _row(
    name: str, stopwatch: Stopwatch, updates: int, env_steps: int, limits: Sequence[float], alone: Sequence[float]
) -> tuple[str, ...]:
    whole = stopwatch.seconds["whole"]
    rate = env_steps / whole
    shares = (f"{stopwatch.seconds.get(part, 0.0) / whole:.0%}" for part in PARTS)
    beside = [
        cell
        for rates in (limits, alone)
        for cell in ((f"{np.mean(rates):,.0f}", f"{rate / np.mean(rates):.2f}") if rates else ("", ""))
    ]
    return (name, f"{rate:,.0f}", *shares, f"{whole / updates:.2f}", *beside)


class _Update:
    """Makes updates of a config and returns their environment steps; the part `whole` is all of an update."""

    def __init__(self, path: Path, device: str | None, *, one_by_one: bool = False) -> None:
        self.config, self.one_by_one = load_config(path, device=device), one_by_one
        self.family = make_family(self.config)
        settings = without_name(self.config.agent)
        name = self.config.agent["name"]
        if one_by_one and "task_chunk_size" in AGENTS[name].Config.model_fields:
            settings["task_chunk_size"] = 1
        agent = make_agent(name, self.family, settings, seed=self.config.seed, device=self.config.device)
        if not isinstance(agent, TrainableAgent):
            raise MetarlError(f"{path}: agent {name!r} learns nothing in training; take one that does")
        self.agent = agent

    def __call__(self, number: int, stopwatch: Stopwatch) -> int:
        config = self.config
        start = number * config.meta_batch_size
        tasks = self.family.sample("train", config.meta_batch_size, seed=config.seed, start=start)
        if self.one_by_one:
            with stopwatch.part("whole"):
                for task in range(len(tasks)):
                    self._play(tasks[task : task + 1], number, stopwatch)
            # An update needs one trial of all tasks; played together they give the same numbers.
            trial = self._play(tasks, number, Stopwatch())
        else:
            with stopwatch.part("whole"):
                trial = self._play(tasks, number, stopwatch)
        with stopwatch.part("whole"), stopwatch.part("update"):
            self.agent.update(trial, generator(config.seed, "update", number))
        return int(trial.env_steps[-1].sum())

    def _play(self, tasks: Tasks, number: int, stopwatch: Stopwatch) -> Trial:
        return run_sharded_trial(self.agent, self.family, tasks, self.config, seed=number, stopwatch=stopwatch)
