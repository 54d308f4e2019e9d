"""Checks of families that ask questions, and of families whose test tasks have values of their own."""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Iterator

import numpy as np
from gymnasium import spaces

from ..families.distributions import Subset
from ..families.family import TaskFamily
from ..families.questions import asks_questions
from ..families.spaces import action_at
from ..families.task import SPLITS, Parameter, Tasks
from .extent import FULL, Extent

DRAWS = 256
"""Tasks of a split in which values are compared."""
ROUNDS = 3
"""Rounds in which questions are compared."""


def check_own_values(family: TaskFamily, extent: Extent = FULL) -> Iterator[str]:
    """Where a parameter has distributions of its own for validation or test, no two splits share a value."""
    for name, parameter in family.parameters.items():
        own = [split for split in SPLITS[:-1] if split == "train" or getattr(parameter, split) is not None]
        values = {split: _values(family, name, parameter, split) for split in own}
        for one, other in itertools.combinations(own, 2):
            if shared := values[one] & values[other]:
                yield (
                    f"splits {one!r} and {other!r} share values of parameter {name!r}, such as {min(shared)}; give "
                    "each split values that no other has"
                )


def _values(family: TaskFamily, name: str, parameter: Parameter, split: str) -> set[tuple[float, ...]]:
    """Return the values of a split, of a subset every one of its numbers; of others those that are drawn."""
    distribution = parameter.of(split)
    if isinstance(distribution, Subset):
        return {(value,) for value in distribution.values}
    drawn = family.sample(split, DRAWS, seed=0).values[name]
    return {*map(tuple, drawn.reshape(DRAWS, -1).tolist())}


def check_labels(family: TaskFamily, extent: Extent = FULL) -> Iterator[str]:
    """Labels are dealt anew in each task: the same class has another label elsewhere."""
    for name, parameter in family.parameters.items():
        if not isinstance(parameter.train, Subset) or parameter.train.size < 2:
            continue
        rows = family.sample("train", DRAWS, seed=0).values[name]
        pairs = {(a, b) for row in rows.tolist() for a, b in itertools.combinations(row, 2)}
        if not any((b, a) in pairs for a, b in pairs) and _would_meet(parameter.train):
            yield f"parameter {name!r} has its values in one order in every task; draw them in random order"
        if asks_questions(family) and isinstance(family.target_space, spaces.Discrete) and _keeps(family, name):
            yield (
                f"questions have the same targets when the values of {name!r} change places; let the place of a value "
                "in the task be its label"
            )


def _would_meet(subset: Subset) -> bool:
    """Return whether `DRAWS` tasks in random order almost surely have two values in both orders."""
    drawn = DRAWS * subset.size * (subset.size - 1) / 2
    possible = len(subset.values) * (len(subset.values) - 1) / 2
    # About drawn^2 / (2 possible) pairs meet, half of them in both orders.
    return drawn**2 / (4 * possible) > 20


def _keeps(family: TaskFamily, name: str) -> bool:
    """Return whether some questions come again with the values of a task backwards, all with the same targets."""
    task = family.sample("train", 1, seed=0).values
    values = {key: np.concatenate([value, value[:, ::-1] if key == name else value]) for key, value in task.items()}
    both = Tasks(values, np.zeros(2, dtype=np.int64))
    targets: list[dict[bytes, bytes]] = [{}, {}]
    for observations, right in _ask(family, both, 0.0):
        for question, world in np.ndindex(observations.shape[:2]):
            targets[world % 2][observations[question, world].tobytes()] = right[question, world].tobytes()
    again = targets[0].keys() & targets[1].keys()
    return bool(again) and all(targets[0][question] == targets[1][question] for question in again)


def check_unanswered(family: TaskFamily, extent: Extent = FULL) -> Iterator[str]:
    """Answers change neither the questions nor their right answers."""
    if not asks_questions(family):
        return
    tasks = family.sample("train", 2, seed=0)
    for one, other in zip(_ask(family, tasks, 0.0), _ask(family, tasks, 1.0), strict=True):
        for name, ours, theirs in zip(("questions", "targets"), one, other, strict=True):
            if not np.array_equal(ours, theirs):
                yield f"other answers give other {name}; draw them from the task, the trial and `streams` alone"
                return


def _ask(family: TaskFamily, tasks: Tasks, answer: float) -> list[tuple[np.ndarray, np.ndarray]]:
    """Return the questions and targets of a few rounds, [question, world, ...], all with the same answer."""
    rounds = []
    with contextlib.closing(family.make_vec(tasks, threads=0)) as envs:
        for number in range(ROUNDS):
            envs.restart(seed=None if number else 0)
            asked = envs.asked()
            assert asked is not None  # a family of questions asks them
            answers = np.broadcast_to(action_at(family.action_space, answer), asked.targets.shape)
            envs.answer(answers.astype(family.action_space.dtype), asked)
            rounds.append((asked.observations, asked.targets))
    return rounds
