"""Trials: a learner meets a batch of unknown tasks, plays rounds of episodes, and adapts between them."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, Protocol, runtime_checkable

import numpy as np
from gymnasium import spaces

from .errors import MetarlError
from .stopwatch import Stopwatch
from .streams import Streams
from .task import Tasks
from .vector import BatchedEnv, shape_of


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
    """Steps at the start of each trial that were not the policy's own: see `ExploringAgent`. int64 [task, replica]"""

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


def rollout(
    envs: BatchedEnv,
    learner: Learner,
    previous: Episodes | None = None,
    *,
    seed: int | None = None,
    deterministic: bool = False,
    stopwatch: Stopwatch | None = None,
) -> Episodes:
    """Play exactly one episode in every replica of every task, and return them.

    `previous` is the round before in the same trial: the learner sees its end at the first step, and the environment's
    random streams go on. Without it this is a first round, seeded by `seed`. Worlds whose episode has ended wait for the
    others; `TimeStep.active` says so. A `stopwatch` is told the parts `simulation` and `inference`.
    """
    stopwatch = stopwatch or Stopwatch()
    with stopwatch.part("simulation"):
        observations, _ = envs.reset(seed=seed)
    timestep = _first_step(envs, observations, previous)
    recorder = _Recorder(envs, stopwatch)
    while timestep.active.any():
        with stopwatch.part("inference"):
            actions = learner.act(timestep, deterministic=deterministic)
        timestep = recorder.step(timestep, actions)
    return recorder.episodes(timestep.observations)


def _first_step(envs: BatchedEnv, observations: np.ndarray, previous: Episodes | None) -> TimeStep:
    shape, space = envs.shape, envs.single_action_space
    observations = observations.reshape(*shape, *observations.shape[1:])
    if previous is not None:
        return replace(previous.last_step, observations=observations)
    return TimeStep(
        observations=observations,
        previous_actions=np.zeros((*shape, *shape_of(space)), dtype=space.dtype),
        previous_rewards=np.zeros(shape),
        previous_terminations=np.zeros(shape, dtype=bool),
        previous_truncations=np.zeros(shape, dtype=bool),
        active=np.ones(shape, dtype=bool),
    )


class _Recorder:
    """Steps the environment and writes down what happened."""

    def __init__(self, envs: BatchedEnv, stopwatch: Stopwatch) -> None:
        self.envs, self.stopwatch = envs, stopwatch
        self.time = 0
        shape, horizon = envs.shape, envs.family.horizon
        observation, action = envs.single_observation_space, envs.single_action_space
        self.observations = np.zeros((horizon, *shape, *shape_of(observation)), dtype=observation.dtype)
        self.actions = np.zeros((horizon, *shape, *shape_of(action)), dtype=action.dtype)
        self.rewards = np.zeros((horizon, *shape))
        self.terminations = np.zeros((horizon, *shape), dtype=bool)
        self.truncations = np.zeros((horizon, *shape), dtype=bool)
        self.mask = np.zeros((horizon, *shape), dtype=bool)
        self.successes: np.ndarray | None = None
        self.unstable: np.ndarray | None = None
        self.bounds = (action.low, action.high) if isinstance(action, spaces.Box) else None

    def step(self, timestep: TimeStep, actions: np.ndarray) -> TimeStep:
        t, shape = self.time, self.envs.shape
        if actions.shape != self.actions.shape[1:]:
            raise MetarlError(f"act returned shape {actions.shape}; it must be {self.actions.shape[1:]}")
        clipped = actions if self.bounds is None else np.clip(actions, *self.bounds)
        with self.stopwatch.part("simulation"):
            step = self.envs.advance(clipped.reshape(-1, *actions.shape[2:]), timestep.active.reshape(-1))
        following = TimeStep(
            observations=step.observations.reshape(*shape, *step.observations.shape[1:]),
            previous_actions=self.actions[t],
            previous_rewards=self.rewards[t],
            previous_terminations=self.terminations[t],
            previous_truncations=self.truncations[t],
            active=timestep.active & ~(step.terminations | step.truncations).reshape(shape),
        )
        self.observations[t] = timestep.observations
        self.actions[t] = actions
        self.rewards[t] = step.rewards.reshape(shape)
        self.terminations[t] = step.terminations.reshape(shape)
        self.truncations[t] = step.truncations.reshape(shape)
        self.mask[t] = timestep.active
        if step.successes is not None:
            now = step.successes.reshape(shape) & timestep.active
            self.successes = now if self.successes is None else self.successes | now
        if step.unstable is not None:
            fell = step.unstable.reshape(shape)
            self.unstable = fell if self.unstable is None else self.unstable | fell
        self.time += 1
        return following

    def episodes(self, final_observations: np.ndarray) -> Episodes:
        end = self.time
        return Episodes(
            observations=self.observations[:end],
            actions=self.actions[:end],
            rewards=self.rewards[:end],
            terminations=self.terminations[:end],
            truncations=self.truncations[:end],
            mask=self.mask[:end],
            final_observations=final_observations,
            successes=self.successes,
            unstable=self.unstable,
        )


def begin(agent: Agent | Oracle, tasks: Tasks, streams: Streams, *, training: bool = False) -> Learner:
    """Return a new learner of an agent; `tasks` are shown to an oracle only, and `training` told to who asks for it."""
    if isinstance(agent, Oracle):
        return agent.begin_knowing(tasks, streams)
    return agent.begin_training(streams) if training and isinstance(agent, ExploringAgent) else agent.begin(streams)


def run_trial(
    agent: Agent | Oracle,
    envs: BatchedEnv,
    rounds: int,
    *,
    seed: int,
    training: bool = False,
    stopwatch: Stopwatch | None = None,
) -> Trial:
    """Play `rounds` rounds of a new learner in the tasks of `envs`, adapting between them.

    Training and evaluation both come through here. The learner acts with its exploration noise throughout: a policy
    gradient taken from noiseless episodes is zero. In a trial of `training` an agent may explore more: see
    `ExploringAgent`. A `stopwatch` is told the parts `simulation`, `inference` and `adaptation`. Raises MetarlError for
    fewer than one round.
    """
    if rounds < 1:
        raise MetarlError(f"rounds is {rounds}; it must be at least 1")
    learner = begin(agent, envs.tasks, _streams(envs, seed), training=training)
    played = _rounds(learner, envs, seed=seed, deterministic=False, stopwatch=stopwatch)
    episodes = tuple(itertools.islice(played, rounds))
    none = np.zeros((len(envs.tasks), envs.replicas), dtype=np.int64)
    return Trial(envs.tasks, episodes, getattr(learner, "exploring_steps", none))


def rounds_of(
    agent: Agent | Oracle,
    envs: BatchedEnv,
    *,
    seed: int,
    deterministic: bool = False,
    stopwatch: Stopwatch | None = None,
) -> Iterator[Episodes]:
    """Return the rounds of `run_trial` one by one, without end: a long trial need not be held in memory.

    The learner adapts to a round when the next one is asked for. A `deterministic` one takes its policy's mode at every step.
    """
    learner = begin(agent, envs.tasks, _streams(envs, seed))
    return _rounds(learner, envs, seed=seed, deterministic=deterministic, stopwatch=stopwatch)


def _streams(envs: BatchedEnv, seed: int) -> Streams:
    return Streams.of(seed, "learner", envs.tasks.index[:, None], np.arange(envs.replicas))


def _rounds(
    learner: Learner, envs: BatchedEnv, *, seed: int, deterministic: bool, stopwatch: Stopwatch | None
) -> Iterator[Episodes]:
    stopwatch = stopwatch or Stopwatch()
    episodes = rollout(envs, learner, seed=seed, deterministic=deterministic, stopwatch=stopwatch)
    while True:
        yield episodes
        with stopwatch.part("adaptation"):
            learner.adapt(episodes)
        episodes = rollout(envs, learner, episodes, deterministic=deterministic, stopwatch=stopwatch)
