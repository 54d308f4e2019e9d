"""Which examples moved an agent's answers in a task, and whether an explanation that names them is true."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from ..base.errors import MetarlError, user_code
from ..base.files import write_atomically
from ..base.meter import Report, counted, ignore
from ..base.streams import generator
from ..base.versions import git_commit, versions
from ..families.family import TaskFamily
from ..families.layout import layout_of
from ..families.question_batch import Questions
from ..families.questions import QuestionFamily, require_questions
from ..families.task import Tasks
from ..trials.agent import Agent
from ..trials.plan import TrialPlan
from ..trials.registered import agent_name
from .calibration import answers_classes
from .deletion import Deletion, answer_changes, deletion_sizes, deletions, leave_one_out, total_influence
from .record import AgentRecord
from .replays import ROUNDS, Replay, examples_of, replay, require_examples

FORMAT = "metarl explanation 1"
"""First entry of a file."""
DRAWS = 10
"""Random deletions of each number of examples in each task, by default."""


class Told(NamedTuple):
    """A question with its right answer, as a reader sees it."""

    question: str
    """The question in words, or its place."""
    right: str
    """The right answer in words."""
    observation: Any
    """The question itself: numbers and lists, by name where it has parts."""
    target: Any
    """The right answer itself, a number or a list."""


class ToldAnswer(NamedTuple):
    """A question of the last round, and what the agent answered."""

    asked: Told
    """The question."""
    answer: str
    """The answer in words."""
    value: Any
    """The answer itself, a number or a list."""
    confidence: float | None
    """Probability that the learner gave it; None where it does not say."""


@dataclass(frozen=True, eq=False)
class Explanation:
    """The influence of each example of a task on each answer, by leaving the example out."""

    family: str
    """Title of the family."""
    settings: Mapping[str, Any]
    """Settings of the family."""
    agent: AgentRecord
    """The agent that answered."""
    plan: TrialPlan
    """Split and seed of the task."""
    number: int
    """Place of the task in its split."""
    task: Mapping[str, Any]
    """The task's parameters."""
    classes: bool
    """Whether answers are classes: `influence` is then of confidence, else of the answer itself."""
    examples: Sequence[Told]
    """The examples, in the order in which they were shown."""
    answers: Sequence[ToldAnswer]
    """The answers that are explained, in the order in which they were asked for."""
    influence: np.ndarray
    """What each example changed of each answer; see `answer_changes`. [example, query]"""

    def to_json(self, deletion: Deletion | None = None) -> str:
        """Return all numbers as JSON (RFC 8259), with the deletion curve if there is one."""
        document = {
            "format": FORMAT,
            "family": self.family,
            "settings": dict(self.settings),
            "agent": asdict(self.agent),
            "split": self.plan.split,
            "seed": self.plan.seed,
            "number": self.number,
            "task": dict(self.task),
            "influence_of": "confidence" if self.classes else "answer",
            "examples": [each._asdict() for each in self.examples],
            "answers": [each._asdict() | {"asked": each.asked._asdict()} for each in self.answers],
            "influence": self.influence.tolist(),
            "deletion": None if deletion is None else _entries(deletion),
            "versions": versions(),
            "commit": git_commit(),
        }
        return json.dumps(document, indent=2, allow_nan=False) + "\n"

    def save(self, path: str | Path, deletion: Deletion | None = None) -> None:
        """Write `to_json` to a file, whole or not at all. Raises MetarlError if it cannot be written."""
        write_atomically(path, self.to_json(deletion).encode())


def _entries(deletion: Deletion) -> dict[str, Any]:
    arrays = ("sizes", "targeted", "random", "fidelity", "interval")
    return {"num_tasks": deletion.num_tasks, **{name: getattr(deletion, name).tolist() for name in arrays}} | {
        "area": deletion.area
    }


def explain(
    agent: Agent,
    family: TaskFamily,
    number: int = 0,
    *,
    split: str = "test",
    seed: int = 0,
    record: AgentRecord | None = None,
) -> Explanation:
    """Return which examples of a task moved the agent's answers. The agent is not changed.

    A trial of two rounds and one replica is played in task `number` of the split: the task of that number in an
    evaluation with the same seed. It is played again without each example of the first round: that episode is one step
    shorter, all other questions and random numbers are the same. The influence of the example is what changes in the
    answers of the second round; see `deletion.answer_changes`.

    Raises MetarlError for a family that asks no questions, for a single example, a number below zero, and a split that
    the family does not have.
    """
    require_examples(family)
    plan = _plan(split, seed)
    task = _task(family, plan, number)
    played = replay(agent, family, task, plan, leave_one_out(require_examples(family)))
    return Explanation(
        family=family.title,
        settings=family.settings,
        agent=record or AgentRecord(agent_name(agent)),
        plan=plan,
        number=number,
        task=task[0],
        classes=answers_classes(family),
        examples=_told(family, examples_of(family, task, plan), "example"),
        answers=_told_answers(family, played),
        influence=_changes(family, played),
    )


def score_deletion(
    agent: Agent,
    family: TaskFamily,
    numbers: Sequence[int],
    *,
    split: str = "test",
    seed: int = 0,
    draws: int = DRAWS,
    report: Report = ignore,
) -> Deletion:
    """Return how the answers of tasks change without their most influential examples, beside random deletion.

    Examples are ranked by the mean over queries of their absolute influence. `draws` random orders are tried in each
    task. `report` is told the tasks that are done. Raises MetarlError as `explain` does, and for fewer than two draws.
    """
    count = require_examples(family)
    if draws < 2:
        raise MetarlError(f"draws is {draws}; it must be at least 2, for an interval")
    plan, sizes, curves = _plan(split, seed), deletion_sizes(count), []
    for number in counted(numbers, report, len(numbers)):
        task = _task(family, plan, number)
        influence = _changes(family, replay(agent, family, task, plan, leave_one_out(count)))
        ranking = np.argsort(-total_influence(influence), kind="stable")
        chosen = deletions(ranking, sizes, draws, generator(seed, "deletion", split, number)).reshape(-1, count)
        played = replay(agent, family, task, plan, np.concatenate([np.zeros((1, count), dtype=bool), chosen]))
        curves.append(np.abs(_changes(family, played)).mean(axis=1).reshape(1 + draws, len(sizes)))
    found = np.stack(curves)
    return Deletion(sizes, found[:, 0], found[:, 1:])


def _plan(split: str, seed: int) -> TrialPlan:
    return TrialPlan(split=split, num_tasks=1, rounds=ROUNDS, seed=seed)


def _task(family: TaskFamily, plan: TrialPlan, number: int) -> Tasks:
    if number < 0:
        raise MetarlError(f"task is {number}; it must be at least 0")
    return family.sample(plan.split, 1, seed=plan.seed, start=number)


def _changes(family: TaskFamily, played: Replay) -> np.ndarray:
    return answer_changes(played.answers, played.confidences, classes=answers_classes(family))


def _told(family: TaskFamily, questions: Questions, noun: str) -> list[Told]:
    """Return the questions of one world in words; one without words is told by its place, from 1."""
    asking, layout = require_questions(family), layout_of(family.observation_space, family.name)
    rows = zip(questions.observations[0], questions.targets[0], strict=True)
    return [_told_one(asking, layout.unflatten(row), target, f"{noun} {n}") for n, (row, target) in enumerate(rows, 1)]


def _told_one(asking: QuestionFamily, observation: Any, target: np.ndarray, place: str) -> Told:
    with user_code(f"family {asking.name!r}, tell"):
        return Told(asking.tell(observation) or place, asking.tell_answer(target), _plain(observation), target.tolist())


def _plain(observation: Any) -> Any:
    """Return an observation as numbers and lists, by name where it has parts."""
    if isinstance(observation, Mapping):
        return {name: _plain(part) for name, part in observation.items()}
    return (
        [_plain(part) for part in observation] if isinstance(observation, tuple) else np.asarray(observation).tolist()
    )


def _told_answers(family: TaskFamily, played: Replay) -> list[ToldAnswer]:
    """Return the answers of the whole trial."""
    asking, told = require_questions(family), _told(family, played.queries, "question")
    sure = [None] * len(told) if played.confidences is None else played.confidences[0].tolist()
    rows = zip(told, played.answers[0], sure, strict=True)
    return [ToldAnswer(asked, asking.tell_answer(answer), answer.tolist(), each) for asked, answer, each in rows]
