"""`metarl evaluate RUN --teacher`: a student beside the teacher that it learned from."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from ..base.errors import MetarlError
from ..base.ranks import is_launched
from ..base.terminal import shell_line

if TYPE_CHECKING:
    from ..runs.config import TrainConfig
    from ..trials.plan import TrialPlan
    from .resolve import AgentChoice


def require_alone(arguments: argparse.Namespace) -> None:
    """Raise MetarlError for an option that says nothing beside --teacher."""
    for option in ("agent", "family", "shots", "json", "plot", "wandb"):
        if getattr(arguments, option):
            raise MetarlError(f"--{option} was given with --teacher, which measures the agent of a run: leave it out")
    if arguments.workers > 1 or is_launched():
        raise MetarlError("--teacher times actions, which other processes would disturb: start one process")


def evaluate_teacher(arguments: argparse.Namespace, choice: AgentChoice, config: TrainConfig, plan: TrialPlan) -> None:
    """Measure how often the agent of a run does what its teacher would, and what both cost; write RUN/teacher.json."""
    from ..base.files import path_inside, require_writable
    from ..base.progress import say
    from ..evaluation.agreement import Pair, agreement
    from ..runs.checkpoint import load
    from ..runs.record import TEACHER
    from ..runs.run import LAST, checkpoint_path
    from ..runs.teacher import teacher_name
    from ..training.teachers import Teachers
    from ..trials.agent import TrainableAgent
    from .resolve import resolve_agent

    if config.teacher is None:
        evaluate = shell_line(["metarl", "evaluate", choice.run_dir])
        raise MetarlError(f"run {choice.run_dir} had no teacher; measure it alone: `{evaluate}`")
    resolved = resolve_agent(choice, config, plan)
    if resolved.changed or resolved.record.settings:
        raise MetarlError("settings were given with --teacher, which measures the run as it is: leave them out")
    assert isinstance(resolved.agent, TrainableAgent)
    file = path_inside(choice.run_dir, TEACHER)
    require_writable(file)
    teachers = Teachers(config, resolved.family, resolved.agent)
    teachers.require_unchanged(load(checkpoint_path(choice.run_dir, LAST))[1].teachers)
    names = [teacher_name(each).replace("{seed}", str(config.seed)) for each in config.teacher.of]
    trained = resolved.record.trained or {}
    pair = Pair(resolved.agent, resolved.record.name, teachers.agents, " and ".join(names), trained)
    found = agreement(pair, resolved.family, plan, threads=arguments.threads)
    found.save(file)
    student, teacher = found.student, found.teachers
    say(
        f"{found.agent} does what {found.teacher} would in {100 * found.mean:.1f} % of its steps, in "
        f"{plan.num_tasks} {plan.split} tasks\n"
        f"an action takes {student.milliseconds:.3g} ms, and {teacher.milliseconds:.3g} ms of the teacher's; "
        f"parameters: {_size(student.parameters)}, {_size(teacher.parameters)}\n\nnumbers: {file}"
    )


def _size(parameters: int | None) -> str:
    return "none" if parameters is None else f"{parameters:,}"
