"""Rollouts and trials: a learner plays rounds of episodes in a batch of unknown tasks, and adapts between them."""

from __future__ import annotations

import functools
import itertools
from collections.abc import Callable, Iterator
from dataclasses import replace

import numpy as np
from gymnasium import spaces

from ..base.errors import AUTHOR_ERRORS, MetarlError, told_at, user_code
from ..base.ranks import alone
from ..base.stopwatch import Stopwatch
from ..base.streams import Streams
from ..families.spaces import shape_of
from ..families.vector import BatchedEnv
from .actions import raise_at, read_actions, read_confidences
from .agent import Agent, AnsweringLearner, Learner, TrainableAgent, begin_learner
from .answers import advised_rounds, answer_round, ask_rounds
from .episodes import Episodes, TimeStep, Trial
from .teaching import Advice, TaughtLearner, Teaching, taught


def rollout(
    envs: BatchedEnv,
    learner: Learner,
    previous: Episodes | None = None,
    *,
    seed: int | None = None,
    deterministic: bool = False,
    stopwatch: Stopwatch | None = None,
    on_step: Callable[[], None] | None = None,
    title: str = "",
    with_confidences: bool = False,
) -> Episodes:
    """Return one round: exactly one episode in every replica of every task.

    Without `previous` this is the first round of a trial, and `seed` seeds the environment. With the round before as
    `previous`, the first time step shows the learner how it ended, and the environment's random streams go on. A world
    whose episode has ended waits for the others, with `TimeStep.active` false. A `stopwatch` measures the parts
    `simulation` and `inference`. `on_step` is called after every step. `title` begins the line of a learner's error;
    by default it names class and family. `with_confidences` keeps how sure the learner says it is.

    Raises MetarlError where `act` returns anything but actions of the family's space, and UserCodeError where it fails.
    """
    stopwatch, title = stopwatch or Stopwatch(), title or _learner_title(learner, envs)
    with stopwatch.part("simulation"):
        observations = envs.restart(seed=seed)
    if isinstance(learner, AnsweringLearner) and (asked := envs.asked()) is not None:
        return answer_round(envs, learner, asked, stopwatch, title, deterministic, with_confidences)
    timestep = _first_step(envs, observations, previous)
    recorder = _Recorder(envs, stopwatch, with_confidences)
    while np.count_nonzero(timestep.active):
        with stopwatch.part("inference"):
            try:
                actions = learner.act(timestep, deterministic=deterministic)
                actions = read_actions(actions, envs, timestep.active)
                recorder.keep_told(learner, timestep.active)
            except AUTHOR_ERRORS as error:
                raise_at(f"{title}, step {recorder.time + 1}", error)
        timestep = recorder.step(timestep, actions)
        if on_step is not None:
            on_step()
    return recorder.episodes(timestep.observations)


def _learner_title(learner: Learner, envs: BatchedEnv) -> str:
    return f"learner {type(learner).__name__} on family {envs.family.name!r}"


def _first_step(envs: BatchedEnv, observations: np.ndarray, previous: Episodes | None) -> TimeStep:
    shape, space = envs.shape, envs.single_action_space
    observations = observations.reshape(*shape, *observations.shape[1:])
    if previous is not None:
        step = replace(previous.last_step, observations=observations)
        return step if envs.family.reveal == "step" else replace(step, previous_targets=None)
    return TimeStep(
        observations=observations,
        previous_actions=np.zeros((*shape, *envs.action_shape), dtype=space.dtype),
        previous_rewards=np.zeros(shape),
        previous_terminations=np.zeros(shape, dtype=bool),
        previous_truncations=np.zeros(shape, dtype=bool),
        active=np.ones(shape, dtype=bool),
        previous_targets=_no_targets(envs, shape) if envs.family.reveal == "step" else None,
    )


def _no_targets(envs: BatchedEnv, lead: tuple[int, ...]) -> np.ndarray | None:
    """Return zeros in the place of targets, [*lead, *target]; None in a family that knows none."""
    space = envs.family.target_space
    return None if space is None else np.zeros((*lead, *shape_of(space)), dtype=space.dtype)


class _Recorder:
    """Steps the environment and records every step."""

    def __init__(self, envs: BatchedEnv, stopwatch: Stopwatch, with_confidences: bool) -> None:
        self.envs, self.stopwatch, self.with_confidences = envs, stopwatch, with_confidences
        self.time = 0
        shape, horizon = envs.shape, envs.family.horizon
        layout, action = envs.layout, envs.single_action_space
        self.observations = layout.zeros((horizon, *shape))
        self.actions = np.zeros((horizon, *shape, *envs.action_shape), dtype=action.dtype)
        self.rewards = np.zeros((horizon, *shape))
        self.terminations = np.zeros((horizon, *shape), dtype=bool)
        self.truncations = np.zeros((horizon, *shape), dtype=bool)
        self.mask = np.zeros((horizon, *shape), dtype=bool)
        self.successes: np.ndarray | None = None
        self.unstable: np.ndarray | None = None
        self.targets = _no_targets(envs, (horizon, *shape))
        self.shown = self.targets if envs.family.reveal == "step" else None
        self.confidences: np.ndarray | None = None
        self.advised: np.ndarray | None = None
        self.advised_outputs: np.ndarray | None = None
        self.bounds = (action.low, action.high) if isinstance(action, spaces.Box) else None

    def step(self, timestep: TimeStep, actions: np.ndarray) -> TimeStep:
        t, shape = self.time, self.envs.shape
        clipped = actions if self.bounds is None else actions.clip(*self.bounds)
        with self.stopwatch.part("simulation"):
            step = self.envs.advance(clipped.reshape(-1, *actions.shape[2:]), timestep.active.reshape(-1))
        following = TimeStep(
            observations=step.observations.reshape(*shape, *step.observations.shape[1:]),
            previous_actions=self.actions[t],
            previous_rewards=self.rewards[t],
            previous_terminations=self.terminations[t],
            previous_truncations=self.truncations[t],
            active=timestep.active & ~(step.terminations | step.truncations).reshape(shape),
            previous_targets=None if self.shown is None else self.shown[t],
        )
        self.observations[t] = timestep.observations
        self.actions[t] = actions
        self.rewards[t] = step.rewards.reshape(shape)
        self.terminations[t] = step.terminations.reshape(shape)
        self.truncations[t] = step.truncations.reshape(shape)
        self.mask[t] = timestep.active
        if self.targets is not None and step.targets is not None:
            known = step.targets.reshape(self.targets.shape[1:])
            self.targets[t][timestep.active] = known[timestep.active]
        if step.successes is not None:
            now = step.successes.reshape(shape) & timestep.active
            self.successes = now if self.successes is None else self.successes | now
        if step.unstable is not None:
            fell = step.unstable.reshape(shape) & timestep.active
            self.unstable = fell if self.unstable is None else self.unstable | fell
        self.time += 1
        return following

    def keep_told(self, learner: Learner, active: np.ndarray) -> None:
        """Record what the learner says of the actions of the present step."""
        self._keep_confidences(learner.confidences, active)
        if isinstance(learner, TaughtLearner):
            self._keep_advice(learner.advice, active)

    def _keep_confidences(self, confidences: np.ndarray | None, active: np.ndarray) -> None:
        """Record how sure the learner is of the actions of the present step, if it says so and that is asked for."""
        if not self.with_confidences or confidences is None:
            return
        if self.confidences is None:
            self.confidences = np.full(self.mask.shape, np.nan)
        self.confidences[self.time][active] = read_confidences(confidences, active)[active]

    def _keep_advice(self, advice: Advice, active: np.ndarray) -> None:
        """Record what a teacher would do in the present step."""
        advice = advice._replace(actions=read_actions(advice.actions, self.envs, active))
        if self.advised is None:
            made = (None if each is None else np.zeros((len(self.mask), *each.shape), each.dtype) for each in advice)
            self.advised, self.advised_outputs = made
        for kept, each in zip((self.advised, self.advised_outputs), advice, strict=True):
            if kept is not None and each is not None:
                kept[self.time][active] = each[active]

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
            targets=None if self.targets is None else self.targets[:end],
            confidences=None if self.confidences is None else self.confidences[:end],
            advised=None if self.advised is None else self.advised[:end],
            advised_outputs=None if self.advised_outputs is None else self.advised_outputs[:end],
        )


def run_trial(
    agent: Agent,
    envs: BatchedEnv,
    rounds: int,
    *,
    seed: int,
    training: bool = False,
    stopwatch: Stopwatch | None = None,
    teaching: Teaching | None = None,
) -> Trial:
    """Return a trial: a new learner plays `rounds` rounds in the tasks of `envs`, and adapts between them.

    The learner acts with its exploration noise, as a policy gradient from noiseless episodes is zero. With `training`
    a trainable agent may explore more: see `TrainableAgent.begin_training`. A `stopwatch` measures the parts
    `simulation`, `inference` and `adaptation`. With `teaching`, a teacher says at every step what it would do.

    Raises MetarlError for fewer than one round, and for an object that is not a `metarl.Agent`.
    """
    if rounds < 1:
        raise MetarlError(f"rounds is {rounds}; it must be at least 1")
    title = _title(agent, envs)
    none = np.zeros((len(envs.tasks), envs.replicas), dtype=np.int64)
    plays = not training or not isinstance(agent, TrainableAgent) or agent.answers_in_training
    if not plays and (asked := ask_rounds(envs, rounds, seed, stopwatch or Stopwatch())) is not None:
        if teaching is None:
            return Trial(envs.tasks, asked, none, answered=False)
        with alone():
            advised = advised_rounds(teaching, envs, asked, seed, title)
        if advised is not None:
            return Trial(envs.tasks, advised, none, answered=False, imitation=teaching.imitation)
    with alone():  # a learner meets the tasks of this process only
        learner = _begin(agent, envs, seed, title, training=training)
        if teaching is not None:
            learner = taught(learner, teaching, envs, seed)
        played = _rounds(learner, envs, title, rollout, seed=seed, stopwatch=stopwatch)
        episodes = tuple(itertools.islice(played, rounds))
    exploring = none if learner.exploring_steps is None else learner.exploring_steps
    return Trial(envs.tasks, episodes, exploring, imitation=None if teaching is None else teaching.imitation)


def rounds_of(
    agent: Agent,
    envs: BatchedEnv,
    *,
    seed: int,
    deterministic: bool = False,
    stopwatch: Stopwatch | None = None,
    on_step: Callable[[], None] | None = None,
    teaching: Teaching | None = None,
) -> Iterator[Episodes]:
    """Return the rounds of `run_trial` one by one, without end, so that a long trial need not fit in memory.

    The learner adapts to a round when the next one is asked for. With `deterministic` it takes its policy's mode at
    every step. `on_step` is called after each. Episodes hold how sure the learner was, if it says so, and with
    `teaching` what its teachers would have done.
    """
    title = _title(agent, envs)
    learner = _begin(agent, envs, seed, title)
    if teaching is not None:
        learner = taught(learner, teaching, envs, seed)
    play = functools.partial(rollout, with_confidences=True, deterministic=deterministic, on_step=on_step)
    return _rounds(learner, envs, title, play, seed=seed, stopwatch=stopwatch)


def _title(agent: Agent, envs: BatchedEnv) -> str:
    return f"agent {type(agent).__name__} on family {envs.family.name!r}"


def _begin(agent: Agent, envs: BatchedEnv, seed: int, title: str, *, training: bool = False) -> Learner:
    streams = Streams.of(seed, "learner", envs.tasks.index[:, None], np.arange(envs.replicas))
    with user_code(f"{title}, begin"):
        return begin_learner(agent, envs.tasks, streams, training=training)


def _rounds(
    learner: Learner,
    envs: BatchedEnv,
    title: str,
    play_round: Callable[..., Episodes],
    *,
    seed: int,
    stopwatch: Stopwatch | None = None,
) -> Iterator[Episodes]:
    stopwatch = stopwatch or Stopwatch()
    play = functools.partial(play_round, envs, learner, stopwatch=stopwatch)
    episodes = play(seed=seed, title=f"{title}, round 1")
    for number in itertools.count(2):
        yield episodes
        with stopwatch.part("adaptation"), told_at(f"{title}, adapt to round {number - 1}"):
            learner.adapt(episodes if envs.family.reveal != "never" else replace(episodes, targets=None))
        episodes = play(previous=episodes, title=f"{title}, round {number}")
