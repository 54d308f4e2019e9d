"""The contract of agents and learners, whole: what to write, what may be left at its default, and what calls it when."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any, ClassVar, Protocol

import numpy as np

from ..base.errors import MetarlError
from ..base.settings import Settings
from ..base.streams import Streams
from ..families.family import TaskFamily
from ..families.task import Tasks
from .episodes import Episodes, TimeStep, Trial

ORACLE = "oracle, shown the task"
"""What listings and results say behind the name of an oracle."""

NUM_UPDATES = "num_updates"
"""Key in an agent's state of the updates it has made, if it counts them for its schedules."""


class Learner(Protocol):
    """An agent while it faces a batch of unknown tasks; only this changes during a trial."""

    def act(self, timestep: TimeStep, *, deterministic: bool) -> np.ndarray:
        """Return an action for every replica of every task, [task, replica, *action].

        `deterministic` asks for the policy's mode instead of a sample. What is returned where `timestep.active` is
        false is not used.
        """
        ...

    def adapt(self, episodes: Episodes) -> None:
        """Learn from a round of episodes in each task, before the next round."""
        ...


class NoSettings(Settings):
    """Settings of an agent that has none."""


class Agent(ABC):
    """What meta-training produced; evaluation never changes it.

    An agent that does not learn in training implements `__init__` and `begin`; one that does extends `TrainableAgent`.
    The attributes below have defaults that fit most agents.
    """

    Config: ClassVar[type[Settings]] = NoSettings
    """Class of the agent's settings, beside the code that reads them; `config` is an instance of it."""
    requires: ClassVar[str] = ""
    """Importable package that the agent needs beside metarl's own; '' where it needs none."""
    plays: ClassVar[tuple[str, ...]] = ()
    """Names of the only families that the agent plays; it refuses others with a MetarlError when it is made. () for any."""
    shaped_by: ClassVar[tuple[str, ...]] = ()
    """Settings that cannot change after training, although the weights would still fit, as they make other networks."""
    rounds_setting: ClassVar[str] = ""
    """Setting that must hold the number of rounds of a trial; `metarl evaluate` sets it. '' where there is none."""
    pools_replicas: bool = True
    """Whether the replicas of a task learn together. If each has a memory of its own, an evaluation counts the
    environment steps of one replica, not of all."""

    @property
    def min_rounds(self) -> int:
        """Rounds that a trial must have for the agent to learn from it in training."""
        return 1

    def __init__(  # noqa: B027 -- an agent without parameters needs nothing of this
        self, config: Any = None, family: TaskFamily | None = None, *, seed: int = 0, device: str = "cpu"
    ) -> None:
        """Make a new agent for a family; the registry calls it with all four.

        `config` is a `Config`; initial parameters are drawn from `seed`; `device` is 'cpu' or 'cuda'. Raises MetarlError
        for a family that the agent cannot play.
        """

    @abstractmethod
    def begin(self, streams: Streams) -> Learner:
        """Return a learner that has seen nothing yet, for a batch of `streams.shape == (num_tasks, replicas)`.

        Every random number it needs comes from `streams`, one stream for each replica of each task. Training plays the
        learners of several batches at the same time, on a thread each: what adapts belongs in the learner.
        """


class Oracle(Agent):
    """An agent that is shown the tasks it faces: a reference for what adaptation could reach, not a competitor."""

    @abstractmethod
    def begin_knowing(self, tasks: Tasks, streams: Streams) -> Learner:
        """Return a learner for `tasks`, as `Agent.begin` does for unknown ones."""

    def begin(self, streams: Streams) -> Learner:
        """Raise MetarlError: an oracle cannot begin before the tasks are shown."""
        raise MetarlError(f"{type(self).__name__} is an oracle and must be shown its tasks; call begin_knowing")


class TrainableAgent(Agent):
    """An agent that meta-training improves and a checkpoint holds."""

    def begin_training(self, streams: Streams) -> Learner:
        """Return a learner for a trial of training; the default is that of an evaluation.

        A learner that does not follow the agent's policy at first has an attribute `exploring_steps`, int64
        [task, replica]: for how many steps of each trial. The update finds it in `Trial.exploring_steps`.
        """
        return self.begin(streams)

    @abstractmethod
    def update(self, trial: Trial, rng: np.random.Generator) -> dict[str, float]:
        """Make one meta-update from a trial and return what to log of it."""

    @abstractmethod
    def state_dict(self) -> dict[str, Any]:
        """Return everything that training changes, as a flat dict of tensors: parameters, optimiser, statistics.

        A count of updates under 'num_updates' is zero again where another run starts from this one.
        """

    @abstractmethod
    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore what `state_dict` gave. Raises MetarlError where names or shapes differ."""


def begin(agent: Agent, tasks: Tasks, streams: Streams, *, training: bool = False) -> Learner:
    """Return a new learner of an agent; `tasks` are shown to an oracle only, and `training` to who learns from it."""
    if isinstance(agent, Oracle):
        return agent.begin_knowing(tasks, streams)
    return agent.begin_training(streams) if training and isinstance(agent, TrainableAgent) else agent.begin(streams)
