"""What trials an evaluation plays: one record for `evaluate`, `film` and the command line."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypedDict

import numpy as np

from ..base.bounds import LAST_SEED, MOST
from ..base.errors import MetarlError, did_you_mean
from ..base.settings import shorten
from ..base.streams import generator
from ..families.family import TaskFamily
from ..families.task import SPLITS, Tasks


@dataclass(frozen=True, kw_only=True)
class TrialPlan:
    """The trials of an evaluation: equal plans name equal tasks and equal random numbers.

    Raises MetarlError for an unknown split, a count below one, a negative seed, and a budget without a second round.
    """

    split: str = "test"
    """Split of the family that the tasks are from: 'train', 'validation', 'test' or 'extrapolation'."""
    num_tasks: int = 40
    """Tasks, the first of the split for this seed."""
    rounds: int = 2
    """Rounds that are measured in each task; the agent adapts between them."""
    replicas: int = 1
    """Episodes side by side in each task and round."""
    budget: int = 1
    """Rounds from one measured round to the next. With 100, rounds 1, 101, 201, ... are measured; the agent plays and
    learns from those between as well."""
    deterministic: bool = False
    """Take the policy's mode at every step, as stable-baselines3's `evaluate_policy` does, instead of a sample."""
    seed: int = 0
    """Seed of the tasks and the episodes."""

    def __post_init__(self) -> None:
        for name in ("num_tasks", "rounds", "replicas", "budget"):
            object.__setattr__(self, name, _whole_number(name, getattr(self, name), 1, MOST))
        object.__setattr__(self, "seed", _whole_number("seed", self.seed, 0, LAST_SEED))
        if not isinstance(self.split, str):
            raise MetarlError(f"split is {self.split!r}; it must be the name of a split")
        if self.split not in SPLITS:
            raise MetarlError(f"split {shorten(self.split)} is unknown; {did_you_mean(self.split, SPLITS)}")
        if not isinstance(self.deterministic, (bool, np.bool_)):
            raise MetarlError(f"deterministic is {self.deterministic!r}; it must be True or False")
        object.__setattr__(self, "deterministic", bool(self.deterministic))
        if self.budget > 1 and self.rounds == 1:
            raise MetarlError(
                f"budget is {self.budget} and rounds is 1; a budget lies between measured rounds: take at least 2 "
                "rounds"
            )

    @property
    def rounds_played(self) -> int:
        """Rounds that are played in each task, measured or not."""
        return 1 + (self.rounds - 1) * self.budget

    @property
    def trial_seed(self) -> int:
        """Seed of the episodes and of the learner. It differs by split, as the tasks do."""
        return int(generator(self.seed, "evaluation", self.split).integers(2**63))

    def tasks(self, family: TaskFamily) -> Tasks:
        """Return the plan's tasks. Raises MetarlError where the family does not have the split."""
        return family.sample(self.split, self.num_tasks, seed=self.seed)


def _whole_number(name: str, value: object, least: int, most: int) -> int:
    """Return an integer of Python's for one of Python's or NumPy's. Raises MetarlError for anything else."""
    if isinstance(value, (bool, np.bool_)) or not isinstance(value, (int, np.integer)):
        raise MetarlError(f"{name} is {value!r}; it must be a whole number")
    if value < least:
        raise MetarlError(f"{name} is {value}; it must be at least {least}")
    if value > most:
        raise MetarlError(f"{name} is {shorten(value)}; it must be at most {most}")
    return int(value)


class PlanFields(TypedDict, total=False):
    """The fields of `TrialPlan` as keyword arguments, for type checkers."""

    split: str
    num_tasks: int
    rounds: int
    replicas: int
    budget: int
    deterministic: bool
    seed: int
