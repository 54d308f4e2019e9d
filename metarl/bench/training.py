"""How fast environments step and agents train on this machine, beside what the machine could do and what others do."""

from __future__ import annotations

import contextlib
import dataclasses
import importlib.util
import json
import platform
from argparse import Namespace
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ..base.cores import available_threads
from ..base.errors import MetarlError, did_you_mean
from ..base.progress import say
from ..base.stopwatch import Stopwatch
from ..base.streams import generator
from ..base.text import aligned
from ..base.versions import git_commit, versions
from ..families.mujoco.family import MujocoFamily
from ..runs.config import load_config, make_family
from ..trials.agent import TrainableAgent
from ..trials.registered import AGENTS, make_agent
from ..trials.shards import run_sharded_trial
from .rivals import native, raw_limit
from .simulation import Comparison

if TYPE_CHECKING:
    from ..families.task import Tasks
    from ..trials.episodes import Trial


def _as_json(comparisons: Sequence[Comparison]) -> bytes:
    """Return all figures, and what they were measured with and on."""
    rows = [{**dataclasses.asdict(row), "ratio": row.ratio, "met": row.met} for row in comparisons]
    about = {"cpu": _cpu(), "cores": available_threads(), "commit": git_commit(), "versions": _versions()}
    return (json.dumps({**about, "comparisons": rows}, indent=1) + "\n").encode()


def _versions() -> dict[str, str]:
    rivals = ("stable_baselines3", "envpool")
    installed = {name: version(name) for name in rivals if importlib.util.find_spec(name)}
    return {"python": platform.python_version(), **versions(), **installed}


def _cpu() -> str:
    with contextlib.suppress(OSError, StopIteration):
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        return next(line for line in lines if line.startswith("model name")).split(":", 1)[1].strip()
    return platform.processor() or platform.machine()


def machine() -> str:
    """Return the hardware and the versions, in a line each."""
    packages = ", ".join(f"{name} {version}" for name, version in _versions().items())
    return f"{_cpu()}, {available_threads()} cores to use\n{packages}"


# Training.

PARTS = ("simulation", "inference", "adaptation", "update")
"""Where the time of an update goes; what is left is bookkeeping of the rollout, and one shard's wait for another."""


def _bench_train(arguments: Namespace) -> None:
    header = ("", "steps/s", *PARTS, "s an update", "limit", "share", "stepping alone", "share")
    rows: list[tuple[str, ...]] = [header]
    for path in _chosen(arguments.configs, arguments.agent):
        rows += _train_rows(path, arguments.device, arguments.updates, loop=arguments.loop)
    say(
        "\nMeta-training: environment steps per second over everything (rollout, adaptation, update), and where the time "
        f"goes.\nlimit: raw mj_step, {available_threads()} processes; stepping alone: the same worlds as `metarl bench sim` "
        "steps them, random actions. Both measured\nbetween the updates, with what share of them training reaches. One by "
        f"one: a plain loop over tasks, in rollout, adaptation and gradients.\n{aligned(rows)}"
    )


def _chosen(paths: Sequence[Path], agent: str | None) -> list[Path]:
    """Return the configs to time. Raises MetarlError where there is none of the agent."""
    found = list(paths) or sorted(Path("configs/bench").glob("*.yaml"))
    if not found:
        raise MetarlError("no config given and none in configs/bench; write `metarl bench train CONFIG`")
    names = {path: load_config(path).agent["name"] for path in found}
    chosen = [path for path in found if agent in (None, names[path])]
    if not chosen:
        raise MetarlError(
            f"--agent {agent!r}: none of {', '.join(map(str, found))} trains it; {did_you_mean(str(agent), names.values())}"
        )
    return chosen


def _train_rows(path: Path, device: str | None, updates: int, *, loop: bool) -> list[tuple[str, ...]]:
    """Return the row of one config, timed as `meta_train` does it, without logging, evaluation and checkpoints.

    With `loop`, a second row is of the same work, one task after the other; it is timed over a single update.
    """
    config = load_config(path)
    family, limits, alone = make_family(config), [], []
    worlds = config.meta_batch_size * config.replicas
    update, total, env_steps = _Update(path, device), Stopwatch(), 0
    with contextlib.ExitStack() as stack:
        stepping = stack.enter_context(native(family, worlds, config.threads))
        limit = stack.enter_context(raw_limit(family)) if isinstance(family, MujocoFamily) else None
        update(0, Stopwatch())  # warms up
        for number in range(1, updates + 1):
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
    """Makes updates of a config on a stopwatch, whose part `whole` is all of them, and returns their steps."""

    def __init__(self, path: Path, device: str | None, *, one_by_one: bool = False) -> None:
        self.config, self.one_by_one = load_config(path), one_by_one
        self.family = make_family(self.config)
        settings = {key: value for key, value in self.config.agent.items() if key != "name"}
        name = self.config.agent["name"]
        if one_by_one and "task_chunk_size" in AGENTS[name].Config.model_fields:
            settings["task_chunk_size"] = 1
        agent = make_agent(name, self.family, settings, seed=self.config.seed, device=device or self.config.device)
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
                    self._played(tasks[task : task + 1], number, stopwatch)
            # The update wants them in one piece, which they are when played together: the same numbers.
            trial = self._played(tasks, number, Stopwatch())
        else:
            with stopwatch.part("whole"):
                trial = self._played(tasks, number, stopwatch)
        with stopwatch.part("whole"), stopwatch.part("update"):
            self.agent.update(trial, generator(config.seed, "update", number))
        return int(trial.env_steps[-1].sum())

    def _played(self, tasks: Tasks, number: int, stopwatch: Stopwatch) -> Trial:
        return run_sharded_trial(self.agent, self.family, tasks, self.config, seed=number, stopwatch=stopwatch)
