"""How much memory trials take, estimated before they are played: one line instead of a process that is killed."""

from __future__ import annotations

import numpy as np

from ..base.errors import MetarlError
from ..base.memory import available_memory
from ..families.family import TaskFamily
from ..families.layout import layout_of
from .plan import TrialPlan

_GIB = 2**30
ROUNDS_KEPT = 2
"""Rounds that an evaluation holds at the same time: the last one, and the one that is played."""


def trial_bytes(family: TaskFamily, *, tasks: int, replicas: int, rounds: int) -> int:
    """Return the bytes of the arrays of a trial whose rounds are all kept, if every episode lasts to its horizon."""
    observation, action = (layout_of(space).num_bytes for space in (family.observation_space, family.action_space))
    parameters = sum(8 * int(np.prod(each.train.shape, dtype=object)) for each in family.parameters.values())
    # Each step has a reward (8 bytes), a termination, a truncation and a mask; each world the step before.
    step, world = observation + action + 11, 2 * (observation + action + parameters + 11)
    return tasks * replicas * (rounds * family.horizon * step + world)


def require_memory(
    family: TaskFamily, *, what: str, tasks: int, replicas: int, rounds: int, remedy: str, more: int = 0
) -> None:
    """Raise MetarlError if trials do not fit into the memory that is free.

    `what` and `remedy` begin and end the message. `rounds` are those that are kept at the same time, and `more` are the
    bytes that an agent takes beside them.
    """
    needed, free = trial_bytes(family, tasks=tasks, replicas=replicas, rounds=rounds) + more, available_memory()
    if free is not None and needed > free:
        raise MetarlError(
            f"{what} would take about {_in_gib(needed)} GiB ({tasks} tasks x {replicas} replicas x {family.horizon} "
            f"steps x {rounds} rounds), and {_in_gib(free)} GiB of memory are free; {remedy}"
        )


def require_plan_memory(family: TaskFamily, plan: TrialPlan, tasks: int | None = None) -> None:
    """Raise MetarlError if the trials of an evaluation do not fit into memory; `tasks` are those side by side."""
    require_memory(
        family,
        what="the evaluation",
        tasks=tasks or plan.num_tasks,
        replicas=plan.replicas,
        rounds=min(plan.rounds_played, ROUNDS_KEPT),
        remedy="take fewer tasks (num_tasks, --tasks, --among) or replicas, or a shorter horizon",
    )


def _in_gib(size: int) -> str:
    return f"{size / _GIB:,.1f}" if size < 10**15 else f"{size / _GIB:.0e}"
