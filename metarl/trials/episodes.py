"""Time steps, episodes and trials, as arrays over tasks and replicas."""

from __future__ import annotations

from dataclasses import dataclass, fields
from functools import cached_property
from typing import Literal

import numpy as np

from ..families.task import Measure, Tasks


@dataclass(frozen=True)
class TimeStep:
    """The learner's input at each step: the observation, and the outcome of the step before."""

    observations: np.ndarray
    """[task, replica, *observation]"""
    previous_actions: np.ndarray
    """Action of the step before, zero at the first step of a trial. [task, replica, *action]"""
    previous_rewards: np.ndarray
    """Reward of the step before, zero at the first step of a trial. [task, replica]"""
    previous_terminations: np.ndarray
    """Whether the step before terminated its episode, so that this step begins a new one. bool [task, replica]"""
    previous_truncations: np.ndarray
    """Whether the step before truncated its episode, so that this step begins a new one. bool [task, replica]"""
    active: np.ndarray
    """Whether the world takes a step. Where false, its episode is over and it waits. bool [task, replica]"""
    previous_targets: np.ndarray | None = None
    """Action that would have been right in the step before, zero at the first step of a trial; None unless the family
    reveals targets step by step. [task, replica, *target]"""


@dataclass(frozen=True)
class Episodes:
    """One round: an episode in every replica of every task, aligned at their first steps."""

    observations: np.ndarray
    """Observation before each step. [time, task, replica, *observation]"""
    actions: np.ndarray
    """Action of each step as `act` returned it, not clipped to the action space. [time, task, replica, *action]"""
    rewards: np.ndarray
    """Reward of each step, zero where no step was taken. [time, task, replica]"""
    terminations: np.ndarray
    """Whether the step terminated the episode: no reward can follow. bool [time, task, replica]"""
    truncations: np.ndarray
    """Whether the step truncated the episode, at the time limit. bool [time, task, replica]"""
    mask: np.ndarray
    """Whether a step was taken: false after the episode's end. bool [time, task, replica]"""
    final_observations: np.ndarray
    """Observation after each episode's last step. [task, replica, *observation]"""
    successes: np.ndarray | None
    """Whether any step was a success; None if the family does not define success. bool [task, replica]"""
    unstable: np.ndarray | None = None
    """Whether unstable physics truncated the episode; None if they cannot be unstable. bool [task, replica]"""
    targets: np.ndarray | None = None
    """Action that would have been right in each step, zero where no step was taken; None if the family knows none, or
    does not reveal it. [time, task, replica, *target]"""
    confidences: np.ndarray | None = None
    """Probability that each action is right, as the learner saw it, NaN where it did not say; None but in evaluations
    of learners that say it. [time, task, replica]"""
    advised: np.ndarray | None = None
    """Action of a teacher in the student's place, zero where no step was taken; None but in training with a teacher.
    [time, task, replica, *action]"""
    advised_outputs: np.ndarray | None = None
    """The teacher's `Learner.outputs`; None but in training with a teacher that tells them. [time, task, replica, n]"""

    @cached_property
    def returns(self) -> np.ndarray:
        """Undiscounted return of each episode. [task, replica]"""
        # `sum` groups its terms by the shape of the batch, so that a task alone would differ in the last bit: `cumsum`
        # adds step after step. Adding 0.0 turns -0.0 into 0.0.
        return np.cumsum(self.rewards, axis=0)[-1] + 0.0

    def scores(self, measure: Measure) -> np.ndarray:
        """Return what each episode is measured by: its return, or its mean reward. [task, replica]"""
        return self.returns / self.lengths if measure.per_step else self.returns

    @cached_property
    def lengths(self) -> np.ndarray:
        """Steps of each episode. int64 [task, replica]"""
        return self.mask.sum(axis=0)

    @property
    def num_unstable(self) -> int:
        """Number of episodes that were truncated because their physics became unstable."""
        return 0 if self.unstable is None else int(self.unstable.sum())

    @cached_property
    def last_step(self) -> TimeStep:
        """The time step after each episode's last one: final observation, last action, last reward and kind of end."""
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
            previous_targets=None if self.targets is None else take(self.targets),
        )


OVER_TIME = (
    *("observations", "actions", "rewards", "terminations", "truncations", "mask", "targets", "confidences"),
    *("advised", "advised_outputs"),
)
"""Fields of `Episodes` whose first axis is time. The first axis of the others is the task."""


def select_tasks(episodes: Episodes, tasks: slice | np.ndarray) -> Episodes:
    """Return the episodes of the tasks that a slice or their numbers select."""
    chosen = {field.name: getattr(episodes, field.name) for field in fields(episodes)}
    for name, array in chosen.items():
        if array is not None:
            chosen[name] = array[:, tasks] if name in OVER_TIME else array[tasks]
    return Episodes(**chosen)


@dataclass(frozen=True)
class Imitation:
    """What an update makes of a teacher's advice."""

    loss: Literal["imitate", "kickstart"] = "imitate"
    """`imitate` learns from advice alone; `kickstart` adds its loss to that of the rewards or right answers."""
    weight: float = 1.0
    """Weight of the loss of the advice."""
    temperature: float = 1.0
    """What the logits of teacher and student are divided by before they are compared; the loss is multiplied by its
    square, so that gradients keep their size (Hinton et al., 2015)."""


@dataclass(frozen=True)
class Trial:
    """All rounds that one learner played in a batch of tasks."""

    tasks: Tasks
    """The tasks that the learner faced."""
    rounds: tuple[Episodes, ...]
    """Episodes of each round. The learner adapted between them."""
    exploring_steps: np.ndarray
    """Steps at the start whose actions were not the policy's: see `Learner.exploring_steps`. int64 [task, replica]"""
    answered: bool = True
    """Whether the agent played: see `TrainableAgent.answers_in_training`."""
    imitation: Imitation | None = None
    """What to make of `Episodes.advised`; None without a teacher."""

    def scores(self, measure: Measure) -> np.ndarray:
        """Return what each episode is measured by. [round, task, replica]"""
        return np.stack([episodes.scores(measure) for episodes in self.rounds])

    @cached_property
    def returns(self) -> np.ndarray:
        """Undiscounted return of each episode. [round, task, replica]"""
        return self.scores(Measure())

    @property
    def num_unstable(self) -> int:
        """Number of episodes that were truncated because their physics became unstable."""
        return sum(episodes.num_unstable for episodes in self.rounds)

    @cached_property
    def env_steps(self) -> np.ndarray:
        """Environment steps of all replicas of each task up to the end of each round. int64 [round, task]"""
        return np.cumsum([episodes.lengths.sum(axis=1) for episodes in self.rounds], axis=0)
