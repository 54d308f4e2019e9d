"""What one more task costs an agent in use: a new user in a loop of Python, and many users in a batch."""

from __future__ import annotations

import contextlib
import functools
import itertools
import resource
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
from gymnasium import spaces

from ..base.meter import Report, counted, ignore
from ..base.streams import Streams
from ..base.text import align_columns, with_noun
from ..families.family import TaskFamily
from ..families.question_batch import Questions
from ..families.questions import QuestionFamily, require_questions
from ..families.task import Tasks
from ..trials.agent import Agent, AnsweringLearner
from ..trials.memory import require_plan_memory
from ..trials.plan import TrialPlan
from ..trials.policy import Policy
from ..trials.rollout import rounds_of

T = TypeVar("T")

USER_GOAL, BATCH_GOAL = 0.010, 10.0
"""Most seconds for a new user, 95th percentile, and for `GOAL_USERS` in a batch."""
GOAL_USERS = 10_000
"""Users that the goal of a batch is for."""


@dataclass(frozen=True, eq=False)
class Serving:
    """Times of an agent in use. A user is a task: examples with their right answers, then a list of answers."""

    agent: str
    """Name of the agent."""
    family: str
    """Name of the family."""
    examples: int
    """Right answers that a user gives."""
    new_user: np.ndarray
    """Seconds from `reset` to the adaptation to all examples. [user]"""
    answer: np.ndarray
    """Seconds of each answer behind it. [user, answer]"""
    answers: np.ndarray
    """The answers of the loop. [user, answer, *action]"""
    at_once: np.ndarray | None
    """Seconds from `reset` to the list of answers by `Policy.learn` and `Policy.answer`, which take many questions at
    once; None for agents that take one after the other. [user]"""
    batch: int
    """Users in the batch."""
    batch_seconds: float
    """Seconds of adapting to all of them, and of a list of answers for each, drawing their questions included."""
    batch_answers: np.ndarray
    """Answers to the users of the loop in the batch, as far as it has them. [user, answer, *action]"""
    peak_bytes: int
    """Most memory that the process has had."""

    def table(self) -> str:
        """Return the table of `metarl bench serve`."""
        rows: list[tuple[str, ...]] = [("in a loop", "p50 ms", "p95 ms", "goal", "")]
        listed = with_noun(self.answer.shape[1], "answer")
        at_once = [] if self.at_once is None else [(f"user with {listed}, all at once", self.at_once, USER_GOAL)]
        timed: list[tuple[str, np.ndarray, float | None]] = [
            (f"new user, {with_noun(self.examples, 'right answer')}", self.new_user, USER_GOAL),
            ("one answer behind it", self.answer.ravel(), None),
            (f"user with {listed}", self.new_user + self.answer.sum(axis=1), None),
            *at_once,
        ]
        for name, seconds, goal in timed:
            p50, p95 = np.percentile(seconds, (50, 95))
            judged = ("", "") if goal is None else (f"{1e3 * goal:.0f}", _judged(float(p95), goal))
            rows.append((name, f"{1e3 * p50:.2f}", f"{1e3 * p95:.2f}", *judged))
        goal = BATCH_GOAL * self.batch / GOAL_USERS
        return (
            f"{self.agent} on {self.family}, {with_noun(len(self.new_user), 'user')} one after the other by "
            f"metarl.Policy\n{align_columns(rows)}\n\n{self.batch:,} users in a batch: {self.batch_seconds:.2f} s, "
            f"{self.batch / self.batch_seconds:,.0f} users/s (goal {goal:g} s: {_judged(self.batch_seconds, goal)}); "
            f"peak memory {self.peak_bytes / 2**20:,.0f} MiB"
        )


def _judged(seconds: float, goal: float) -> str:
    return "met" if seconds <= goal else "missed"


def bench_serving(
    agent: Agent,
    family: TaskFamily,
    *,
    name: str,
    users: int = 200,
    batch: int = GOAL_USERS,
    task_chunk_size: int = 1000,
    split: str = "test",
    seed: int = 0,
    report: Report = ignore,
) -> Serving:
    """Return how long an agent takes for new users of a family that asks questions.

    Users are the first tasks of the split. The loop plays `users` of them with one `Policy`, question by question; the
    batch plays `batch` of them, `task_chunk_size` side by side. One user warms up before the loop. `report` is told the
    users that are done. Raises MetarlError for a family that asks no questions.
    """
    asking = require_questions(family)
    plan = TrialPlan(split=split, num_tasks=batch, rounds=2, seed=seed)
    policy = Policy(agent, family)
    rounds = _questions(family, family.sample(split, users, seed=seed), plan)
    order = counted(itertools.chain([0], range(users)), report, users + 1 + batch // 50)
    at_once = asking.reveal == "round" and isinstance(agent.begin(Streams.of(0, np.zeros((1, 1)))), AnsweringLearner)
    (_, *played) = [
        _Loop(policy, asking).user(*(_of(asked, user) for asked in rounds), at_once=at_once) for user in order
    ]
    seconds, found = _in_batch(agent, family, plan, min(task_chunk_size, batch), users)
    return Serving(
        agent=name,
        family=family.title,
        examples=asking.num_questions(0),
        new_user=np.array([each.new_user for each in played]),
        answer=np.array([each.answer for each in played]),
        answers=np.stack([each.answers for each in played]),
        at_once=np.array([each.at_once for each in played]) if at_once else None,
        batch=batch,
        batch_seconds=seconds,
        batch_answers=found,
        peak_bytes=peak_memory(),
    )


def peak_memory() -> int:
    """Return the most bytes that this process has had in memory."""
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return int(most) if sys.platform == "darwin" else 1024 * int(most)


def _questions(family: TaskFamily, tasks: Tasks, plan: TrialPlan) -> list[Questions]:
    """Return the two rounds that an evaluation asks in tasks, [task, question, ...]."""
    found = []
    with contextlib.closing(family.make_vec(tasks, 1, threads=0)) as envs:
        for number in range(plan.rounds):
            envs.restart(seed=None if number else plan.trial_seed)
            asked = envs.asked()
            assert asked is not None  # `require_questions` was asked
            envs.answer(np.zeros_like(asked.targets), asked)
            found.append(Questions(*(np.moveaxis(each, 1, 0) for each in (asked.observations, asked.targets))))
    return found


def _of(asked: Questions, user: int) -> Questions:
    return Questions(asked.observations[user], asked.targets[user])


@dataclass
class _Played:
    """A user of the loop; see `Serving`."""

    new_user: float
    answer: list[float]
    answers: np.ndarray
    at_once: float


class _Loop:
    """Plays a user with a policy, and keeps the time of the policy's calls alone."""

    def __init__(self, policy: Policy, asking: QuestionFamily) -> None:
        self.policy, self.asking, self.seconds = policy, asking, 0.0
        self.space = asking.action_space
        self.each: list[float] = []

    def user(self, examples: Questions, queries: Questions, *, at_once: bool) -> _Played:
        """Return times and answers of one user."""
        self._timed(self.policy.reset)
        self._round(examples)
        new_user, self.each = self.seconds, []
        if self.asking.reveal != "step":
            self._timed(self.policy.freeze)  # what comes behind is asked, not learned from
        answers = self._round(queries)
        return _Played(new_user, self.each, answers, self._at_once(examples, queries) if at_once else 0.0)

    def _at_once(self, examples: Questions, queries: Questions) -> float:
        """Return the seconds of the same user with all questions of a round in one call."""
        shown, asked = (
            [self.policy.layout.unflatten(row) for row in each.observations] for each in (examples, queries)
        )
        before = self.seconds
        self._timed(self.policy.reset)
        self._timed(functools.partial(self.policy.learn, shown, examples.targets))
        self._timed(functools.partial(self.policy.answer, asked))
        return self.seconds - before

    def _round(self, asked: Questions) -> np.ndarray:
        """Act on the questions of a round, and show the right answers as the family reveals them."""
        answers: list[Any] = []
        outcome: dict[str, Any] = {}
        layout = self.policy.layout
        for observation, target in zip(asked.observations, asked.targets, strict=True):
            seen = layout.unflatten(observation)
            answer = self._timed(functools.partial(self.policy.act, seen, **outcome))
            self.each.append(self.last)
            answers.append(answer)
            outcome = {"reward": self._reward(answer, target)} | self._shown(target)
        self._timed(functools.partial(self.policy.end_episode, seen, terminated=True, **outcome))
        return np.array(answers, dtype=self.space.dtype)

    def _reward(self, answer: Any, target: np.ndarray) -> float:
        taken = np.asarray(answer, dtype=self.space.dtype)[None]
        if isinstance(self.space, spaces.Box):
            taken = taken.clip(self.space.low, self.space.high)
        return float(self.asking.score(taken, np.asarray(target)[None])[0])

    def _shown(self, target: np.ndarray) -> dict[str, Any]:
        return {} if self.asking.reveal == "never" else {"target": target}

    def _timed(self, call: Callable[[], T]) -> T:
        began = time.perf_counter()
        result = call()
        self.last = time.perf_counter() - began
        self.seconds += self.last
        return result


def _in_batch(agent: Agent, family: TaskFamily, plan: TrialPlan, size: int, users: int) -> tuple[float, np.ndarray]:
    """Return the seconds of all users, `size` side by side, and the answers to the first ones."""
    require_plan_memory(family, plan, size)
    answers, kept = [], 0
    began = time.perf_counter()
    for start in range(0, plan.num_tasks, size):
        tasks = family.sample(plan.split, min(size, plan.num_tasks - start), seed=plan.seed, start=start)
        with contextlib.closing(family.make_vec(tasks, 1, threads=0)) as envs:
            _, last = itertools.islice(rounds_of(agent, envs, seed=plan.trial_seed), plan.rounds)
        if kept < users:
            answers.append(np.moveaxis(last.actions[:, : users - kept, 0], 1, 0))
            kept += len(answers[-1])
    return time.perf_counter() - began, np.concatenate(answers)
