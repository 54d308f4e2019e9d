"""How fast every family steps, beside the limit of the machine and beside other steppers."""

from __future__ import annotations

import contextlib
import functools
import itertools
import statistics
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import gymnasium

from ..adapters.gymnasium import SingleEnv
from ..base.cores import available_threads
from ..base.errors import MetarlError
from ..base.meter import Report, counted, ignore, part_of
from ..base.progress import say
from ..base.text import align_columns
from ..families.arrays import ArrayFamily
from ..families.family import FAMILIES, TaskFamily, missing_requirement
from ..families.load import load
from ..families.mujoco.family import MujocoFamily
from .rivals import (
    Empty,
    Rate,
    envpool,
    gymnasium_async,
    gymnasium_maker,
    gymnasium_sync,
    has_envpool,
    native,
    raw_limit,
    sb3_subprocesses,
    stepping_rate,
)

LIMIT_GOALS: Mapping[str, Mapping[int, float]] = {
    "HalfCheetah-v5": {64: 0.75, 256: 0.85},
    "Ant-v5": {64: 0.85},
    "Humanoid-v5": {64: 0.85},
    "Hopper-v5": {64: 0.85},
    "Walker2d-v5": {64: 0.85},
}
"""Least share of the limit, by Gymnasium's name of the body and the number of worlds."""
RIVAL_GOALS: Mapping[str, Mapping[str, float]] = {
    "HalfCheetah-v5": {"EnvPool": 1.0, "AsyncVectorEnv": 5.0, "SubprocVecEnv": 5.0}
}
"""Least ratio to a rival's rate, by Gymnasium's name of the body."""
MODELS_GOAL = 0.95
"""Least ratio of the rate with a model for each world to the rate with one model."""
MAKING_GOAL = 1.0
"""Least ratio of the time of ten batched steps to the time of making the batch."""
ARRAY_GOAL = 2e6
"""Least steps per second of an array family on one core."""
SYNC_GOAL = 100.0
"""Least ratio of an array family's rate to SyncVectorEnv's."""

ARRAY_WORLDS = 4096
SYNC_WORLDS = 256
"""Environments in SyncVectorEnv, whose rate does not rise with more."""
NEW_TASKS, REPLICAS, TEN = 40, 5, 10


@dataclass(frozen=True)
class Comparison:
    """Rates of ours and of a rival, measured in turn."""

    table: str
    subject: str
    rival: str
    worlds: int
    ours: tuple[float, ...]
    """Steps per second in each measurement."""
    theirs: tuple[float, ...]
    """Steps per second of the rival, the mean of just before and just after each measurement."""
    goal: float | None = None
    """Least ratio; None if there is no goal."""
    rate_goal: float | None = None
    """Least rate of ours, steps per second; None if there is no goal."""

    @property
    def ratios(self) -> list[float]:
        """Ours over theirs in each measurement, ascending."""
        return sorted(ours / theirs for ours, theirs in zip(self.ours, self.theirs, strict=True))

    @property
    def ratio(self) -> float:
        """The median ratio."""
        return statistics.median(self.ratios)

    @property
    def met(self) -> bool | None:
        """Whether every goal is met; None if there is none."""
        held = [
            figure >= goal
            for figure, goal in ((self.ratio, self.goal), (statistics.median(self.ours), self.rate_goal))
            if goal is not None
        ]
        return all(held) if held else None

    def cells(self) -> tuple[str, ...]:
        """Return the row of the table."""
        digits = 2 if self.ratio < 10 else 0
        ratios = [f"{ratio:.{digits}f}" for ratio in (self.ratio, self.ratios[0], self.ratios[-1])]
        goals = [] if self.goal is None else [f"{self.goal:.{digits}f}"]
        goals += [] if self.rate_goal is None else [f"{self.rate_goal:,.0f}/s"]
        met = {True: "met", False: "missed", None: ""}[self.met]
        rates = [_figure(statistics.median(rates)) for rates in (self.ours, self.theirs)]
        return (self.subject, str(self.worlds), rates[0], self.rival, rates[1], ratios[0], "-".join(ratios[1:]),
                " and ".join(goals), met)  # fmt: skip


def _figure(rate: float) -> str:
    return f"{rate:,.0f}" if rate >= 100 else f"{rate:.1f}"


HEADER = ("", "worlds", "ours", "beside", "its rate", "ratio", "range", "goal", "")


def measure_pairs(ours: Rate, theirs: Rate, seconds: float, repeats: int) -> list[tuple[float, float]]:
    """Return rates of both, measured in turn; theirs is the mean of just before and just after ours.

    Other work on the machine comes and goes, and slows neighbours in time alike.
    """
    pairs, before = [], theirs(seconds)
    for _ in range(repeats):
        now = ours(seconds)
        after = theirs(seconds)
        pairs.append((now, (before + after) / 2))
        before = after
    return pairs


@dataclass(frozen=True)
class _Meter:
    """Makes comparisons with measurements of one length and number."""

    seconds: float
    repeats: int

    def __call__(
        self,
        table: str,
        subject: str,
        rival: str,
        worlds: int,
        ours: Rate,
        theirs: Rate,
        goal: float | None = None,
        rate_goal: float | None = None,
    ) -> Comparison:
        pairs = measure_pairs(ours, theirs, self.seconds, self.repeats)
        mine, other = zip(*pairs, strict=True)
        return Comparison(table, subject, rival, worlds, mine, other, goal, rate_goal)

    def coarse(self) -> _Meter:
        """Return a meter that takes half the time, for ratios that are large."""
        return _Meter(self.seconds / 2, max(self.repeats // 2, 1))


T = TypeVar("T")

Tables = list[tuple[str, Iterator[Comparison]]]
"""Titles, and comparisons that are measured when they are iterated over."""


def bench_simulation(
    names: Sequence[str] = (),
    *,
    worlds: int = 64,
    seconds: float = 0.5,
    repeats: int = 5,
    rivals: bool = True,
    report: Report = ignore,
) -> list[Comparison]:
    """Print the tables of `metarl bench sim` as they are measured, and return their rows.

    `names` are families, by default all that are installed; `worlds` step side by side; each rate is measured `repeats`
    times for `seconds`. With `rivals` other steppers are measured too. `report` is told the share that was measured.
    Raises MetarlError for an unknown family.
    """
    families = [load(name) for name in names or _installed()]
    found = []
    for title, comparisons in _tables(families, worlds, _Meter(seconds, repeats), report, rivals=rivals):
        rows = list(comparisons)
        if rows:
            say(f"\n{title}\n{align_columns([HEADER, *(row.cells() for row in rows)])}")
        found += rows
    say(
        "\nours: environment steps per second, with observations, rewards and resets. Rates are medians; a ratio is "
        "the median\nof ratios measured side by side, with their range. One body stands for all families with the same "
        "simulation."
    )
    if rivals and not has_envpool():
        say("EnvPool is not installed and was left out; pip install metarl-suite[bench]")
    return found


def _tables(families: Sequence[TaskFamily], worlds: int, meter: _Meter, report: Report, *, rivals: bool) -> Tables:
    simulations = _simulations(families)
    arrays = [family for family in families if isinstance(family, ArrayFamily)]
    if not simulations and not arrays:
        raise MetarlError("none of these families is made of arrays or of MuJoCo; see `metarl families`")
    threads, chain = available_threads(), itertools.chain.from_iterable
    own = [family for family in simulations if family.has_own_models]
    bodies = _bodies(simulations) if rivals else []

    def each(number: int, subjects: Sequence[T]) -> Iterator[T]:
        return counted(subjects, part_of(report, number, 5), len(subjects))

    return [
        (
            f"Physics: share of the limit, raw mj_step in {threads} processes, for the same body and tasks",
            chain(_beside_limit(family, worlds, meter) for family in each(0, simulations)),
        ),
        (
            f"Physics: beside other steppers of Gymnasium's environment, with {threads} threads if they use threads",
            chain(_beside_rivals(family, worlds, meter) for family in each(1, bodies)),
        ),
        (
            "Physics as task: a model for each world, beside one model for all of them",
            (_models(family, worlds, meter) for family in each(2, own)),
        ),
        (
            f"Physics as task: batches made per second for {NEW_TASKS} new tasks, beside ten steps of all worlds",
            (_making(family, meter.coarse()) for family in each(3, own)),
        ),
        (
            f"Array families on one core, beside {SYNC_WORLDS} environments in Gymnasium's SyncVectorEnv",
            chain(_arrays(family, rivals, meter.coarse()) for family in each(4, arrays)),
        ),
    ]


def _installed() -> list[str]:
    """Return the families whose packages are installed."""
    return [name for name in FAMILIES if not missing_requirement(FAMILIES[name])]


# Physics.


def _simulations(families: Sequence[TaskFamily]) -> list[MujocoFamily]:
    """Return one family for each simulation; families that share one step at the same rate."""
    found: dict[tuple[object, ...], MujocoFamily] = {}
    # Those that only delay, and those with few tasks, make poor examples: replicas of a task share a model.
    order = sorted(
        (family for family in families if isinstance(family, MujocoFamily)),
        key=lambda family: (family.physics.delay, family.num_tasks is not None),
    )
    for family in order:
        kind = (
            family.asset,
            family.frame_skip,
            family.reads_contacts,
            bool(family.derived),
            family.has_own_models,
        )
        found.setdefault(kind, family)
    return sorted(found.values(), key=lambda family: (family.asset, family.has_own_models))


def _bodies(simulations: Sequence[MujocoFamily]) -> list[MujocoFamily]:
    """Return the first simulation of each of Gymnasium's environments."""
    found: dict[str, MujocoFamily] = {}
    for family in simulations:
        if family.gymnasium_id:
            found.setdefault(family.gymnasium_id, family)
    return list(found.values())


def _label(family: MujocoFamily) -> str:
    return f"{family.name} ({family.gymnasium_id or family.asset})"


def _beside_limit(family: MujocoFamily, worlds: int, meter: _Meter) -> Iterator[Comparison]:
    goals = LIMIT_GOALS.get(family.gymnasium_id, {})
    for count in sorted({worlds, *(goals if worlds in goals else ())}):
        tasks = count if family.has_own_models else 1
        with raw_limit(family, tasks) as limit, native(family, count) as ours:
            yield meter("limit", _label(family), "limit", count, ours, limit, goals.get(count))


def _beside_rivals(family: MujocoFamily, worlds: int, meter: _Meter) -> Iterator[Comparison]:
    body = family.gymnasium_id
    makers = [gymnasium_maker(body)] * worlds
    rivals: dict[str, tuple[Callable[[], contextlib.AbstractContextManager[Rate]], _Meter]] = {
        "AsyncVectorEnv": (lambda: gymnasium_async(makers), meter.coarse()),
        "SubprocVecEnv": (lambda: sb3_subprocesses(makers), meter.coarse()),
        "SyncVectorEnv": (lambda: gymnasium_sync(makers), meter.coarse()),
    }
    if has_envpool():
        rivals["EnvPool"] = (lambda: envpool(body, worlds), meter)
    for name, (rival, measured) in rivals.items():
        # The rival first: its processes start as copies of this one, which must not have threads at work.
        with rival() as theirs, native(family, worlds) as ours:
            goal = RIVAL_GOALS.get(body, {}).get(name)
            yield measured("rivals", _label(family), name, worlds, ours, theirs, goal)


def _models(family: MujocoFamily, worlds: int, meter: _Meter) -> Comparison:
    """Compare a model for each world with one model for all, of several tasks in turn because their costs differ."""
    tasks, others = family.sample("train", worlds, seed=0), 8

    def of_one_model(seconds: float) -> float:
        rates = []
        for _ in range(others):
            with contextlib.closing(family.make_vec(tasks[[next(turn)]], worlds)) as envs:
                rates.append(stepping_rate(envs)(seconds / others))
        return statistics.harmonic_mean(rates)

    turn = itertools.cycle(range(worlds))
    with native(family, worlds) as ours:
        return meter("models", _label(family), "one model", worlds, ours, of_one_model, MODELS_GOAL)


def _making(family: MujocoFamily, meter: _Meter) -> Comparison:
    """Compare making a batch for new tasks with ten steps of the batch, both as a rate per second."""
    worlds, drawn = NEW_TASKS * REPLICAS, itertools.count(NEW_TASKS, NEW_TASKS)

    def make(seconds: float) -> float:
        made, spent = 0, 0.0
        while spent < seconds:
            tasks = family.sample("train", NEW_TASKS, seed=0, start=next(drawn))
            began = time.perf_counter()
            envs = family.make_vec(tasks, REPLICAS)
            spent += time.perf_counter() - began
            made += 1
            envs.close()
        return made / spent

    tasks = family.sample("train", NEW_TASKS, seed=0)
    with contextlib.closing(family.make_vec(tasks, REPLICAS)) as envs:
        steps = stepping_rate(envs)
        ten: Rate = lambda seconds: steps(seconds) / (TEN * worlds)
        return meter("making", _label(family), "ten steps", worlds, make, ten, MAKING_GOAL)


# Arrays.


def _arrays(family: ArrayFamily, with_empty: bool, meter: _Meter) -> Iterator[Comparison]:
    """Compare with Gymnasium's own class if there is one, else with ours one by one; then with an empty class."""
    own = family.gymnasium_id
    tasks = family.sample("train", SYNC_WORLDS, seed=0)
    singles = [functools.partial(SingleEnv, family, task) for task in tasks]
    rivals: dict[str, Sequence[Callable[[], gymnasium.Env[Any, Any]]]] = {
        own or "one by one": [gymnasium_maker(own)] * SYNC_WORLDS if own else singles
    }
    if with_empty:
        rivals["empty class"] = [functools.partial(Empty, family)] * SYNC_WORLDS
    for number, (name, makers) in enumerate(rivals.items()):
        with native(family, ARRAY_WORLDS, threads=0) as ours, gymnasium_sync(makers) as theirs:
            goals = (SYNC_GOAL, None if own else ARRAY_GOAL) if number == 0 else (None, None)
            yield meter("arrays", family.name, name, ARRAY_WORLDS, ours, theirs, *goals)
