"""What a family measures a round by beside its reward: errors, ranks, clicks, how varied a list is."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple, Protocol

import numpy as np


class Outcome(NamedTuple):
    """A second measure of a round, such as the clicks of a recommender that is rewarded for satisfaction."""

    meaning: str
    """What it is, in one sentence that also says which way is better."""
    percent: bool = False
    """Whether it is a share, which tables tell in percent."""
    pool: Callable[[np.ndarray], float] | None = None
    """None where every task has a value. Else a statistic of all tasks together, such as the share of a catalogue that
    anybody was shown: each task has counts [kind], and this maps their sum over tasks to the value."""
    objective: bool = False
    """Whether it is one of several objectives, of which more is better and the reward a weighted sum."""

    @property
    def unit(self) -> str:
        """The unit that tables put behind its name; '' for none."""
        return "%" if self.percent else ""


class Played(Protocol):
    """The arrays of one round that a family measures. `metarl.Episodes` has them."""

    @property
    def observations(self) -> np.ndarray:
        """Observation before each step. [time, task, replica, *observation]"""
        ...

    @property
    def actions(self) -> np.ndarray:
        """Action of each step. [time, task, replica, *action]"""
        ...

    @property
    def rewards(self) -> np.ndarray:
        """Reward of each step, zero where no step was taken. [time, task, replica]"""
        ...

    @property
    def mask(self) -> np.ndarray:
        """Whether a step was taken. bool [time, task, replica]"""
        ...

    @property
    def targets(self) -> np.ndarray | None:
        """Action that would have been right in each step; None if the family knows none. [time, task, replica, ...]"""
        ...

    @property
    def final_observations(self) -> np.ndarray:
        """Observation after each episode's last step. [task, replica, *observation]"""
        ...
