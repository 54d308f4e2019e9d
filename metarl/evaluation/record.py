"""The result of an evaluation: every return in every task, its statistics, and the file it is kept in."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from ..base.errors import MetarlError
from ..base.files import write_atomically
from ..base.streams import generator
from ..base.versions import git_commit, versions
from ..families.task import Tasks
from ..trials.agent import ORACLE
from .statistics import iqm, iqm_interval

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
