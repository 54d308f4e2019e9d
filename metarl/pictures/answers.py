"""Pictures of what an agent answered: the examples of a task, what was asked, and which answers were right."""

from __future__ import annotations

import contextlib
import itertools
from typing import TYPE_CHECKING

import numpy as np

from ..base.errors import user_code
from ..evaluation.answers import instances, shows_instances
from ..families.family import TaskFamily
from ..families.question_batch import Questions
from ..families.questions import QuestionFamily, asks_questions, require_questions
from ..families.task import Tasks
from ..trials.agent import Agent
from ..trials.episodes import Episodes
from ..trials.plan import TrialPlan
from ..trials.rollout import rounds_of

if TYPE_CHECKING:
    from matplotlib.figure import Figure

MOST_TASKS = 3
"""Most tasks that are drawn."""


def draws_answers(family: TaskFamily) -> bool:
    """Return whether a family draws its tasks, and so the answers to them."""
    return asks_questions(family) and require_questions(family).draws_tasks


def answers_figure(agent: Agent, family: TaskFamily, plan: TrialPlan, *, agent_name: str) -> Figure:
    """Return a figure of the first tasks of an evaluation, for families that `draws_answers`.

    Each shows its first round, and its last one with the answers of the first replica. Of a single round whose labels
    are shown step by step, the first question of each class and all later ones. The tasks are played again without the
    others; a network may round in another way than in the whole evaluation.
    """
    from matplotlib.figure import Figure

    asking, count = require_questions(family), min(plan.num_tasks, MOST_TASKS)
    figure = Figure(figsize=(8.4, 0.5 + 3.1 * count), layout="constrained")
    cells = figure.subfigures(count, 1, squeeze=False, hspace=0.05)[:, 0]
    tasks = plan.tasks(family)[:count]
    shown = zip(cells, tasks, _answered(agent, family, plan, tasks), strict=True)
    for number, (cell, task, (support, queries)) in enumerate(shown):
        cell.suptitle(f"{plan.split} task {number}: {_told(asking, queries)}", size=10)
        with user_code(f"family {family.name!r}, draw_task"):
            asking.draw_task(cell, task, support, queries)
    title = f"{agent_name} on {family.title}, round {plan.rounds}"
    figure.suptitle(title, x=0.01, ha="left", weight="bold", size=11)
    return figure


def _told(asking: QuestionFamily, queries: Questions) -> str:
    """Return how good the answers are, in words."""
    assert queries.answers is not None
    if not len(queries.answers):  # a stream that asks each class once
        return "nothing is asked twice"
    rewards = asking.score(queries.answers, queries.targets)
    told = f"{asking.measure.tell(rewards.mean(keepdims=True))[0]:.4g}"
    return f"{asking.measure.name} {told}{' %' if asking.measure.percent else ''} in what is asked"


def _answered(agent: Agent, family: TaskFamily, plan: TrialPlan, tasks: Tasks) -> list[tuple[Questions, Questions]]:
    """Return what is shown of each task."""
    with contextlib.closing(family.make_vec(tasks, plan.replicas, threads=0)) as envs:
        played = rounds_of(agent, envs, seed=plan.trial_seed, deterministic=plan.deterministic)
        rounds = list(itertools.islice(played, plan.rounds_played))
    once = len(rounds) == 1
    return [_shown(rounds[0], rounds[-1], task, once and shows_instances(family)) for task in range(len(tasks))]


def _shown(first: Episodes, last: Episodes, task: int, stream: bool) -> tuple[Questions, Questions]:
    """Return the examples of a task and its answered questions, [question, ...]."""
    if not stream:
        return _questions(first, task, first.mask, answered=False), _questions(last, task, last.mask, answered=True)
    assert first.targets is not None  # a stream of classes shows them
    number = instances(first.targets, first.mask)
    return tuple(_questions(first, task, first.mask & where, answered=True) for where in (number == 1, number > 1))  # type: ignore[return-value]


def _questions(episodes: Episodes, task: int, where: np.ndarray, *, answered: bool) -> Questions:
    """Return the questions of the first replica that are marked, [time, task, replica]."""
    assert episodes.targets is not None  # a family of questions knows them
    rows = where[:, task, 0]
    observations, targets, answers = (
        each[rows, task, 0] for each in (episodes.observations, episodes.targets, episodes.actions)
    )
    return Questions(observations, targets, answers if answered else None)
