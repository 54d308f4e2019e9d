"""Checks of agents that work at the same time, on a thread each, as the parts of a meta-batch do in training."""

from __future__ import annotations

import functools
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from types import FrameType
from typing import Any, TypeVar

from ..base.streams import generator
from ..trials.agent import TrainableAgent
from ..trials.episodes import Episodes, Trial
from .probes import NUM_TASKS, Subject, first_change, state_arrays

T = TypeVar("T")

_THREAD_SAFE = sys.stdlib_module_names | {"torch", "numpy", "gymnasium", "pydantic"}
_THREAD_SAFE_PARTS = frozenset({"base", "families", "trials", "checks", "envs"})
"""Packages, and parts of our own, whose lines need not be interrupted: they keep nothing of an agent. Most are theirs.

An agent's functions are interrupted wherever they are called from.
"""

_IN_STEP = frozenset({"act", "adapt", "update"})
"""Functions that the threads begin together. Turns of a line each then put one thread between two lines of another."""

_PATIENCE = 0.02
"""Seconds to wait for a thread's next line. One that takes longer computes, or waits for a lock of the others."""


def run_at_once(works: Sequence[Callable[[], T]]) -> list[T]:
    """Return what each of `works` returns, all run at the same time, on a thread each.

    The threads take turns line by line. Chance would rarely stop a thread between two lines that share something; here
    each such place is met. An error of one is raised.
    """
    turns = _Turns(len(works))

    def run(number: int) -> T:
        sys.settrace(functools.partial(_trace, turns, number))  # of this thread alone, which ends with its work
        try:
            turns.meet(number)
            return works[number]()
        finally:
            sys.settrace(None)
            turns.leave(number)

    with ThreadPoolExecutor(len(works)) as pool:
        return list(pool.map(run, range(len(works))))


def _trace(turns: _Turns, number: int, frame: FrameType, event: str, argument: Any) -> Any:
    if event == "call":
        if frame.f_code.co_name in _IN_STEP:
            turns.meet(number)
        return None if _is_safe(str(frame.f_globals.get("__name__"))) else functools.partial(_trace, turns, number)
    if event == "line":
        turns.pass_on(number)
    return functools.partial(_trace, turns, number)


@functools.cache
def _is_safe(module: str) -> bool:
    top, part, *_ = (*module.split("."), "")
    return top in _THREAD_SAFE or (top == "metarl" and part in _THREAD_SAFE_PARTS)


class _Turns:
    """Lets one thread after the other go on by a line."""

    def __init__(self, count: int) -> None:
        self.changed = threading.Condition()
        self.alive = set(range(count))
        """Threads that have not ended."""
        self.waiting = set(self.alive)
        """Threads that take turns, in order of their numbers: all alive that were quick to reach a line of theirs."""
        self.turn = 0
        self.met: set[int] = set()
        """Threads that wait for the others to begin a function."""
        self.meetings = 0

    def pass_on(self, number: int) -> None:
        """Let the next thread go on by a line, and wait for the own turn."""
        with self.changed:
            self.waiting.add(number)
            if self.turn == number or self.turn not in self.waiting:
                self._give(number)
            while self.turn != number:
                holder = self.turn
                if not self.changed.wait(_PATIENCE) and self.turn == holder:
                    self.waiting.add(number)  # which another may have dropped
                    self._drop(holder)  # until its next line

    def meet(self, number: int) -> None:
        """Wait until every thread that has not ended is here, for a second at most; then the first has its turn."""
        with self.changed:
            meeting = self.meetings
            self.met.add(number)
            self._drop(number)
            if not self._begin_together():
                self.changed.wait_for(lambda: self.meetings > meeting, timeout=1.0)

    def leave(self, number: int) -> None:
        """Take turns without this thread."""
        with self.changed:
            self.alive.discard(number)
            self._drop(number)
            self._begin_together()

    def _begin_together(self) -> bool:
        if not self.met or not self.met >= self.alive:
            return False
        self.met.clear()
        self.meetings += 1
        self.waiting = set(self.alive)
        self.turn = min(self.alive, default=0)
        self.changed.notify_all()
        return True

    def _drop(self, number: int) -> None:
        self.waiting.discard(number)
        if self.turn == number:
            self._give(number)

    def _give(self, number: int) -> None:
        """Give the turn of thread `number` to the next one in order."""
        behind = {each for each in self.waiting if each > number} or self.waiting
        if behind:
            self.turn = min(behind)
            self.changed.notify_all()


def check_threads(subject: Subject) -> Iterator[str]:
    """Learners, and agents, that work at the same time give the bits that they give one after the other."""
    agent, half = subject.make(), NUM_TASKS // 2
    training = isinstance(agent, TrainableAgent)
    plays = [
        functools.partial(subject.trial, agent, part, training=training)
        for part in (subject.tasks()[:half], subject.tasks()[half:])
    ]
    alone = [play() for play in plays]
    if not all(map(_same_bits, alone, run_at_once(plays))):
        yield (
            "a learner plays differently while another one plays on another thread; give each learner what its act and "
            "adapt change, and share only what they read"
        )
    elif training:
        yield from _check_updates(subject)


def _check_updates(subject: Subject) -> Iterator[str]:
    lesson, other = subject.lesson, subject.make(seed=1)
    trials = [lesson.trial, subject.trial(other, training=True)]
    after = run_at_once([functools.partial(subject.make, seed) for seed in (0, 1)])
    other.update(trials[1], generator(0))
    run_at_once(
        [functools.partial(agent.update, trial, generator(0)) for agent, trial in zip(after, trials, strict=True)]
    )
    for ours, theirs in zip((lesson.after, state_arrays(other)), after, strict=True):
        if name := first_change(ours, state_arrays(theirs)):
            yield (
                f"two agents that are made and trained at the same time, on a thread each, get another {name!r}; keep "
                "all state in the agent: no variables of a class or a module, no generator of the process"
            )
            return


def _same_bits(ours: Trial, theirs: Trial) -> bool:
    return all(map(_same_round, ours.rounds, theirs.rounds))


def _same_round(ours: Episodes, theirs: Episodes) -> bool:
    names = ("mask", "actions", "observations", "rewards")
    pairs = [(getattr(ours, name), getattr(theirs, name)) for name in names]
    return all(a.shape == b.shape and a.tobytes() == b.tobytes() for a, b in pairs)
