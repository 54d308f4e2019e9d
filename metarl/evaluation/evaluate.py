"""Evaluation: how an agent does in unseen tasks, round after round, and the file that says so."""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from ..base.errors import MetarlError
from ..base.progress import warn
from ..base.streams import generator
from ..families.family import TaskFamily
from ..trials.agent import Agent, Oracle
from ..trials.episodes import Episodes
from ..trials.rollout import rounds_of
from .record import Evaluation


def evaluate(
    agent: Agent | Oracle,
    family: TaskFamily,
    *,
    agent_name: str | None = None,
    split: str = "test",
    num_tasks: int = 40,
    rounds: int = 2,
    budget: int = 1,
    replicas: int = 1,
    deterministic: bool = False,
    seed: int = 0,
    threads: int | None = None,
    task_chunk_size: int | None = None,
    trained: Mapping[str, Any] | None = None,
    agent_settings: Mapping[str, Any] | None = None,
) -> Evaluation:
    """Return how `agent` does in `num_tasks` tasks of a split that it meets for the first time; it is left unchanged.

    `agent_name` is its class's name by default. With a `budget` of 100 the agent plays and learns from 100 rounds where
    it would from one, and each hundredth is measured: 1, 101, 201, ... A `deterministic` one takes its policy's mode at
    every step, as in stable-baselines3's `evaluate_policy`; by default it acts as it was trained, with noise. `threads`
    (native simulation threads) and `task_chunk_size` (tasks side by side, default all; fewer take less memory) change
    neither environments nor random numbers. `trained` (how the agent was trained) and `agent_settings` (what was set of it)
    are written into the result.
    Raises MetarlError for an unknown split, for a budget in a single round, and for fewer than one task, round, replica,
    round a budget or task a chunk. Nor has an agent whose replicas learn together (`pools_replicas`) deterministic rounds to
    adapt to: it learns from what its noise tried.
    """
    _require_counts(rounds, budget, task_chunk_size)
    agent_name = type(agent).__name__ if agent_name is None else agent_name
    pooled = getattr(agent, "pools_replicas", True)
    if deterministic and pooled and rounds > 1:
        raise MetarlError(
            f"{agent_name} may learn from what the exploration noise of all replicas tried (`pools_replicas`), and has none if "
            "deterministic; take one round, or an agent that adapts by remembering, such as rl2"
        )
    tasks = family.sample(split, num_tasks, seed=seed)
    horizon = family.horizon if "switch_at" in family.settings else None
    chunks, num_rounds = [], 1 + (rounds - 1) * budget
    for start in range(0, num_tasks, task_chunk_size or num_tasks):
        chunk = tasks[start : start + (task_chunk_size or num_tasks)]
        with contextlib.closing(family.make_vec(chunk, replicas, threads=threads)) as envs:
            played = rounds_of(agent, envs, seed=trial_seed(seed, split), deterministic=deterministic)
            chunks.append(_scores(itertools.islice(played, num_rounds), budget, pooled=pooled, horizon=horizon))
    scores = _joined(chunks)
    if scores.num_unstable:
        warn(
            f"the physics broke down in {scores.num_unstable} of {num_tasks * replicas * num_rounds} episodes, which were "
            "cut off there; look at the policy"
        )
    return Evaluation(
        family=family.name,
        settings=family.settings,
        agent=agent_name,
        split=split,
        seed=seed,
        replicas=replicas,
        tasks=tasks,
        returns=np.where(np.isfinite(scores.returns), scores.returns, np.nan),
        # A class may speak of success only where there was one; if it never did, it knows none.
        successes=None if np.isnan(scores.successes).all() else np.nan_to_num(scores.successes),
        env_steps_per_task=scores.env_steps,
        unseen=split != "train" and family.num_tasks is None,
        rewards=scores.rewards,
        trained=trained,
        agent_settings=agent_settings or {},
        budget=budget,
        deterministic=deterministic,
        oracle=isinstance(agent, Oracle),
    )


def trial_seed(seed: int, split: str) -> int:
    """Return what names the episodes of an evaluation with `seed` in the tasks of `split`."""
    # They belong to the split, as the tasks do: training with the same seed has others.
    return int(generator(seed, "evaluation", split).integers(2**63))


def _require_counts(rounds: int, budget: int, task_chunk_size: int | None) -> None:
    counts = {"rounds": rounds, "budget": budget, "task_chunk_size": 1 if task_chunk_size is None else task_chunk_size}
    for name, value in counts.items():
        if value < 1:
            raise MetarlError(f"{name} is {value}; it must be at least 1")
    if budget > 1 and rounds == 1:
        raise MetarlError(
            f"budget is {budget} with one round, before which nothing is played; take rounds of at least 2"
        )


class _Scores(NamedTuple):
    """What is kept of trials."""

    returns: np.ndarray
    """Mean over replicas. [task, round]"""
    successes: np.ndarray
    """Share of replicas, NaN where unknown. [task, round]"""
    env_steps: np.ndarray
    """Spent by the end of the round. [task, round]"""
    rewards: np.ndarray | None
    """Of each step, where they were asked for. [task, step]"""
    num_unstable: int
    """Episodes in which the physics broke down."""


def _scores(played: Iterable[Episodes], budget: int, *, pooled: bool, horizon: int | None) -> _Scores:
    """Return the scores of a trial's rounds, of which one in `budget` is measured, and which are not kept.

    Steps are `pooled` over replicas that learn together. With a `horizon` the reward of each step is kept.
    """
    returns, successes, lengths, rewards, num_unstable = [], [], [], [], 0
    for number, episodes in enumerate(played):
        # Replicas that adapt apart from each other are trials of their own, and cost their own steps.
        lengths.append(episodes.lengths.sum(axis=1) if pooled else episodes.lengths.mean(axis=1))
        num_unstable += episodes.num_unstable
        if horizon is not None:
            rewards.append((episodes.rewards, episodes.mask))
        if number % budget == 0:
            returns.append(episodes.returns)
            unknown = np.full(len(episodes.returns), np.nan)
            successes.append(unknown if episodes.successes is None else episodes.successes.mean(axis=1))
    # A round that is not measured counts with the measured one before it: both are spent before the next.
    ends = np.minimum(np.arange(1, len(returns) + 1) * budget, len(lengths)) - 1
    return _Scores(
        returns=np.stack(returns).mean(axis=2).T,
        successes=np.stack(successes, axis=1),
        env_steps=np.cumsum(lengths, axis=0)[ends].T,
        rewards=None if horizon is None else _rewards(rewards, horizon),
        num_unstable=num_unstable,
    )


def _joined(chunks: Sequence[_Scores]) -> _Scores:
    """Return the scores of all tasks."""

    def all_of(parts: Iterable[np.ndarray]) -> np.ndarray:
        # One layout in memory, whatever the chunks: the order in which NumPy adds up a mean follows from it.
        return np.ascontiguousarray(np.concatenate(list(parts)))

    rewards = [chunk.rewards for chunk in chunks if chunk.rewards is not None]
    return _Scores(
        returns=all_of(chunk.returns for chunk in chunks),
        successes=all_of(chunk.successes for chunk in chunks),
        env_steps=all_of(chunk.env_steps for chunk in chunks),
        rewards=all_of(rewards) if rewards else None,
        num_unstable=sum(chunk.num_unstable for chunk in chunks),
    )


def _rewards(rounds: Sequence[tuple[np.ndarray, np.ndarray]], horizon: int) -> np.ndarray:
    """Return the rewards of a trial's steps, from rewards and mask [time, task, replica] of each round, mean over the replicas that took the step. [task, step]

    Each world counts its own steps, as its switches do: where episodes end early, worlds are at the same step at different times.
    """
    num_tasks, replicas = rounds[0][1].shape[1:]
    rewards = np.full((num_tasks, replicas, horizon * len(rounds)), np.nan)
    steps = np.arange(rewards.shape[2])
    taken = np.zeros((num_tasks, replicas, 1), dtype=np.int64)
    for earned, mask in rounds:
        lengths = mask.sum(axis=0)[..., None]
        rewards[(steps >= taken) & (steps < taken + lengths)] = np.moveaxis(earned, 0, 2)[np.moveaxis(mask, 0, 2)]
        taken = taken + lengths
    took = ~np.isnan(rewards)
    total, count = np.where(took, rewards, 0.0).sum(axis=1), took.sum(axis=1)
    return np.where(count > 0, total / np.maximum(count, 1), np.nan)
