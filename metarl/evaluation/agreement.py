"""How well a student has learned from its teacher: how often both would do the same, and what each of them costs."""

from __future__ import annotations

import contextlib
import itertools
import json
import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
from gymnasium import spaces
from pydantic import Field, JsonValue, PlainValidator, ValidationError

from ..base.errors import MetarlError
from ..base.files import write_atomically
from ..base.streams import Streams
from ..families.family import TaskFamily
from ..trials.agent import NUM_UPDATES, OPTIMIZER, Agent, Learner, TrainableAgent, begin_learner
from ..trials.episodes import Episodes, Imitation, TimeStep
from ..trials.memory import require_plan_memory
from ..trials.plan import TrialPlan
from ..trials.rollout import rollout, rounds_of
from ..trials.teaching import Teaching
from .document import Entry, Share, Words, complaint, damaged, read_json, read_plan

TOLERANCE = 0.1
"""Share of a box's range, in each coordinate, up to which two actions count as the same."""


class Cost(Entry):
    """What an agent costs in use."""

    parameters: Annotated[int, Field(ge=0)] | None
    """Numbers in its state, optimiser's left out; None for an agent that has none."""
    milliseconds: Annotated[float, Field(ge=0)]
    """Median time of an action, one world at a time, on the machine that measured it."""


class Agreement(Entry):
    """A student beside its teacher, in tasks that neither has seen."""

    format: Literal["metarl agreement 1"] = "metarl agreement 1"
    """Names the format of a file."""
    agent: Words
    """Name of the student."""
    trained: dict[str, JsonValue]
    """How the student was trained, as an evaluation has it: seed, updates, checkpoint."""
    teacher: Words
    """Names of its teachers."""
    plan: Annotated[TrialPlan, PlainValidator(read_plan)]
    """The trials, which are those of an evaluation of the same plan."""
    shares: list[list[Share | None]]
    """Share of tasks and replicas in which the student did what the teacher thinks best; None where no episode lasted
    so long. [round][step]"""
    mean: Share
    """The share over all steps of all rounds."""
    student: Cost
    """What the student costs."""
    teachers: Cost
    """What its teachers cost: the size of all, and the mean of their times."""

    def save(self, path: str | Path) -> None:
        """Write it to a JSON file, whole or not at all. Raises MetarlError if it cannot be written."""
        fields = {**dict(self), "plan": vars(self.plan), "student": dict(self.student), "teachers": dict(self.teachers)}
        write_atomically(path, (json.dumps(fields, indent=2, allow_nan=False) + "\n").encode())

    @classmethod
    def load(cls, path: str | Path) -> Agreement:
        """Return what is in a file. Raises MetarlError if it is missing, damaged or of another kind."""
        try:
            return cls.model_validate(read_json(Path(path)))
        except ValidationError as error:
            raise damaged(path, complaint(error)) from None


@dataclass(frozen=True)
class Pair:
    """A student and its teachers, with the names that results have."""

    student: Agent
    student_name: str
    teachers: tuple[Agent, ...]
    teacher_name: str
    trained: Mapping[str, Any] = field(default_factory=dict)
    """How the student was trained."""


def agreement(pair: Pair, family: TaskFamily, plan: TrialPlan, *, threads: int | None = None) -> Agreement:
    """Play a student in the tasks of a plan, and ask its teachers at every step what they would do.

    The student plays what it plays in an evaluation. Both are then timed in the first task, alone. Raises MetarlError
    for a plan with a budget, and for one that does not fit into memory.
    """
    if plan.budget > 1:
        raise MetarlError(f"budget is {plan.budget}; a teacher is asked in every round: leave it out")
    require_plan_memory(family, plan)
    same = [_same(episodes, family.action_space) for episodes in _play(pair, family, plan, threads)]
    taken = [int(each[~np.isnan(each)].size) for each in same]
    right = [float(np.nansum(each)) for each in same]
    return Agreement(
        agent=pair.student_name,
        trained=dict(pair.trained),
        teacher=pair.teacher_name,
        plan=plan,
        shares=[[*_means(each), *[None] * (family.horizon - len(each))] for each in same],
        mean=sum(right) / sum(taken),
        student=_cost([pair.student], family, plan),
        teachers=_cost(pair.teachers, family, plan),
    )


def _play(pair: Pair, family: TaskFamily, plan: TrialPlan, threads: int | None) -> Sequence[Episodes]:
    teaching = Teaching(pair.teachers, Imitation("imitate", 0.0))
    with contextlib.closing(family.make_vec(plan.tasks(family), plan.replicas, threads=threads)) as envs:
        rounds = rounds_of(
            pair.student, envs, seed=plan.trial_seed, deterministic=plan.deterministic, teaching=teaching
        )
        return list(itertools.islice(rounds, plan.rounds))


def _same(episodes: Episodes, space: spaces.Space[Any]) -> np.ndarray:
    """Return 1 where the action was the teacher's, 0 where not, NaN after the end of an episode. [time, world]"""
    assert episodes.advised is not None
    own, advised = (
        each.reshape(*episodes.mask.shape, -1).astype(np.float64) for each in (episodes.actions, episodes.advised)
    )
    largest: np.ndarray | float = 0.0
    if isinstance(space, spaces.Box):  # actions are clipped when they are taken
        low, high = (bound.astype(np.float64).reshape(-1) for bound in (space.low, space.high))
        own, advised, largest = own.clip(low, high), advised.clip(low, high), TOLERANCE * (high - low)
    gaps = np.abs(own - advised)
    same = np.where(episodes.mask, (gaps <= largest).all(axis=-1), np.nan)
    return same.reshape(len(same), -1)


def _means(same: np.ndarray) -> list[float | None]:
    """Return the mean of each row without its NaN; None for a row that has nothing else."""
    counts = (~np.isnan(same)).sum(axis=1)
    sums = np.nansum(same, axis=1)
    return [float(total / count) if count else None for total, count in zip(sums, counts, strict=True)]


def _cost(agents: Sequence[Agent], family: TaskFamily, plan: TrialPlan) -> Cost:
    """Return the size of agents together, and the mean over them of the time of an action in the first task."""
    sizes = [size for agent in agents if (size := num_parameters(agent)) is not None]
    times = [_milliseconds(agent, family, plan) for agent in agents]
    return Cost(parameters=sum(sizes) if sizes else None, milliseconds=float(np.mean(times)))


def _milliseconds(agent: Agent, family: TaskFamily, plan: TrialPlan) -> float:
    """Return the median time of an action of an agent that plays one world."""
    tasks, previous = plan.tasks(family)[:1], None
    spent: list[float] = []
    with contextlib.closing(family.make_vec(tasks, 1, threads=0)) as envs:
        streams = Streams.of(plan.trial_seed, "learner", tasks.index[:, None], np.arange(1))
        learner = _Timed(begin_learner(agent, tasks, streams), spent)
        for number in range(plan.rounds):
            seed = plan.trial_seed if number == 0 else None
            previous = rollout(envs, learner, previous, seed=seed, deterministic=plan.deterministic)
            if number + 1 < plan.rounds:
                learner.adapt(previous)
    return 1e3 * float(np.median(spent))


class _Timed(Learner):
    """A learner whose actions are timed, in seconds."""

    def __init__(self, learner: Learner, spent: list[float]) -> None:
        self.learner, self.spent = learner, spent

    def act(self, timestep: TimeStep, *, deterministic: bool) -> np.ndarray:
        begun = time.perf_counter()
        actions = self.learner.act(timestep, deterministic=deterministic)
        self.spent.append(time.perf_counter() - begun)
        return actions

    def adapt(self, episodes: Episodes) -> None:
        self.learner.adapt(episodes)


def num_parameters(agent: Agent) -> int | None:
    """Return how many numbers training has made of an agent, optimiser's left out; None for one that learns nothing."""
    if not isinstance(agent, TrainableAgent):
        return None
    counted = {name: value for name, value in agent.state_dict().items() if name.rpartition(".")[2] != NUM_UPDATES}
    return sum(math.prod(value.shape) for name, value in counted.items() if OPTIMIZER not in name.split("."))
