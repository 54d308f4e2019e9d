"""How much of a family its checks play: less of one whose worlds are slow, and never silently."""

from __future__ import annotations

import contextlib
import functools
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from ..base.streams import Streams
from ..families.family import TaskFamily
from ..families.spaces import draw_actions

BRIEF = 5
"""Steps of an episode in checks that most faults fail at once."""
BUDGET = 30.0
"""Seconds that the checks of one family may take, if its first steps are typical."""
EXTRA = 8.0
"""Seconds for each of two checks that may take longer than all others: a whole episode, and a rare effect."""


@dataclass(frozen=True)
class Extent:
    """How much the checks of a family play."""

    steps: int = 25
    """Steps of an episode in checks that compare one run with another."""
    num_tasks: int = 5
    """Tasks of a batch. Checks that need no batch play three at most."""
    rare_steps: int = 100
    """Steps of an episode in checks that wait for something rare."""
    rare_tasks: int = 8
    """Tasks that are compared in checks that wait for something rare."""
    rare_replicas: int = 16
    """Replicas of each of them."""
    horizon: int | None = None
    """Steps of the episodes that are played to their end; None for the family's own horizon."""

    @property
    def few(self) -> int:
        """Tasks in checks that need no batch."""
        return min(self.num_tasks, 3)


FULL = Extent()
"""What is played of a family that is quick enough."""

SIZES = ((25, 5), (25, 3), (12, 3), (6, 3), (6, 2), (3, 2))
"""Steps and tasks, in the order in which they are given up. Two tasks are the fewest that can be told apart."""

RARE_SIZES = ((100, 8, 16), (100, 8, 8), (100, 8, 4), (100, 8, 2), (100, 4, 2), (50, 4, 2), (25, 4, 2), (12, 2, 2))
"""Steps, tasks and replicas of checks that wait for something rare. Long episodes are given up last."""


_SCHEDULE = Path("/proc/thread-self/schedstat")
"""Linux's statistics of a thread: nanoseconds on a core, nanoseconds in wait for one, and turns."""


@dataclass(frozen=True)
class Pace:
    """Seconds that one world takes."""

    make: float
    reset: float
    step: float

    def seconds(self, worlds: int, resets: int, steps: int) -> float:
        """Return the time of so many worlds, resets and steps."""
        return worlds * self.make + resets * self.reset + steps * self.step

    def __str__(self) -> str:
        return f"a world takes {self.make:.2g} s to make, {self.reset:.2g} s a reset and {self.step:.2g} s a step"


def measure(family: TaskFamily) -> Pace:
    """Return the pace of a family in its first steps. Whatever its code raises comes through."""
    _time_worlds(family)  # the first world imports, compiles and reads what the others then have
    paces = [_time_worlds(family) for _ in range(3)]
    # The fastest of each: something else on the machine may have held up the others.
    return Pace(*(min(getattr(pace, part) for pace in paces) for part in ("make", "reset", "step")))


def _time_worlds(family: TaskFamily) -> Pace:
    """Return the time that two worlds take, divided by two."""
    began = _own_seconds()
    with contextlib.closing(family.make_vec(family.sample("train", 1, seed=0), 2, threads=0)) as envs:
        made = _own_seconds()
        envs.restart(seed=0)
        reset = _own_seconds()
        streams = Streams.of(0, "pace", envs.tasks.index[:, None], np.arange(envs.replicas))
        actions = draw_actions(family.action_space, streams).reshape(envs.num_envs, *envs.action_shape)
        envs.advance(actions, np.ones(envs.num_envs, dtype=bool))
        return Pace((made - began) / 2, (reset - made) / 2, (_own_seconds() - reset) / 2)


def _own_seconds() -> float:
    """Return a clock that stands still while this thread waits for a core that others use, where the system tells."""
    try:
        waited = int(_SCHEDULE.read_text().split()[1]) / 1e9
    except (OSError, ValueError, IndexError):  # not Linux, or without statistics
        waited = 0.0
    return time.perf_counter() - waited


def choose_extent(family: TaskFamily, pace: Pace) -> Extent:
    """Return the largest extent whose checks end within `BUDGET`, or the least."""
    varied = len(family.parameters)
    common = (Extent(steps, num_tasks) for steps, num_tasks in SIZES)
    chosen = _first_within(BUDGET, common, lambda extent: pace.seconds(*count(extent, family.horizon, varied)))
    rare = (
        replace(chosen, rare_steps=steps, rare_tasks=num_tasks, rare_replicas=replicas)
        for steps, num_tasks, replicas in RARE_SIZES
    )
    chosen = _first_within(EXTRA * varied, rare, lambda extent: varied * _rare_seconds(extent, family.horizon, pace))
    whole = max(BRIEF, int(EXTRA / max(2 * pace.step, 1e-9)))
    return chosen if whole >= family.horizon else replace(chosen, horizon=whole)


def _first_within(budget: float, extents: Iterator[Extent], seconds: Callable[[Extent], float]) -> Extent:
    """Return the first extent that takes at most `budget` seconds. Where none does, it need not be the least.

    Most of the time may go into worlds and resets, and shorter episodes would then save little.
    """
    tried = {extent: seconds(extent) for extent in extents}
    enough = max(budget, 1.2 * min(tried.values()))
    return next(extent for extent, time in tried.items() if time <= enough)


def count(extent: Extent, horizon: int, varied: int) -> tuple[int, int, int]:
    """Return the worlds, resets and steps of the checks of a family with `varied` parameters that all act."""
    few, many = extent.few, extent.num_tasks
    # Plays of two replicas of a task in two episodes: repeats, seeds, batch, neighbours, pauses.
    plays = sum((2 * few, 3 * few, 2 * many + many, 5, 4))
    steps, brief = min(extent.steps, horizon), min(BRIEF, horizon)
    worlds, resets = 2 * plays + 4 * varied + 16, 4 * plays + 8 * varied + 24
    return worlds, resets, 4 * plays * steps + 8 * varied * brief + 14 * steps


def _rare_seconds(extent: Extent, horizon: int, pace: Pace) -> float:
    worlds = extent.rare_tasks * extent.rare_replicas
    return pace.seconds(worlds, 2 * worlds, 2 * worlds * min(extent.rare_steps, horizon))


def describe_loss(family: TaskFamily, pace: Pace, extent: Extent) -> str:
    """Return the end of a sentence that says what is played less than usual, '' where nothing is.

    What is looked for rarely is told where it is not found: see `check_parameters`.
    """
    usual = {"steps": "steps of an episode", "num_tasks": "tasks of a batch"}
    less = [
        f"{getattr(extent, name)} {words}, not {getattr(FULL, name)}"
        for name, words in usual.items()
        if getattr(extent, name) < getattr(FULL, name)
    ]
    if extent.horizon is not None:
        less.append(f"{extent.horizon} steps of a whole episode, not {family.horizon}")
    return f"{pace}, so less is played: {'; '.join(less)}" if less else ""


def limit(
    check: Callable[[TaskFamily, Extent], Iterator[str]], extent: Extent
) -> Callable[[TaskFamily], Iterator[str]]:
    """Return a check that plays as much as `extent` says."""

    @functools.wraps(check)
    def limited(family: TaskFamily) -> Iterator[str]:
        return check(family, extent)

    return limited
