"""`metarl evaluate RUN --teacher`: a student beside the teacher that it learned from."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from ..base.errors import MetarlError
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


def evaluate_teacher(arguments: argparse.Namespace, choice: AgentChoice, config: TrainConfig, plan: TrialPlan) -> None:
    """Measure how often the agent of a run does what its teacher would, and what both cost; write RUN/teacher.json."""
    from ..base.files import require_writable
    from ..base.progress import say
    from ..evaluation.agreement import Pair, agreement
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
    file = resolved.result("teacher", plan, ".json")
    require_writable(file)
    teachers = Teachers(config, resolved.family, resolved.agent)
    names = [teacher_name(each) for each in config.teacher.of]
    pair = Pair(resolved.agent, resolved.record.name, teachers.agents, " and ".join(names))
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
