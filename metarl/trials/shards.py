"""A meta-batch played in parts at the same time: while one part is simulated, another one's agent thinks."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import fields
from typing import TYPE_CHECKING, Any

import numpy as np

from ..base.cores import available_threads
from ..base.stopwatch import Stopwatch
from ..base.threads import one_thread
from ..families.family import TaskFamily
from ..families.task import Tasks
from ..families.vector import BatchedEnv
from .agent import Agent
from .episodes import OVER_TIME, Episodes, Trial
from .rollout import run_trial

if TYPE_CHECKING:
    from ..runs.config import TrainConfig


def run_sharded_trial(
    agent: Agent, family: TaskFamily, tasks: Tasks, config: TrainConfig, *, seed: int, stopwatch: Stopwatch
) -> Trial:
    """Return a trial of training in `tasks`, as `run_trial` plays it: in `config.rollout_shards` parts, each on a thread of its own.

    They are one part where the family's worlds are not `side_by_side`. As many are played at a time as there are
    `config.threads`: None is one a core, 0 the calling thread for all. These change no result; the number of shards may in its
    last digits, as products of matrices of another size are rounded otherwise. The `stopwatch` is told the parts of `run_trial`;
    of what is done side by side, the time divided by how many do it.
    """
    shards = min(config.rollout_shards, len(tasks)) if family.side_by_side else 1
    parts = [tasks[rows] for rows in np.array_split(np.arange(len(tasks)), shards)]
    watches = [Stopwatch() for _ in parts]
    threads = available_threads() if config.threads is None else config.threads
    at_once = min(max(threads, 1), len(parts))
    each = threads // at_once
    with contextlib.ExitStack() as stack:
        # All made before any is played: a family's caches are then filled by one.
        made = (family.make_vec(part, config.replicas, threads=each if each > 1 else 0) for part in parts)
        batches = [stack.enter_context(contextlib.closing(envs)) for envs in made]

        def play(envs: BatchedEnv, watch: Stopwatch) -> Trial:
            return run_trial(agent, envs, config.rounds, seed=seed, training=True, stopwatch=watch)

        if at_once == 1:
            trials = list(map(play, batches, watches))
        else:
            # One thread of torch's before these begin: each would put back what it found while others are at work.
            with one_thread(), ThreadPoolExecutor(at_once) as pool:
                trials = list(pool.map(play, batches, watches))
    for watch in watches:
        for name, seconds in watch.seconds.items():
            stopwatch.add(name, seconds / at_once)
    return trials[0] if len(trials) == 1 else _joined(trials, tasks)


def _joined(trials: Sequence[Trial], tasks: Tasks) -> Trial:
    rounds = tuple(map(_side_by_side, zip(*(trial.rounds for trial in trials), strict=True)))
    return Trial(tasks, rounds, np.concatenate([trial.exploring_steps for trial in trials]))


def _side_by_side(parts: Sequence[Episodes]) -> Episodes:
    """Return episodes of several batches of tasks as of one: shorter batches wait for the longest."""
    time = max(len(part.mask) for part in parts)
    joined: dict[str, Any] = {}
    for name in (field.name for field in fields(Episodes)):
        arrays = [getattr(part, name) for part in parts]
        if arrays[0] is None:
            joined[name] = None
        elif name in OVER_TIME:
            joined[name] = np.concatenate([_lasting(array, time) for array in arrays], axis=1)
        else:
            joined[name] = np.concatenate(arrays)
    return Episodes(**joined)


def _lasting(array: np.ndarray, time: int) -> np.ndarray:
    """Return `array` [time, ...] filled up by zeros: no step was taken there."""
    return np.concatenate([array, np.zeros((time - len(array), *array.shape[1:]), dtype=array.dtype)])
