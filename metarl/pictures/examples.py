"""Pictures of tasks by their questions: what is shown with its right answers, and what is asked."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

from ..base.errors import user_code
from ..evaluation.figure import COLORS
from ..families.family import TaskFamily
from ..families.question_batch import Questions
from ..families.questions import QuestionFamily
from ..families.task import SPLITS, Tasks
from ..families.words import warn_of_few_tasks

if TYPE_CHECKING:
    from matplotlib.figure import Figure

MOST_TASKS = 2
"""Most tasks of a split that are drawn."""


def examples_figure(family: TaskFamily, asking: QuestionFamily, num_tasks: int) -> Figure:
    """Return a figure of the first tasks of each split, a column for each split, by the first two rounds of each."""
    from matplotlib.figure import Figure

    rows = min(num_tasks, MOST_TASKS)
    figure = Figure(figsize=(4.2 * len(family.splits), 0.5 + 3.1 * rows), layout="constrained")
    cells = figure.subfigures(rows, len(family.splits), squeeze=False, wspace=0.05, hspace=0.05)
    for column, split in enumerate(family.splits):
        tasks = family.sample(split, rows, seed=0)
        for row, (task, (support, queries)) in enumerate(zip(tasks, _rounds(family, tasks), strict=True)):
            cell = cells[row, column]
            cell.suptitle(f"{split}, task {row}", size=10, color=COLORS[SPLITS.index(split)])
            with user_code(f"family {family.name!r}, draw_task"):
                asking.draw_task(cell, task, support, queries)
    figure.suptitle(f"Tasks of {family.title}{warn_of_few_tasks(family)}", x=0.01, ha="left", weight="bold", size=11)
    return figure


def _rounds(family: TaskFamily, tasks: Tasks) -> list[tuple[Questions, Questions]]:
    """Return the questions of the first two rounds of each task, [question, ...]."""
    rounds: list[list[Questions]] = [[] for _ in range(len(tasks))]
    with contextlib.closing(family.make_vec(tasks, threads=0)) as envs:
        for number in range(2):
            envs.restart(seed=None if number else 0)
            asked = envs.asked()
            assert asked is not None  # a family of questions asks them
            for task, mask in enumerate(asked.mask.T):
                rounds[task].append(Questions(asked.observations[mask, task], asked.targets[mask, task]))
            envs.answer(asked.targets, asked)
    return [(support, queries) for support, queries in rounds]
