"""A trial of training in several parts at the same time: one part simulates while the policy of another computes."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import fields, replace
from typing import Any, Protocol

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
from .teaching import Teaching, join_outputs


class Sharding(Protocol):
    """How a trial of training is played; a `TrainConfig` is one."""

    @property
    def rollout_shards(self) -> int:
        """Parts of the meta-batch."""
        ...

    @property
    def threads(self) -> int | None:
        """Threads in all; None for one a core, 0 for the calling thread alone."""
        ...

    @property
    def rounds(self) -> int:
        """Rounds of a trial."""
        ...

    @property
    def replicas(self) -> int:
        """Episodes side by side in each task and round."""
        ...


def run_sharded_trial(
    agent: Agent,
    family: TaskFamily,
    tasks: Tasks,
    config: Sharding,
    *,
    seed: int,
    stopwatch: Stopwatch,
    teaching: Teaching | None = None,
) -> Trial:
    """Return a trial of training in `tasks`, played as `run_trial` does but in `config.rollout_shards` parts.

    Each part has a thread of its own, up to `config.threads` at a time (None: one a core; 0: no thread beside the
    calling one). A family whose worlds are not `side_by_side` plays in one part. The number of threads changes no
    result. The number of parts may change the last digits, as matrix products of other sizes round differently. The
    `stopwatch` measures the parts of `run_trial`; it divides their time by the number of threads.
    """
    shards = min(config.rollout_shards, len(tasks)) if family.side_by_side else 1
    parts = [tasks[rows] for rows in np.array_split(np.arange(len(tasks)), shards)]
    given_up = threading.Event()
    watches = [_ShardWatch(given_up) for _ in parts]
    threads = available_threads() if config.threads is None else config.threads
    at_once = min(max(threads, 1), len(parts))
    each = threads // at_once
    with contextlib.ExitStack() as stack:
        # All are made before any is played, so that one thread alone fills the family's caches.
        made = (family.make_vec(part, config.replicas, threads=each if each > 1 else 0) for part in parts)
        batches = [stack.enter_context(contextlib.closing(envs)) for envs in made]

        def play(envs: BatchedEnv, watch: Stopwatch) -> Trial:
            return run_trial(agent, envs, config.rounds, seed=seed, training=True, stopwatch=watch, teaching=teaching)

        trials = _play_parts(play, batches, watches, at_once, given_up)
    for watch in watches:
        for name, seconds in watch.seconds.items():
            stopwatch.add(name, seconds / at_once)
    return trials[0] if len(trials) == 1 else _join_tasks(trials, tasks)


def _play_parts(
    play: Callable[[BatchedEnv, Stopwatch], Trial],
    batches: Sequence[BatchedEnv],
    watches: Sequence[Stopwatch],
    at_once: int,
    given_up: threading.Event,
) -> list[Trial]:
    """Return the trials of all parts, some of them played at once."""
    if at_once == 1:
        return list(map(play, batches, watches))
    # Each thread sets torch to one thread and restores the old number at its end, while others still play.
    with one_thread(), ThreadPoolExecutor(at_once) as pool:
        try:
            return list(pool.map(play, batches, watches))
        except BaseException:  # of a shard, or a signal in this thread: the pool would wait for the others
            given_up.set()
            raise


class _GivenUpError(Exception):
    """Ends a shard whose trial nobody waits for."""


class _ShardWatch(Stopwatch):
    """The stopwatch of one shard. It ends the shard at its next part once the trial is given up."""

    def __init__(self, given_up: threading.Event) -> None:
        super().__init__()
        self._given_up = given_up

    def part(self, name: str) -> contextlib.AbstractContextManager[None]:
        """Measure a part, as a stopwatch does."""
        if self._given_up.is_set():
            raise _GivenUpError
        return super().part(name)


def _join_tasks(trials: Sequence[Trial], tasks: Tasks) -> Trial:
    rounds = tuple(map(_join_round, zip(*(trial.rounds for trial in trials), strict=True)))
    exploring = np.concatenate([trial.exploring_steps for trial in trials])
    return replace(trials[0], tasks=tasks, rounds=rounds, exploring_steps=exploring)


def _join_round(parts: Sequence[Episodes]) -> Episodes:
    """Return the episodes of several batches of tasks as one batch, padded to the longest."""
    time = max(len(part.mask) for part in parts)
    joined: dict[str, Any] = {}
    for name in (field.name for field in fields(Episodes)):
        arrays = [getattr(part, name) for part in parts]
        if all(array is None for array in arrays):
            joined[name] = None
        elif name == "advised_outputs":  # of parts of which one may have teachers that tell none
            padded = [None if array is None else _pad(array, time) for array in arrays]
            joined[name] = join_outputs(padded, [(time, *part.mask.shape[1:]) for part in parts], axis=1)
        elif name in OVER_TIME:
            joined[name] = np.concatenate([_pad(array, time) for array in arrays], axis=1)
        else:
            joined[name] = np.concatenate(arrays)
    return Episodes(**joined)


def _pad(array: np.ndarray, time: int) -> np.ndarray:
    """Return `array` [time, ...] with zeros behind it, up to `time` steps."""
    return np.concatenate([array, np.zeros((time - len(array), *array.shape[1:]), dtype=array.dtype)])
