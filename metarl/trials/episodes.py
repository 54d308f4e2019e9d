"""What a trial consists of: time steps, episodes and rounds, as arrays over tasks and replicas."""

from __future__ import annotations

from dataclasses import dataclass, fields
from functools import cached_property

import numpy as np

from ..families.task import Tasks


def selected(episodes: Episodes, tasks: slice) -> Episodes:
    """Return the episodes of some tasks."""
    chosen = {field.name: getattr(episodes, field.name) for field in fields(episodes)}
    for name, array in chosen.items():
        if array is not None:
            chosen[name] = array[:, tasks] if name in OVER_TIME else array[tasks]
    return Episodes(**chosen)


@dataclass(frozen=True)
class TimeStep:
    """What a learner sees before it acts: the observation, and how the step before it ended."""

    observations: np.ndarray
    """[task, replica, *observation]"""
    previous_actions: np.ndarray
    """Action of the step before; zero at the first step of a trial. [task, replica, *action]"""
    previous_rewards: np.ndarray
    """Reward of the step before; zero at the first step of a trial. [task, replica]"""
    previous_terminations: np.ndarray
    """Whether the step before ended its episode by termination: this is then a new episode. bool [task, replica]"""
    previous_truncations: np.ndarray
    """Whether the step before ended its episode by truncation: this is then a new episode. bool [task, replica]"""
    active: np.ndarray
    """Whether the world will be stepped; where false, its episode is over and it waits. bool [task, replica]"""


@dataclass(frozen=True)
class Episodes:
    """One episode in every replica of every task, side by side in time."""

    observations: np.ndarray
    """Observation before each step. [time, task, replica, *observation]"""
    actions: np.ndarray
    """Action of each step as the learner chose it, before clipping to the action space. [time, task, replica, *action]"""
    rewards: np.ndarray
    """Reward of each step, zero where no step was taken. [time, task, replica]"""
    terminations: np.ndarray
    """Whether the step ended the episode for good. bool [time, task, replica]"""
    truncations: np.ndarray
    """Whether the step was cut off by the time limit. bool [time, task, replica]"""
    mask: np.ndarray
    """Whether a step was taken; false after the episode's end. bool [time, task, replica]"""
    final_observations: np.ndarray
    """The true observation after each episode's last step. [task, replica, *observation]"""
    successes: np.ndarray | None
    """Whether any step was a success; None where the family knows no success. bool [task, replica]"""
    unstable: np.ndarray | None = None
    """Whether the episode was cut off because the physics broke down; None where they cannot. bool [task, replica]"""

    @cached_property
    def returns(self) -> np.ndarray:
        """Undiscounted return of each episode. [task, replica]"""
        # Step after step: `sum` groups its terms by the shape of the batch, so a task alone would differ in the last bit.
        # Adding zero turns -0.0, which an episode keeps only where nobody outlasts it, into 0.0.
        return np.cumsum(self.rewards, axis=0)[-1] + 0.0

    @cached_property
    def lengths(self) -> np.ndarray:
        """Steps of each episode. int64 [task, replica]"""
        return self.mask.sum(axis=0)

    @property
    def num_unstable(self) -> int:
        """Number of episodes that were cut off because the physics broke down."""
        return 0 if self.unstable is None else int(self.unstable.sum())

    @cached_property
    def last_step(self) -> TimeStep:
        """What follows each episode's last step: the true final observation, last action, reward and kind of end."""
        last = (self.lengths - 1)[None]

        def take(array: np.ndarray) -> np.ndarray:
            return np.take_along_axis(array, last.reshape(*last.shape, *(1,) * (array.ndim - 3)), axis=0)[0]

        return TimeStep(
            observations=self.final_observations,
            previous_actions=take(self.actions),
            previous_rewards=take(self.rewards),
            previous_terminations=take(self.terminations),
            previous_truncations=take(self.truncations),
            active=np.ones_like(self.lengths, dtype=bool),
        )


OVER_TIME = ("observations", "actions", "rewards", "terminations", "truncations", "mask")
"""Fields of `Episodes` whose first axis is time; of the others it is the task."""


@dataclass(frozen=True)
class Trial:
    """All rounds of a learner in a batch of tasks."""

    tasks: Tasks
    """The tasks faced."""
    rounds: tuple[Episodes, ...]
    """The episodes of each round; the learner adapted between them."""
    exploring_steps: np.ndarray
    """Steps at the start of each trial that were not the policy's own: see `TrainableAgent`. int64 [task, replica]"""

    @cached_property
    def returns(self) -> np.ndarray:
        """Undiscounted return of each episode. [round, task, replica]"""
        return np.stack([episodes.returns for episodes in self.rounds])

    @property
    def num_unstable(self) -> int:
        """Number of episodes that were cut off because the physics broke down."""
        return sum(episodes.num_unstable for episodes in self.rounds)

    @cached_property
    def env_steps(self) -> np.ndarray:
        """Environment steps spent in each task by the end of each round, over all replicas. int64 [round, task]"""
        return np.cumsum([episodes.lengths.sum(axis=1) for episodes in self.rounds], axis=0)
