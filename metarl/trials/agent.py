"""What an agent and its learner promise."""

from __future__ import annotations

from typing import Any, Protocol, runtime_checkable

import numpy as np

from ..base.streams import Streams
from ..families.task import Tasks
from .episodes import Episodes, TimeStep, Trial

ORACLE = "oracle, shown the task"
"""What stands behind the name of an `Oracle` wherever agents or results are listed."""


class Learner(Protocol):
    """An agent while it faces a batch of unknown tasks; only this changes during a trial."""

    def act(self, timestep: TimeStep, *, deterministic: bool) -> np.ndarray:
        """Return an action for every replica of every task, [task, replica, *action]."""
        ...

    def adapt(self, episodes: Episodes) -> None:
        """Learn from a round of episodes in each task, before the next round."""
        ...


class Agent(Protocol):
    """What meta-training produced; evaluation never changes it."""

    def begin(self, streams: Streams) -> Learner:
        """Return a learner that has seen nothing yet, for a batch of `streams.shape == (num_tasks, replicas)`.

        Every random number it needs comes from `streams`, one stream for each replica of each task. An agent whose
        learner keeps the replicas of a task apart (a memory for each) says so by an attribute `pools_replicas = False`:
        an evaluation then counts the environment steps of one, not of all.

        Training plays the learners of several batches at the same time, on a thread each: what adapts belongs in the learner.
        """
        ...


@runtime_checkable
class Oracle(Protocol):
    """An agent that is shown the tasks it faces: a reference for what adaptation could reach, not a competitor."""

    def begin_knowing(self, tasks: Tasks, streams: Streams) -> Learner:
        """Return a learner for `tasks`, as `Agent.begin` does for tasks unknown."""
        ...


NUM_UPDATES = "num_updates"
"""What an agent's state calls the updates it has made, if it counts them for its schedules."""


@runtime_checkable
class TrainableAgent(Agent, Protocol):
    """An agent that meta-training improves and a checkpoint holds."""

    def update(self, trial: Trial, rng: np.random.Generator) -> dict[str, float]:
        """Make one meta-update from a trial and return what to log of it."""
        ...

    def state_dict(self) -> dict[str, Any]:
        """Return everything that training changes, as a flat dict of tensors: parameters, optimiser, statistics.

        A count of updates under 'num_updates' is zero again where another run starts from this one.
        """
        ...

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore what `state_dict` gave. Raises MetarlError where names or shapes differ."""
        ...


@runtime_checkable
class ExploringAgent(TrainableAgent, Protocol):
    """An agent that plays its trials of training otherwise than those of an evaluation."""

    def begin_training(self, streams: Streams) -> Learner:
        """Return a learner for a trial of training, as `begin` does for an evaluation.

        A learner that does not follow the agent's policy at first says by `exploring_steps`, int64 [task, replica], for
        how many steps of each trial; the update finds it in `Trial.exploring_steps`.
        """
        ...


def begin(agent: Agent | Oracle, tasks: Tasks, streams: Streams, *, training: bool = False) -> Learner:
    """Return a new learner of an agent; `tasks` are shown to an oracle only, and `training` told to who asks for it."""
    if isinstance(agent, Oracle):
        return agent.begin_knowing(tasks, streams)
    return agent.begin_training(streams) if training and isinstance(agent, ExploringAgent) else agent.begin(streams)
