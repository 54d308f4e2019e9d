"""Tasks that change from episode to episode, for libraries that play one endless sequence of episodes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal, get_args

import numpy as np

from ..families.family import TaskFamily
from ..families.faults import ArgumentValueError
from ..families.switching import SwitchingFamily
from ..families.task import Values

TaskOnReset = Literal["keep", "redraw"]
"""Whether a world keeps its task when an episode begins, or plays the next training task."""


class TaskDraws:
    """The training tasks that each world plays, one an episode.

    After a reset with one seed for all, world i of n plays tasks i, i + n, i + 2 n, ... of the training list of that
    seed. After a reset with a seed of its own it plays tasks 0, 1, 2, ... of the list of its seed. Without a seed the
    list is that of seed 0. So the tasks of a world do not depend on when the episodes of others end.

    Raises ArgumentValueError for a family with `switch_at`, and MetarlError for one that cannot change the task of a
    running environment.
    """

    def __init__(self, family: TaskFamily, num_worlds: int) -> None:
        if isinstance(family, SwitchingFamily):
            raise ArgumentValueError(
                "task_on_reset is 'redraw', and the family has switch_at, which counts steps of a trial in one task; "
                "leave one of them out"
            )
        family.require_changeable()
        self.family = family
        self.seeds = [0] * num_worlds
        """Seed of the list of tasks of each world."""
        self.following = np.arange(num_worlds)
        """Number of the next task of each world in its list. int64 [world]"""
        self.strides = np.full(num_worlds, num_worlds)
        """Distance between the numbers of two tasks of a world. int64 [world]"""

    def restart(self, seed: int | Sequence[int | None], where: np.ndarray) -> None:
        """Begin the list of tasks again in the worlds of `where`, bool [world], that have a seed."""
        shared = isinstance(seed, (int, np.integer))
        for world in np.flatnonzero(where).tolist():
            own: Any = seed if shared else seed[world]  # type: ignore[index]
            if own is not None:
                self.seeds[world] = int(own)
                self.following[world] = world if shared else 0
                self.strides[world] = len(where) if shared else 1

    def draw(self, where: np.ndarray, values: Values) -> Values:
        """Return `values`, one row a world, with the next task in the rows marked in `where`, bool [world]."""
        drawn = {name: value.copy() for name, value in values.items()}
        lists: dict[int, list[int]] = {}
        for world in np.flatnonzero(where).tolist():
            lists.setdefault(self.seeds[world], []).append(world)
        for seed, worlds in lists.items():
            numbers = self.following[worlds]
            first = int(numbers.min())
            tasks = self.family.sample("train", int(numbers.max()) - first + 1, seed=seed, start=first)
            for name, value in tasks.values.items():
                drawn[name][worlds] = value[numbers - first]
        self.following[where] += self.strides[where]
        return drawn


def read_task_on_reset(given: Any) -> bool:
    """Return whether tasks are drawn anew. Raises ArgumentValueError for anything but 'keep' and 'redraw'."""
    if given not in get_args(TaskOnReset):
        raise ArgumentValueError(f"task_on_reset is {given!r}; it must be 'keep' or 'redraw'")
    return bool(given == "redraw")


def require_no_task(given: Any, name: str) -> None:
    """Raise ArgumentValueError where a task is given and tasks are drawn anew. `name` is that of the argument."""
    if given is not None:
        raise ArgumentValueError(f"{name} is given, and task_on_reset is 'redraw'; leave one of them out")
