"""A meta-batch played in parts at the same time: while one part is simulated, another one's agent thinks."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

import numpy as np

from .cores import available_threads
from .stopwatch import Stopwatch
from .task import TaskFamily, Tasks
from .threads import one_thread
from .trial import Agent, Episodes, Oracle, Trial, run_trial
from .vector import BatchedEnv


def run_sharded_trial(
    agent: Agent | Oracle,
    family: TaskFamily,
    tasks: Tasks,
    rounds: int,
    *,
    replicas: int,
    seed: int,
    shards: int,
    threads: int | None = None,
    training: bool = False,
    stopwatch: Stopwatch | None = None,
) -> Trial:
    """Return what `run_trial` plays in `tasks`, with the tasks in as many as `shards` parts, each on a thread of its own.

    They are one part where the family's worlds are not `side_by_side`. `threads` are those of the simulation, and as many shards
    as there are threads are played at a time: None is one a core, 0 the calling thread for all. They change no result; the number
    of shards may in its last digits, as products of matrices of another size are rounded otherwise. A `stopwatch` is told the
    parts of `run_trial`; of what is done side by side, the time divided by how many do it.
    """
    shards = min(shards, len(tasks)) if family.side_by_side else 1
    parts = [tasks[rows] for rows in np.array_split(np.arange(len(tasks)), shards)]
    watches = [Stopwatch() for _ in parts]
    threads = available_threads() if threads is None else threads
    at_once = min(max(threads, 1), len(parts))
    each = threads // at_once
    with contextlib.ExitStack() as stack:
        # All made before any is played: what makes them (compilers, caches of a family) need not be used by two at a time.
        made = (family.make_vec(part, replicas, threads=each if each > 1 else 0) for part in parts)
        batches = [stack.enter_context(contextlib.closing(envs)) for envs in made]

        def play(envs: BatchedEnv, watch: Stopwatch) -> Trial:
            return run_trial(agent, envs, rounds, seed=seed, training=training, stopwatch=watch)

        if at_once == 1:
            trials = list(map(play, batches, watches))
        else:
            # One thread of torch's before these begin: each would put back what it found while others are at work.
            with one_thread(), ThreadPoolExecutor(at_once) as pool:
                trials = list(pool.map(play, batches, watches))
    if stopwatch is not None:
        for watch in watches:
            for name, seconds in watch.seconds.items():
                stopwatch.add(name, seconds / at_once)
    return trials[0] if len(trials) == 1 else _joined(trials, tasks)


def _joined(trials: Sequence[Trial], tasks: Tasks) -> Trial:
    rounds = tuple(_side_by_side(episodes) for episodes in zip(*(trial.rounds for trial in trials), strict=True))
    return Trial(tasks, rounds, np.concatenate([trial.exploring_steps for trial in trials]))


_BY_TIME = ("observations", "actions", "rewards", "terminations", "truncations", "mask")
_BY_TASK = ("final_observations", "successes", "unstable")


def _side_by_side(parts: Sequence[Episodes]) -> Episodes:
    """Return episodes of several batches of tasks as of one: shorter batches wait for the longest."""
    time = max(len(part.mask) for part in parts)
    joined: dict[str, Any] = {}
    for name in _BY_TIME:
        arrays = [getattr(part, name) for part in parts]
        shape = list(arrays[0].shape)
        shape[:2] = time, sum(array.shape[1] for array in arrays)
        whole, first = np.zeros(shape, dtype=arrays[0].dtype), 0
        for array in arrays:
            whole[: len(array), first : first + array.shape[1]] = array
            first += array.shape[1]
        joined[name] = whole
    for name in _BY_TASK:
        known = [getattr(part, name) for part in parts]
        joined[name] = None if known[0] is None else np.concatenate(known)
    return replace(parts[0], **joined)
