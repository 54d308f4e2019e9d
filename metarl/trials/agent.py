"""The contract of agents and learners: what you write, what has a default, and who calls it when.

`metarl new-agent NAME` writes a package with a trainable agent and its tests. The smallest agent takes two classes:

>>> import metarl, numpy as np
>>> class Still(metarl.Agent):
...     '''Takes action zero at every step.'''
...     def __init__(self, config, family, *, seed, device):
...         self.action_shape = family.action_space.shape
...     def begin(self, streams):
...         return StillLearner((*streams.shape, *self.action_shape))
>>> class StillLearner(metarl.Learner):
...     def __init__(self, shape):
...         self.zeros = np.zeros(shape, dtype=np.float32)
...     def act(self, timestep, *, deterministic):
...         return self.zeros
>>> family = metarl.load("point-dense")
>>> result = metarl.evaluate(Still(None, family, seed=0, device="cpu"), family, num_tasks=10, rounds=2)
>>> result.returns.shape
(10, 2)

`metarl.check_agent(Still)` tests the rules below. `@metarl.register_agent("still")` gives it a name that configs and
the command line know. An evaluation makes these calls, in this order:

1. `agent = cls(config, family, seed=..., device=...)`: once.
2. `learner = agent.begin(streams)`: once for each batch of tasks.
3. `learner.act(timestep, deterministic=...)`: at every step of a round, for all tasks and replicas at once.
4. `learner.adapt(episodes)`: between two rounds, with the episodes of the first.

Training makes the same calls, with `agent.begin_training` in place of `begin`, and adds:

5. `agent.update(trial, rng)`: after each trial, with the episodes of all its rounds.
6. `agent.state_dict()` for a checkpoint, and `agent.load_state_dict(state)` to go on from one.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from ..base.errors import MetarlError
from ..base.settings import Settings
from ..base.streams import Streams
from ..families.family import TaskFamily
from ..families.task import Tasks
from .episodes import Episodes, TimeStep, Trial

if TYPE_CHECKING:
    from torch.distributed.device_mesh import DeviceMesh

    from .export import ExportedStep

ORACLE = "oracle, shown the task"
"""What listings and results add to the name of an oracle."""

NUM_UPDATES = "num_updates"
"""Last word of the keys of counts of updates in an agent's state. A run that starts from another one sets them to 0."""

OPTIMIZER = "optimizer"
"""A part of the keys of an optimiser's tensors in an agent's state."""


class Learner(ABC):
    """An agent while it faces a batch of unknown tasks. Everything that adapts lives here, and ends with the trial."""

    exploring_steps: np.ndarray | None = None
    """Steps at the start of a training trial whose actions are not the policy's, None for none. int64 [task, replica]

    The update finds them in `Trial.exploring_steps`, and leaves them out.
    """
    confidences: np.ndarray | None = None
    """Probability that each of the last actions is right, as the learner sees it; None, the default, if it does not
    say. From 0 to 1, [task, replica]; after `AnsweringLearner.answer` [question, task, replica]

    Set it in `act` where a family asks for classes: evaluations then measure how well the learner is calibrated.
    """

    outputs: np.ndarray | None = None
    """Numbers that define the policy's distribution over the last actions; None, the default, if it tells none.
    [task, replica, n]; after `AnsweringLearner.answer` [question, task, replica, n]

    Logits of each choice for a Discrete or MultiDiscrete space, of "on" for a MultiBinary one; for a Box, means and
    then logarithms of standard deviations, in the box scaled to [-1, 1]. A student that such an agent teaches imitates
    the distribution, not only the action.
    """

    @abstractmethod
    def act(self, timestep: TimeStep, *, deterministic: bool) -> np.ndarray:
        """Return an action for every replica of every task, [task, replica, *action].

        With `deterministic` the policy's mode, else a sample. Called at every step, until all episodes of the round
        have ended. Actions where `timestep.active` is false are not used. Draw random numbers from
        `streams.where(timestep.active)`: a task then plays the same alone as in a batch.
        """

    def adapt(self, episodes: Episodes) -> None:  # noqa: B027 -- many learners do nothing here
        """Learn from a round of episodes in each task, before the next round. By default, do nothing.

        A learner with a memory needs nothing here: the first `act` of the next round shows how the last episode ended.
        """

    def exported_step(self) -> ExportedStep | None:
        """Return the policy of now as a module of torch, for `Policy.export`; None, the default, if there is none.

        Raises MetarlError, which says why, where an agent can be exported but not with its settings.
        """
        return None


class AnsweringLearner(Learner):
    """A learner whose answers do not depend on each other: of a family that asks questions, it answers all at once.

    Write `answer` in place of `act`. What it learns, it learns between rounds in `adapt`.
    """

    @abstractmethod
    def answer(self, observations: np.ndarray, *, deterministic: bool) -> np.ndarray:
        """Return an answer to each question, [question, task, replica, *action], of [question, task, replica, ...].

        No answer may depend on other questions: `check_agent` asks them in another order, and one alone.
        """

    def act(self, timestep: TimeStep, *, deterministic: bool) -> np.ndarray:
        """Return the answers to one question in each world."""
        answers = self.answer(timestep.observations[None], deterministic=deterministic)
        self.confidences = None if self.confidences is None else self.confidences[0]
        self.outputs = None if self.outputs is None else self.outputs[0]
        return answers[0]


class NoSettings(Settings):
    """Settings of an agent that has none."""


class Agent(ABC):
    """The result of meta-training. Evaluation never changes it.

    Write `__init__` and `begin`. Extend `TrainableAgent` for an agent that training changes, `Oracle` for one that is
    shown its tasks. The attributes have defaults that fit most agents.
    """

    Config: ClassVar[type[Settings]] = NoSettings
    """Class of the agent's settings. A config's `agent:` section is checked by it and handed to `__init__`."""
    requires: ClassVar[str] = ""
    """Name of a module that the agent imports and metarl does not install; '' for none."""
    plays: ClassVar[tuple[str, ...]] = ()
    """Names of the families that the agent can play, if it cannot play them all; () for all."""
    shaped_by: ClassVar[tuple[str, ...]] = ()
    """Settings that change what the weights compute, but not their shapes. A checkpoint needs the same values."""
    rounds_setting: ClassVar[str] = ""
    """Setting that holds the number of rounds of a trial, '' for none. `metarl evaluate` sets it to `--rounds`."""
    pools_replicas: bool = True
    """Whether the replicas of a task learn together.

    If so, an evaluation counts the environment steps of all replicas. If each replica has a memory of its own, it
    counts those of one.
    """

    @property
    def min_rounds(self) -> int:
        """Fewest rounds in a trial of training. An agent that learns from adapted rounds needs two."""
        return 1

    def __init__(  # noqa: B027 -- an agent without parameters needs nothing of this
        self, config: Any = None, family: TaskFamily | None = None, *, seed: int = 0, device: str = "cpu"
    ) -> None:
        """Make a new agent for a family. The registry passes all four arguments.

        `config` is an instance of `Config`. Initial parameters are drawn from `seed`. `device` is 'cpu' or 'cuda'.
        Raises MetarlError for a family that the agent cannot play.
        """

    @abstractmethod
    def begin(self, streams: Streams) -> Learner:
        """Return a new learner for a batch of tasks. `streams.shape` is (num_tasks, replicas).

        `streams` holds a stream of random numbers for each replica of each task; the learner draws from it alone.
        Several learners of one agent may play at the same time, on a thread each: they must not change the agent.
        """


class TrainableAgent(Agent):
    """An agent that meta-training improves and a checkpoint holds. Write `update` and the two methods of its state."""

    answers_in_training: bool = True
    """Whether a trial of training plays the agent. False for one that learns from targets alone: where answers change
    nothing of what is asked, the trial then holds questions and targets, no actions and no rewards. `update` returns
    `return_before` and `return_after` in their place, the mean reward of the first and of the last round."""
    sums_over_ranks: ClassVar[bool] = False
    """Whether `update` sums over all processes that train together (`metarl.base.ranks`). Otherwise one trains it."""
    can_be_taught: bool = False
    """Whether `update` learns from a teacher's advice, `Trial.imitation` and `Episodes.advised`."""
    taken_together: ClassVar[tuple[tuple[str, ...], ...]] = ()
    """Parts of the state that mean nothing without each other, such as a value head and the scale of its values. A run
    that starts from what fits of another takes all of them or none."""
    memory_setting: ClassVar[str] = ""
    """Setting that trades memory for time, '' for none. A training that does not fit into memory names it."""

    def begin_training(self, streams: Streams) -> Learner:
        """Return a new learner for a trial of training. By default, the learner of `begin`.

        Override it for an agent that explores more in training; see `Learner.exploring_steps`.
        """
        return self.begin(streams)

    @abstractmethod
    def update(self, trial: Trial, rng: np.random.Generator) -> dict[str, float]:
        """Make one meta-update from a trial, and return the metrics to log, each a finite float.

        Random numbers come from `rng`. Raises MetarlError where parameters stop being finite, and leaves the agent as
        it was.
        """

    def memory_estimate(self, num_tasks: int, replicas: int, rounds: int) -> int:
        """Return about how many bytes of the machine's memory an update takes, beside the arrays of its trial.

        Training is refused where both do not fit. The default is zero: it is not known.
        """
        return 0

    def freeze(self, names: Collection[str]) -> None:
        """Keep these tensors of the state as they are in every update until the next call; `()` frees them all.

        `start_from.freeze` asks for it before each update. By default only `()` is possible: raises MetarlError for
        any name, as an agent should for one that it cannot freeze.
        """
        if names:
            raise MetarlError(f"{type(self).__name__} cannot freeze a part of itself; leave out start_from.freeze")

    def divide(self, mesh: DeviceMesh) -> None:
        """Divide the agent's networks over the processes of a mesh, whose axes are `data` and `tensor`.

        Afterwards all processes of the mesh make the same calls, `state_dict` among them. Raises MetarlError for an
        agent that cannot be divided.
        """
        raise MetarlError(f"{type(self).__name__} cannot be divided over processes; leave out parallel")

    @abstractmethod
    def state_dict(self) -> dict[str, Any]:
        """Return a copy of everything that training changes, as a flat dict of torch tensors by name.

        Parameters, optimiser state and running statistics all belong in it. Name a count of updates `num_updates`,
        alone or behind the name of a part (`adam.num_updates`): a run that starts from another one sets it to zero.
        Name an optimiser's tensors with `optimizer` as a part (`optimizer.weight.step`): a run that takes what fits
        takes none of them.
        """

    @abstractmethod
    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore a state that `state_dict` returned, torch tensors by name.

        Raises MetarlError where names or shapes differ.
        """


class Oracle(Agent):
    """An agent that is shown the tasks it faces: a reference for what adaptation could reach, not a competitor.

    Write `begin_knowing` in place of `begin`.
    """

    @abstractmethod
    def begin_knowing(self, tasks: Tasks, streams: Streams) -> Learner:
        """Return a new learner for `tasks`, as `Agent.begin` does for unknown ones."""

    def begin(self, streams: Streams) -> Learner:
        """Raise MetarlError: an oracle cannot begin without its tasks."""
        raise MetarlError(f"{type(self).__name__} is an oracle and must be shown its tasks; call begin_knowing")


def begin_learner(agent: Agent, tasks: Tasks, streams: Streams, *, training: bool = False) -> Learner:
    """Return a new learner of any agent: the one place that tells oracles and trainable agents apart.

    Only an oracle is shown `tasks`; only a trainable agent is told of `training`. Raises MetarlError for an object that
    is not an agent, and for an agent that does not return a `Learner`.
    """
    require_agent(agent)
    if isinstance(agent, Oracle):
        learner = agent.begin_knowing(tasks, streams)
    elif training and isinstance(agent, TrainableAgent):
        learner = agent.begin_training(streams)
    else:
        learner = agent.begin(streams)
    if not isinstance(learner, Learner):
        raise MetarlError(
            f"{type(agent).__name__} began with an object of class {type(learner).__name__}; "
            "return a learner whose class extends metarl.Learner"
        )
    return learner


def require_agent(agent: object) -> None:
    """Raise MetarlError unless `agent` is an instance of a class that extends `metarl.Agent`."""
    if isinstance(agent, Agent):
        return
    if isinstance(agent, type) and issubclass(agent, Agent):
        raise MetarlError(f"agent is the class {agent.__name__}; make an instance of it, as metarl.make_agent does")
    raise MetarlError(f"agent is an object of class {type(agent).__name__}; its class must extend metarl.Agent")


def require_tensors(state: object) -> None:
    """Raise MetarlError unless an agent's state is a dict of torch tensors by name."""
    from torch import Tensor

    if not isinstance(state, Mapping):
        raise MetarlError(f"state_dict returns an object of class {type(state).__name__}; return a dict of tensors")
    for name, value in state.items():
        if not isinstance(name, str) or not isinstance(value, Tensor):
            raise MetarlError(
                f"state_dict holds {name!r} of class {type(value).__name__}; it must hold torch tensors by name, such "
                "as torch.tensor(value)"
            )


def require_agent_class(cls: object, title: str = "agent") -> None:
    """Raise MetarlError, which calls it `title`, unless `cls` is a whole class that extends `metarl.Agent`."""
    if not (isinstance(cls, type) and issubclass(cls, Agent)):
        raise MetarlError(f"{title} is {cls!r}; it must be a class that extends metarl.Agent")
    if missing := sorted(cls.__abstractmethods__):
        raise MetarlError(f"{title}: class {cls.__name__} lacks {', '.join(missing)}; write the methods")
    if not (isinstance(cls.Config, type) and issubclass(cls.Config, Settings)):
        raise MetarlError(f"{title}: Config is {cls.Config!r}; it must be a class that extends metarl.Settings")
