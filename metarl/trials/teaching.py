"""Teachers: agents that are asked, at every step of a training trial, what they would do in the student's place.

The student plays, so that it is taught in the states that it gets into itself (DAgger: Ross, Gordon and Bagnell, A
Reduction of Imitation Learning and Structured Prediction to No-Regret Online Learning, AISTATS 2011). A teacher may be
an oracle, which is shown the task; what the student is shown stays the same.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal, NamedTuple

import numpy as np

from ..base.errors import MetarlError
from ..base.streams import Streams
from ..families.spaces import draw_actions
from ..families.task import Tasks
from ..families.vector import BatchedEnv
from .agent import Agent, Learner, begin_learner
from .episodes import Episodes, Imitation, TimeStep, select_tasks

Advised = Literal["distribution", "mode", "sample"]
"""What a student learns of a teacher."""


@dataclass(frozen=True)
class Teaching:
    """Who teaches in a trial of training, who plays, and what the update makes of it."""

    teachers: tuple[Agent, ...]
    """Each task has one of them, dealt out in turn by the number of the task."""
    imitation: Imitation
    """What the update makes of the advice."""
    share: float = 0.0
    """Chance, at each step, that the action taken is not the student's: beta of DAgger."""
    random: bool = False
    """Whether that action is drawn uniformly; otherwise it is what the teacher advises."""
    learns: Advised = "distribution"
    """What advice is: the teacher's distribution with its mode, the mode alone, or a sample."""


class Advice(NamedTuple):
    """What a teacher would do."""

    actions: np.ndarray
    """[..., task, replica, *action]"""
    outputs: np.ndarray | None
    """The teacher's `Learner.outputs`, if it tells them. [..., task, replica, n]"""


def taught(student: Learner, teaching: Teaching, envs: BatchedEnv, seed: int) -> TaughtLearner:
    """Return a student that is taught in the tasks of `envs`."""
    replicas = np.arange(envs.replicas)
    parts = begin_teachers(teaching.teachers, envs.tasks, seed, replicas)
    teacher = parts[0][1] if len(parts) == 1 else _Faculty(parts)
    mixture = Streams.of(seed, "mixture", envs.tasks.index[:, None], replicas)
    return TaughtLearner(student, teacher, teaching, envs, mixture)


def begin_teachers(
    teachers: Sequence[Agent], tasks: Tasks, seed: int, replicas: np.ndarray
) -> list[tuple[np.ndarray, Learner]]:
    """Return a learner of each teacher that has any of the tasks, with the numbers of its tasks in the batch."""
    parts = []
    for number, teacher in enumerate(teachers):
        rows = np.nonzero(tasks.index % len(teachers) == number)[0]
        if len(rows):
            streams = Streams.of(seed, "teacher", tasks.index[rows, None], replicas)
            parts.append((rows, begin_learner(teacher, tasks[rows], streams)))
    return parts


def join_outputs(
    outputs: Sequence[np.ndarray | None], leads: Sequence[tuple[int, ...]], *, axis: int
) -> np.ndarray | None:
    """Return the outputs of several teachers, [*lead, n] each, as one along an axis; None where none tells any.

    Those of a teacher that tells none are NaN. Raises MetarlError where they tell different numbers of them.
    """
    widths = {each.shape[-1] for each in outputs if each is not None}
    if not widths:
        return None
    if len(widths) > 1:
        raise MetarlError(f"teachers tell {' and '.join(map(str, sorted(widths)))} numbers of their distributions")
    (width,) = widths
    told = (
        np.full((*lead, width), np.nan) if each is None else each for each, lead in zip(outputs, leads, strict=True)
    )
    return np.concatenate(list(told), axis=axis)


def require_told(outputs: np.ndarray | None, asked: np.ndarray) -> np.ndarray | None:
    """Return a teacher's `Learner.outputs` [*asked.shape, n]. Raises MetarlError for another shape or no numbers."""
    if outputs is None:
        return None
    if not isinstance(outputs, np.ndarray) or outputs.shape[:-1] != asked.shape:
        shape = getattr(outputs, "shape", type(outputs).__name__)
        raise MetarlError(f"a teacher's outputs are {shape}; they must be {(*asked.shape, 'n')}")
    if not np.isfinite(outputs[asked]).all():
        raise MetarlError("a teacher's outputs are not finite; see metarl.Learner.outputs")
    return outputs


class _Faculty(Learner):
    """Several teachers, each in tasks of its own."""

    def __init__(self, parts: Sequence[tuple[np.ndarray, Learner]]) -> None:
        self.parts = parts
        """The numbers of a teacher's tasks in the batch, and its learner."""
        self.order = np.argsort(np.concatenate([rows for rows, _ in parts]))

    def act(self, timestep: TimeStep, *, deterministic: bool) -> np.ndarray:
        """Return the actions of each task's teacher; `outputs` are NaN where one tells none."""
        actions, outputs = [], []
        for rows, learner in self.parts:
            arrays = {name: value for name, value in vars(timestep).items() if value is not None}
            own = replace(timestep, **{name: value[rows] for name, value in arrays.items()})
            actions.append(learner.act(own, deterministic=deterministic))
            outputs.append(require_told(learner.outputs, own.active))
        joined = np.concatenate(actions)
        self.outputs = join_outputs(outputs, [each.shape[:2] for each in actions], axis=0)
        self.outputs = None if self.outputs is None else self.outputs[self.order]
        return joined[self.order]

    def adapt(self, episodes: Episodes) -> None:
        """Let each teacher adapt to the episodes of its tasks."""
        for rows, learner in self.parts:
            learner.adapt(select_tasks(episodes, rows))


class TaughtLearner(Learner):
    """A student that plays beside a teacher. Both see the same time steps and adapt to the same episodes."""

    def __init__(
        self, student: Learner, teacher: Learner, teaching: Teaching, envs: BatchedEnv, streams: Streams
    ) -> None:
        self.student, self.teacher, self.teaching, self.streams = student, teacher, teaching, streams
        self.space = envs.single_action_space
        self.exploring_steps = student.exploring_steps
        self.advice: Advice
        """What the teacher would have done in the last step."""

    def act(self, timestep: TimeStep, *, deterministic: bool) -> np.ndarray:
        """Return the student's actions, a share of them replaced, and keep the teacher's as `advice`."""
        own = self.student.act(timestep, deterministic=deterministic)
        advised = self.teacher.act(timestep, deterministic=self.teaching.learns != "sample")
        told = self.teacher.outputs if self.teaching.learns == "distribution" else None
        if not isinstance(self.teacher, _Faculty):  # which has asked each of its teachers
            told = require_told(told, timestep.active)
        self.advice = Advice(advised, told)
        if not self.teaching.share:
            return own
        streams = self.streams.where(timestep.active)
        replaced = streams.uniform() < self.teaching.share
        others = draw_actions(self.space, streams) if self.teaching.random else advised
        return np.where(replaced.reshape(*replaced.shape, *(1,) * (own.ndim - replaced.ndim)), others, own)

    def adapt(self, episodes: Episodes) -> None:
        """Let both adapt."""
        self.student.adapt(episodes)
        self.teacher.adapt(episodes)
