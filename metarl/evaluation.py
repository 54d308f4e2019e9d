"""Evaluation: how an agent does in unseen tasks, round after round, and the file that says so."""

from __future__ import annotations

import contextlib
import itertools
import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from .errors import MetarlError
from .files import write_atomically
from .progress import warn
from .statistics import iqm, iqm_interval
from .streams import generator
from .task import TaskFamily, Tasks
from .trial import ORACLE, Agent, Episodes, Oracle, rounds_of
from .versions import git_commit, versions

FORMAT = "metarl evaluation 1"
"""First entry of every evaluation file, by which `Evaluation.load` knows its own."""
UNTRAINED = " (untrained)"
"""What stands behind the name of an agent that would learn, and is measured as it was made."""


@dataclass(frozen=True)
class Gain:
    """What the agent gained by adapting: return of the last round minus return of the first, paired by task."""

    iqm: float
    """Interquartile mean over tasks."""
    interval: tuple[float, float]
    """Its 95 % bootstrap interval."""


@dataclass(frozen=True, eq=False)
class Evaluation:
    """How an agent did in a batch of unseen tasks. It holds no time, path, host or thread count: repeated, it is equal."""

    family: str
    """Name of the family."""
    settings: Mapping[str, Any]
    """Settings of the family; `load(family, **settings)` gives it back."""
    agent: str
    """Name of the agent."""
    split: str
    """Split that the tasks are from."""
    seed: int
    """Seed of the tasks, the episodes and the bootstrap."""
    replicas: int
    """Episodes in each task and round."""
    tasks: Tasks
    """The tasks."""
    returns: np.ndarray
    """Undiscounted return, mean over replicas; NaN where it is not a finite number. [task, round]"""
    successes: np.ndarray | None
    """Share of replicas with a success; None where the family knows no success. [task, round]"""
    env_steps_per_task: np.ndarray
    """Environment steps spent in the task by the end of the round, and of those behind it that were not measured: over
    all replicas where the agent learns from them together, else mean over replicas, each of which adapted by itself.
    [task, round]"""
    unseen: bool
    """Whether the tasks are new to an agent trained on the train split; false where the family has only finitely many."""
    rewards: np.ndarray | None = None
    """Reward of each step of the trial, mean over the replicas that took it, NaN where none did; None of tasks that stay the same
    throughout. [task, step]"""
    trained: Mapping[str, Any] | None = None
    """How the agent was trained (settings, seed, updates, steps, checkpoint), as far as the caller knows."""
    agent_settings: Mapping[str, Any] = field(default_factory=dict)
    """What was set of the agent for this evaluation alone."""
    budget: int = 1
    """Rounds that the agent played and learned from between one measured round and the next, the former included."""
    deterministic: bool = False
    """Whether the agent took its policy's mode at every step, instead of a sample."""
    oracle: bool = False
    """Whether the agent was shown the tasks: a reference for what adaptation could reach, not a competitor."""
    versions: Mapping[str, str] = field(default_factory=versions)
    """Versions of the packages that move the numbers."""
    commit: str | None = field(default_factory=git_commit)
    """Commit of this package's source, where it runs from a git checkout."""

    @property
    def num_tasks(self) -> int:
        """Number of tasks."""
        return self.returns.shape[0]

    @property
    def label(self) -> str:
        """Name of the agent with its `changes`, and that it is an oracle if it is."""
        return " ".join([self.agent, *self.changes, *([f"({ORACLE})"] if self.oracle else [])])

    @property
    def changes(self) -> list[str]:
        """What was set of the agent for this evaluation, the budget beyond the rounds, and that it took no samples."""
        told = [f"{key}={json.dumps(value, separators=(',', ':'))}" for key, value in self.agent_settings.items()]
        told += [f"budget={self.budget}"] if self.budget > 1 else []
        return told + (["deterministic"] if self.deterministic else [])

    @property
    def rounds(self) -> int:
        """Number of rounds measured; the agent adapted between them."""
        return self.returns.shape[1]

    @cached_property
    def num_different_tasks(self) -> int:
        """Number of tasks that are not the same as another: two-task families repeat theirs."""
        return len({str(task) for task in self.tasks})

    @property
    def env_steps(self) -> np.ndarray:
        """Environment steps spent in the new task by the end of each round, mean over tasks. [round]"""
        return self.env_steps_per_task.mean(axis=0)

    @property
    def iqm(self) -> np.ndarray:
        """Interquartile mean over tasks of the return. [round]"""
        return iqm(self.returns)

    @property
    def mean(self) -> np.ndarray:
        """Mean over tasks of the return, which most papers print. [round]"""
        return self.returns.mean(axis=0)

    @cached_property
    def interval(self) -> np.ndarray:
        """Ends of the 95 % bootstrap interval of `iqm` over tasks, for this one agent; NaN for one task. [round, 2]"""
        return self._interval(self.returns)

    @property
    def success_rate(self) -> np.ndarray | None:
        """Mean over tasks of the successes; None where the family knows no success. [round]"""
        return None if self.successes is None else self.successes.mean(axis=0)

    @property
    def switch_at(self) -> tuple[int, ...]:
        """Steps of the trial after which the task was another one."""
        return tuple(self.settings.get("switch_at", ()))

    @property
    def totals(self) -> np.ndarray:
        """Return of the whole trial, the sum over rounds. [task]"""
        return self.returns.sum(axis=1)

    @cached_property
    def gain(self) -> Gain:
        """Last round minus first, paired by task; NaN where there is one round only."""
        change = self.returns[:, -1] - (self.returns[:, 0] if self.rounds > 1 else np.nan)
        low, high = self._interval(change)
        return Gain(float(iqm(change)), (float(low), float(high)))

    def _interval(self, values: np.ndarray) -> np.ndarray:
        """Return the interval of the IQM of `values` [task, ...], [..., 2]. One seed is one stratum."""
        return iqm_interval(values[None], rng=generator(self.seed, "bootstrap"))

    def to_json(self) -> str:
        """Return the evaluation as JSON (RFC 8259); a number that is not finite becomes null."""
        document = {
            "format": FORMAT,
            "family": self.family,
            "settings": dict(self.settings),
            "agent": self.agent,
            "agent_settings": dict(self.agent_settings),
            "budget": self.budget,
            "deterministic": self.deterministic,
            "oracle": self.oracle,
            "trained": None if self.trained is None else dict(self.trained),
            "split": self.split,
            "seed": self.seed,
            "replicas": self.replicas,
            "unseen": self.unseen,
            "num_different_tasks": self.num_different_tasks,
            "env_steps": self.env_steps.tolist(),
            "iqm": self.iqm.tolist(),
            "interval": self.interval.tolist(),
            "gain": {"iqm": self.gain.iqm, "interval": self.gain.interval},
            "mean": self.mean.tolist(),
            "success_rate": None if self.success_rate is None else self.success_rate.tolist(),
            "versions": dict(self.versions),
            "commit": self.commit,
            "tasks": list(self.tasks),
            "task_index": self.tasks.index.tolist(),
            "returns": self.returns.tolist(),
            "successes": None if self.successes is None else self.successes.tolist(),
            "env_steps_per_task": self.env_steps_per_task.tolist(),
            **({} if self.rewards is None else {"rewards": self.rewards.tolist()}),
        }
        return json.dumps(_finite(document), indent=2, allow_nan=False) + "\n"

    def save(self, path: str | Path) -> None:
        """Write the evaluation to a JSON file, whole or not at all. Raises MetarlError where that cannot be done."""
        write_atomically(path, self.to_json().encode())

    @classmethod
    def load(cls, path: str | Path) -> Evaluation:
        """Return the evaluation in a file. Raises MetarlError for one that is missing, cut off or something else."""
        try:
            document = json.loads(Path(path).read_text(encoding="utf-8"))
        except FileNotFoundError:
            raise MetarlError(f"{path} does not exist; `metarl evaluate` writes evaluation files") from None
        except OSError as error:
            raise MetarlError(f"{path} cannot be read ({error.strerror}); give an evaluation.json") from None
        except (ValueError, RecursionError):  # JSON's and Unicode's errors are ValueErrors
            raise MetarlError(f"{path} is not whole JSON; write it again with `metarl evaluate`") from None
        if not isinstance(document, dict) or document.get("format") != FORMAT:
            raise MetarlError(f"{path} is not a file of format {FORMAT!r}; give one that `metarl evaluate` wrote")
        try:
            return _from_document(document)
        except (KeyError, TypeError, ValueError, OverflowError) as error:
            what = f"it has no {error}" if isinstance(error, KeyError) else str(error)
            raise MetarlError(f"{path} is damaged: {what}; write it again with `metarl evaluate`") from None


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


def _finite(value: Any) -> Any:
    """Return `value` with every float that JSON has no word for replaced by None."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {name: _finite(item) for name, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_finite(item) for item in value]
    return value


def _from_document(document: Mapping[str, Any]) -> Evaluation:
    """Return the evaluation that `to_json` wrote. Raises KeyError, TypeError, ValueError or OverflowError."""
    rows, index = document["tasks"], np.array(document["task_index"], dtype=np.int64)
    returns = np.array(document["returns"], dtype=np.float64)
    env_steps, settings = np.array(document["env_steps_per_task"]), dict(document["settings"])
    if not np.issubdtype(env_steps.dtype, np.number):
        raise ValueError("'env_steps_per_task' are not all numbers")
    told = {**document["versions"], "commit": document["commit"] or ""}
    if not all(isinstance(value, str) for value in told.values()):
        raise ValueError("'versions' and 'commit' are not all text")
    if not all(isinstance(step, int) for step in settings.get("switch_at", ())):
        raise ValueError("'switch_at' is not a list of steps")
    successes = None if document["successes"] is None else np.array(document["successes"], dtype=np.float64)
    if returns.ndim != 2 or not returns.size:
        raise ValueError(f"'returns' has shape {returns.shape}, not [task, round]")
    for name, array in (("env_steps_per_task", env_steps), ("successes", successes)):
        if array is not None and array.shape != returns.shape:
            raise ValueError(f"{name!r} has shape {array.shape}, 'returns' has {returns.shape}")
    rewards = None if document.get("rewards") is None else np.array(document["rewards"], dtype=np.float64)
    if rewards is not None and (rewards.ndim != 2 or len(rewards) != len(returns)):
        raise ValueError(f"'rewards' has shape {rewards.shape}, not [task, step] of {len(returns)} tasks")
    if len(rows) != len(returns) or index.shape != (len(returns),):
        raise ValueError(f"{len(rows)} tasks and {index.size} indices are listed for {len(returns)} rows of 'returns'")
    return Evaluation(
        family=str(document["family"]),
        settings=settings,
        agent=str(document["agent"]),
        split=str(document["split"]),
        seed=int(document["seed"]),
        replicas=int(document["replicas"]),
        tasks=Tasks({name: np.array([row[name] for row in rows], dtype=np.float64) for name in rows[0]}, index),
        returns=returns,
        successes=successes,
        env_steps_per_task=env_steps,
        unseen=bool(document["unseen"]),
        rewards=rewards,
        trained=document["trained"],
        # Files from before these were written say nothing of them.
        agent_settings=dict(document.get("agent_settings", {})),
        budget=int(document.get("budget", 1)),
        deterministic=bool(document.get("deterministic", False)),
        oracle=bool(document.get("oracle", False)),
        versions=dict(document["versions"]),
        commit=document["commit"],
    )
