"""The result of an evaluation: every return in every task, its statistics, and its file."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from ..base.errors import MetarlError
from ..base.files import write_atomically
from ..base.streams import generator
from ..base.versions import git_commit, versions
from ..families.task import Measure, Tasks
from ..trials.agent import ORACLE
from ..trials.plan import TrialPlan
from .calibration import Calibration
from .document import FORMAT, LARGEST, MOST_STEPS, Document, damaged, make_array, make_tasks, read_document
from .outcomes import Told
from .statistics import iqm, iqm_interval, mean_interval, mean_margin

UNTRAINED = " (untrained)"
"""Suffix of the name of a trainable agent that is measured without training."""


@dataclass(frozen=True)
class Gain:
    """Gain by adaptation: return of the last round minus return of the first, paired by task."""

    iqm: float
    """Interquartile mean over tasks."""
    interval: tuple[float, float]
    """Its 95 % bootstrap interval."""


@dataclass(frozen=True)
class AgentRecord:
    """What an evaluation says of the agent that played."""

    name: str
    """Name, such as 'rl2'."""
    settings: Mapping[str, Any] = field(default_factory=dict)
    """Settings that were changed for this evaluation alone."""
    trained: Mapping[str, Any] | None = None
    """How it was trained: settings, seed, updates, environment steps, checkpoint. None for an untrained agent."""
    oracle: bool = False
    """Whether the agent was shown the tasks. An oracle is a reference, not a competitor."""


def changes(settings: Mapping[str, Any], plan: TrialPlan) -> list[str]:
    """Return how an evaluation differs from the usual one of its agent, in words such as 'budget=100'."""
    words = [f"{key}={json.dumps(value, separators=(',', ':'))}" for key, value in settings.items()]
    words += [f"budget={plan.budget}"] if plan.budget > 1 else []
    return words + (["deterministic"] if plan.deterministic else [])


@dataclass(frozen=True, eq=False)
class Evaluation:
    """How an agent did in a batch of tasks.

    It holds no time, path, host or number of threads: the same evaluation, repeated, writes the same file. Raises
    MetarlError where the arrays do not have the shapes that the plan asks for, and for numbers out of range.
    """

    family: str
    """Name of the family."""
    settings: Mapping[str, Any]
    """Settings of the family; `load(family, **settings)` makes it again."""
    agent: AgentRecord
    """The agent that played."""
    plan: TrialPlan
    """The trials that it played."""
    tasks: Tasks
    """The tasks."""
    returns: np.ndarray
    """Undiscounted return, or what else `measure` says, mean over replicas; NaN where it is not finite or beyond
    1e100. [task, round]"""
    successes: np.ndarray | None
    """Share of replicas with a success; None where the family does not define success. [task, round]"""
    env_steps_per_task: np.ndarray
    """Environment steps spent in the task by the end of the round and of the unmeasured rounds behind it. Summed over
    replicas if the agent learns from them together, else their mean. [task, round]"""
    unseen: bool
    """Whether training has not met these tasks: False for the train split and for families with finitely many tasks."""
    rewards: np.ndarray | None = None
    """Reward of each step of the trial, mean over the replicas that took it, NaN if none did. None unless the family
    switches tasks within a trial. [task, step]"""
    by_instance: np.ndarray | None = None
    """Mean reward at the first, second, ... instance of a class in the first round; None unless the family shows the
    class of each question after its answer. [task, instance]"""
    calibration: Calibration | None = None
    """How sure the learner was of its answers in the last round, and how often it was right; None unless the family
    asks for classes and the learner says how sure it is."""
    outcomes: Mapping[str, Told] = field(default_factory=dict)
    """What the family tells of a round beside `measure`, by name."""
    measure: Measure = field(default_factory=Measure)
    """What the family measures an episode by."""
    versions: Mapping[str, str] = field(default_factory=versions)
    """Versions of the packages that can change the numbers."""
    commit: str | None = field(default_factory=git_commit)
    """Commit of this package's source, if it runs from a git checkout."""

    def __post_init__(self) -> None:
        shape = (self.plan.num_tasks, self.plan.rounds)
        for name in ("returns", "successes", "env_steps_per_task"):
            array = getattr(self, name)
            if array is not None and array.shape != shape:
                raise MetarlError(f"{name} has shape {array.shape}; the plan makes it {shape}, [task, round]")
        if self.rewards is not None and (self.rewards.ndim != 2 or len(self.rewards) != shape[0]):
            raise MetarlError(f"rewards has shape {self.rewards.shape}; it must be [task, step] of {shape[0]} tasks")
        if self.by_instance is not None and (self.by_instance.ndim != 2 or len(self.by_instance) != shape[0]):
            raise MetarlError(
                f"by_instance has shape {self.by_instance.shape}; it must be [task, instance] of {shape[0]} tasks"
            )
        for name, told in self.outcomes.items():
            if told.values.shape not in (shape, shape[1:]):
                raise MetarlError(f"outcome {name!r} has shape {told.values.shape}; it must be {shape} or {shape[1:]}")
        if len(self.tasks) != shape[0]:
            raise MetarlError(f"tasks has {len(self.tasks)} entries; the plan has {shape[0]} tasks")
        self._require_ranges()

    def _require_ranges(self) -> None:
        """Raise MetarlError for numbers that no trial gives, and that no sum or mean could hold."""
        for name in ("returns", "rewards", "by_instance"):
            array = getattr(self, name)
            if array is not None and (np.abs(array[~np.isnan(array)]) > LARGEST).any():
                raise MetarlError(
                    f"{name} holds a number beyond {LARGEST:g}; write NaN for returns that are not finite"
                )
        if self.successes is not None and not ((self.successes >= 0) & (self.successes <= 1)).all():
            raise MetarlError("successes holds a number that is not a share; each must be from 0 to 1")
        steps = self.env_steps_per_task
        if not ((steps >= 0) & (steps <= MOST_STEPS)).all() or (np.diff(steps, axis=1) < 0).any():
            raise MetarlError(
                "env_steps_per_task holds steps that are negative, not finite or fewer than a round before"
            )

    @property
    def num_tasks(self) -> int:
        """Number of tasks."""
        return self.plan.num_tasks

    @property
    def title(self) -> str:
        """Name of the family for readers: the title of a family of one's own, else its name."""
        return str(self.settings.get("title") or self.family)

    @property
    def label(self) -> str:
        """Name of the agent with its `changes`; an oracle is marked as one."""
        return " ".join([self.agent.name, *self.changes, *([f"({ORACLE})"] if self.agent.oracle else [])])

    @property
    def changes(self) -> list[str]:
        """How this evaluation differs from the usual one: changed settings, a budget, deterministic actions."""
        return changes(self.agent.settings, self.plan)

    @property
    def rounds(self) -> int:
        """Number of measured rounds; the agent adapted between them."""
        return self.plan.rounds

    @cached_property
    def num_different_tasks(self) -> int:
        """Number of distinct tasks: a family with two tasks repeats them."""
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
        """Mean over tasks of the return. [round]"""
        return self.returns.mean(axis=0)

    @property
    def mean_margin(self) -> np.ndarray:
        """Half the 95 % interval of `mean` that papers print: 1.96 standard errors over tasks; NaN for one. [round]"""
        return mean_margin(self.returns)

    @cached_property
    def interval(self) -> np.ndarray:
        """95 % bootstrap interval of `iqm` over tasks, for this one agent; NaN for one task. [round, 2]"""
        return self._interval(self.returns)

    @property
    def success_rate(self) -> np.ndarray | None:
        """Mean over tasks of the successes; None where the family does not define success. [round]"""
        return None if self.successes is None else self.successes.mean(axis=0)

    @property
    def switch_at(self) -> tuple[int, ...]:
        """Steps of the trial after which the task changed."""
        return tuple(self.settings.get("switch_at", ()))

    @property
    def totals(self) -> np.ndarray:
        """Return of the whole trial, the sum over rounds. [task]"""
        return self.returns.sum(axis=1)

    @cached_property
    def gain(self) -> Gain:
        """Last round minus first, paired by task; NaN if there is only one round."""
        change = self.returns[:, -1] - (self.returns[:, 0] if self.rounds > 1 else np.nan)
        low, high = self._interval(change)
        return Gain(float(iqm(change)), (float(low), float(high)))

    @cached_property
    def instance_interval(self) -> np.ndarray | None:
        """95 % bootstrap interval of the mean over tasks of `by_instance`; None without it. [instance, 2]"""
        if self.by_instance is None:
            return None
        return mean_interval(self.by_instance[None], rng=generator(self.plan.seed, "bootstrap"))

    def _interval(self, values: np.ndarray) -> np.ndarray:
        """Return the 95 % interval of the IQM of `values` [task, ...], [..., 2]."""
        return iqm_interval(values[None], rng=generator(self.plan.seed, "bootstrap"))

    def to_json(self) -> str:
        """Return the evaluation as JSON (RFC 8259). Numbers that are not finite become null."""
        document = {
            "format": FORMAT,
            "family": self.family,
            "settings": dict(self.settings),
            "agent": asdict(self.agent),
            "plan": asdict(self.plan),
            "measure": self.measure._asdict(),
            "unseen": self.unseen,
            "num_different_tasks": self.num_different_tasks,
            "env_steps": self.env_steps.tolist(),
            "iqm": self.iqm.tolist(),
            "interval": self.interval.tolist(),
            "gain": {"iqm": self.gain.iqm, "interval": self.gain.interval},
            "mean": self.mean.tolist(),
            "mean_margin": self.mean_margin.tolist(),
            "success_rate": None if self.success_rate is None else self.success_rate.tolist(),
            "versions": dict(self.versions),
            "commit": self.commit,
            "tasks": list(self.tasks),
            "task_index": self.tasks.index.tolist(),
            "returns": self.returns.tolist(),
            "successes": None if self.successes is None else self.successes.tolist(),
            "env_steps_per_task": self.env_steps_per_task.tolist(),
            **({} if self.rewards is None else {"rewards": self.rewards.tolist()}),
            **({} if self.by_instance is None else {"by_instance": self.by_instance.tolist()}),
            **({} if self.calibration is None else {"calibration": _entry_of(self.calibration)}),
            **({} if not self.outcomes else {"outcomes": _outcome_entries(self.outcomes)}),
        }
        return json.dumps(_finite(document), indent=2, allow_nan=False) + "\n"

    def save(self, path: str | Path) -> None:
        """Write the evaluation to a JSON file, whole or not at all. Raises MetarlError if it cannot be written."""
        write_atomically(path, self.to_json().encode())

    @classmethod
    def load(cls, path: str | Path) -> Evaluation:
        """Return the evaluation in a file. Raises MetarlError if it is missing, damaged or of another kind."""
        document, entries = read_document(path)
        try:
            return _evaluation_of(document, entries)
        except (ValueError, MetarlError) as error:
            raise damaged(path, str(error)) from None


def _entry_of(calibration: Calibration) -> dict[str, Any]:
    """Return a calibration as a file has it: its error, which follows from the rest, and the bins."""
    bins = {name: getattr(calibration, name).tolist() for name in ("counts", "confidence", "accuracy")}
    return {"expected_calibration_error": calibration.error, **bins}


def _outcome_entries(outcomes: Mapping[str, Told]) -> dict[str, Any]:
    """Return outcomes as a file has them: pooled ones have a number for each round, others for each task and round."""
    return {
        name: {
            "meaning": told.meaning,
            "percent": told.percent,
            "objective": told.objective,
            "values": told.values.tolist(),
        }
        for name, told in outcomes.items()
    }


def _finite(value: Any) -> Any:
    """Return `value` with None in place of NaN and infinities, which JSON cannot hold."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {name: _finite(item) for name, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_finite(item) for item in value]
    return value


def _evaluation_of(document: Document, entries: Mapping[str, Any]) -> Evaluation:
    """Return the evaluation that `to_json` wrote. Raises ValueError or MetarlError for parts that do not fit."""
    return Evaluation(
        family=document.family,
        settings=document.settings,
        agent=AgentRecord(**dict(document.agent)),
        plan=document.plan,
        tasks=make_tasks(document),
        returns=make_array(document.returns),
        successes=None if document.successes is None else make_array(document.successes),
        # As they are written: whole numbers stay whole.
        env_steps_per_task=np.array(entries["env_steps_per_task"]),
        unseen=document.unseen,
        measure=Measure(**dict(document.measure)),
        rewards=None if document.rewards is None else make_array(document.rewards),
        calibration=None if document.calibration is None else Calibration(*map(np.array, document.calibration.bins)),
        by_instance=None if document.by_instance is None else make_array(document.by_instance),
        outcomes={
            name: Told(entry.meaning, entry.percent, make_array(entry.values), entry.objective)
            for name, entry in document.outcomes.items()
        },
        versions=document.versions,
        commit=document.commit,
    )
