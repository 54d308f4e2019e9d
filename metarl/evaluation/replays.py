"""One task, played again without some of its examples: all variants side by side, with equal questions and numbers."""

from __future__ import annotations

import contextlib
from dataclasses import replace
from typing import NamedTuple

import numpy as np
from gymnasium import spaces

from ..base.errors import MetarlError, told_at, user_code
from ..base.streams import Streams
from ..families.family import TaskFamily
from ..families.question_batch import QuestionBatch, Questions
from ..families.questions import require_questions
from ..families.task import Tasks
from ..families.vector import BatchedEnv
from ..trials.agent import Agent, AnsweringLearner, Learner, begin_learner
from ..trials.episodes import Episodes, TimeStep
from ..trials.memory import trial_bytes
from ..trials.plan import TrialPlan
from ..trials.registered import agent_name
from ..trials.rollout import rollout
from .evaluate import ASKED_BYTES

ROUNDS = 2
"""Rounds of a replay: the examples, and the questions whose answers are explained."""


class Replay(NamedTuple):
    """What the variants of a trial answered in their last round."""

    answers: np.ndarray
    """Answers as the family takes them, within its bounds. [variant, query, *action]"""
    confidences: np.ndarray | None
    """Probability that the learner gave its answer; None where it does not say. [variant, query]"""
    queries: Questions
    """What was asked, and the right answers. [1, query, ...]"""


def require_examples(family: TaskFamily) -> int:
    """Return the number of examples of a trial's first round.

    Raises MetarlError for a family that asks no questions, and for a single example.
    """
    count = require_questions(family).num_questions(0)
    if count < 2:
        raise MetarlError(
            f"the first round of family {family.name!r} has {count} example; to leave one out takes at least 2: set "
            "the family's number of examples, such as shots, higher"
        )
    return count


def examples_of(family: TaskFamily, task: Tasks, plan: TrialPlan) -> Questions:
    """Return the examples of the first round of a task's trial, [1, example, ...]."""
    with contextlib.closing(_worlds(family, task, 1)) as envs:
        envs.restart(seed=plan.trial_seed)
        asked = _questions(envs).asked()
        return Questions(np.moveaxis(asked.observations, 1, 0), np.moveaxis(asked.targets, 1, 0))


def replay(agent: Agent, family: TaskFamily, task: Tasks, plan: TrialPlan, left_out: np.ndarray) -> Replay:
    """Return the answers of a trial of two rounds in one task, played once for each row of `left_out`.

    In variant v the first round is shorter by the examples that `left_out` [variant, example] marks, bool. Questions
    and random numbers of all variants are equal. The answers of the last round are the agent's modes, as a sample would
    hide what an example changes; those of the first round are samples for agents that learn from their noise.

    Variants are played as many at a time as fit into `ASKED_BYTES`.
    """
    bytes_each = trial_bytes(family, tasks=1, replicas=1, rounds=ROUNDS)
    size = max(1, ASKED_BYTES // bytes_each)
    numbers = _numbers_of(agent, family, task, plan)
    parts = [
        _play(agent, family, task, plan, left_out[start : start + size], numbers)
        for start in range(0, len(left_out), size)
    ]
    last = parts[0]
    assert last.targets is not None  # a family of questions knows them
    answers = np.concatenate([part.actions[:, :, 0] for part in parts], axis=1)
    confidences = [part.confidences for part in parts]
    space = family.action_space
    if isinstance(space, spaces.Box):
        answers = answers.clip(space.low, space.high)
    return Replay(
        answers=np.moveaxis(answers, 1, 0),
        confidences=_join([None if each is None else each[:, :, 0].T for each in confidences]),
        queries=Questions(last.observations[None, :, 0, 0], last.targets[None, :, 0, 0]),
    )


def _join(parts: list[np.ndarray | None]) -> np.ndarray | None:
    """Return all confidences; None where a learner did not tell one of them."""
    told = [part for part in parts if part is not None]
    if len(told) < len(parts) or any(np.isnan(part).any() for part in told):
        return None
    return np.concatenate(told)


def _worlds(family: TaskFamily, task: Tasks, variants: int) -> BatchedEnv:
    """Return worlds that all play one task, with the same random numbers: its place in the split names them."""
    return family.make_vec(task[np.zeros(variants, dtype=np.int64)], 1, threads=0)


def _questions(envs: BatchedEnv) -> QuestionBatch:
    batch = envs.batch
    assert isinstance(batch, QuestionBatch)  # options that change what is asked refuse families of questions
    return batch


def _title(agent: Agent, family: TaskFamily) -> str:
    return f"agent {agent_name(agent)!r} on family {family.name!r}"


def _begin(agent: Agent, family: TaskFamily, envs: BatchedEnv, plan: TrialPlan) -> tuple[Learner, Streams]:
    streams = Streams.of(plan.trial_seed, "learner", envs.tasks.index[:, None], np.arange(1))
    with user_code(f"{_title(agent, family)}, begin"):
        return begin_learner(agent, envs.tasks, streams), streams


def _play(
    agent: Agent, family: TaskFamily, task: Tasks, plan: TrialPlan, left_out: np.ndarray, numbers: np.ndarray
) -> Episodes:
    """Return the last round of all variants."""
    title = _title(agent, family)
    with contextlib.closing(_worlds(family, task, len(left_out))) as envs:
        _questions(envs).leave_out(left_out)
        learner, streams = _begin(agent, family, envs, plan)
        at_once = isinstance(learner, AnsweringLearner)
        first = rollout(
            envs,
            learner if at_once else _Aligned(learner, streams, left_out, numbers),
            seed=plan.trial_seed,
            deterministic=not agent.pools_replicas,
            title=f"{title}, round 1",
        )
        streams.counters[:] = numbers[-1]
        with told_at(f"{title}, adapt to round 1"):
            learner.adapt(first if family.reveal != "never" else replace(first, targets=None))
        return rollout(envs, learner, first, deterministic=True, title=f"{title}, round 2", with_confidences=True)


class _Aligned(Learner):
    """Answers each example with the random numbers that the whole trial has there, though others are left out."""

    def __init__(self, learner: Learner, streams: Streams, left_out: np.ndarray, numbers: np.ndarray) -> None:
        self.learner, self.streams, self.numbers = learner, streams, numbers
        self.places = np.argsort(left_out, axis=1, kind="stable")
        self.time = 0

    def act(self, timestep: TimeStep, *, deterministic: bool) -> np.ndarray:
        self.streams.counters[:, 0] = self.numbers[self.places[:, self.time]]
        self.time += 1
        return self.learner.act(timestep, deterministic=deterministic)


class _Counted(Learner):
    """Notes the place of the random numbers before each step."""

    def __init__(self, learner: Learner, streams: Streams) -> None:
        self.learner, self.streams = learner, streams
        self.numbers: list[int] = []

    def act(self, timestep: TimeStep, *, deterministic: bool) -> np.ndarray:
        self.numbers.append(int(self.streams.counters[0, 0]))
        return self.learner.act(timestep, deterministic=deterministic)


def _numbers_of(agent: Agent, family: TaskFamily, task: Tasks, plan: TrialPlan) -> np.ndarray:
    """Return how many random numbers the whole trial had drawn before each example and after the last, uint64."""
    with contextlib.closing(_worlds(family, task, 1)) as envs:
        learner, streams = _begin(agent, family, envs, plan)
        counted = _Counted(learner, streams)
        played = learner if isinstance(learner, AnsweringLearner) else counted
        rollout(envs, played, seed=plan.trial_seed, deterministic=not agent.pools_replicas)
        return np.array([*counted.numbers, int(streams.counters[0, 0])], dtype=np.uint64)
