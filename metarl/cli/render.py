"""`metarl render`: a video of what `metarl evaluate` measures."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..base.errors import MetarlError
from .arguments import (
    add_quiet_option,
    add_trial_arguments,
    add_wandb_option,
    agent_choice,
    at_least,
    runs_and_settings,
    trial_plan,
)
from .parser import add_command, is_no_option

if TYPE_CHECKING:
    from ..trials.plan import TrialPlan
    from .resolve import ResolvedAgent

MOST_TASKS = 3
"""Number of tasks shown by default."""


def add_parser(commands: Any) -> None:
    """Add the command."""
    parser = add_command(commands, "render", run, "film how an agent adapts to unseen tasks", is_no_option)
    parser.set_defaults(budget=1)
    add_trial_arguments(parser)
    parser.add_argument(
        "-o", "--output", metavar="F", help="video, .mp4 or .gif (default: RUN/adaptation.mp4; .gif without ffmpeg)"
    )
    parser.add_argument("--tasks", type=at_least(1), metavar="N", help="show the first N tasks (default: 3)")
    parser.add_argument(
        "--task", type=at_least(0), action="append", metavar="I", help="show task I, from 0; may be repeated"
    )
    parser.add_argument(
        "--among",
        dest="num_tasks",
        type=at_least(1),
        default=40,
        metavar="N",
        help="number of tasks that are played, as in `metarl evaluate --tasks N` (default: 40)",
    )
    add_wandb_option(parser)
    parser.add_argument(
        "--every", type=at_least(1), metavar="K", help="steps between pictures (default: 100 pictures an episode)"
    )
    parser.add_argument(
        "--fps", type=at_least(1, 1000), metavar="N", help="pictures a second (default: an episode lasts six seconds)"
    )
    parser.add_argument(
        "--size", type=at_least(160, 4096), metavar="PX", help="width of a panel (default: at most 320)"
    )
    add_quiet_option(parser)


def run(arguments: argparse.Namespace) -> None:
    """Film the tasks and write the video. Raises MetarlError for a task that is not played."""
    from ..base.meter import meter, part_of
    from ..base.progress import say
    from ..base.text import with_noun
    from ..pictures.film import count_times, film, require_numbers, usual_every
    from ..pictures.video import require_room, video_suffix, write_video
    from .resolve import resolve_agent

    # What contradicts itself is told before the run is loaded.
    numbers = _task_numbers(arguments.tasks, arguments.task, arguments.num_tasks)
    numbers = require_numbers(numbers, trial_plan(arguments))
    if arguments.output is not None:
        video_suffix(arguments.output)
    choice = agent_choice(arguments, _run_dir(arguments))
    config = choice.config()
    plan = trial_plan(arguments, config)
    resolved = resolve_agent(choice, config, plan)
    output, family = _output(arguments.output, resolved, plan), resolved.family
    every = arguments.every or usual_every(family)
    counts = count_times(family, every), len(numbers), plan.rounds
    require_room(output.suffix.lower(), *counts, fps=arguments.fps, size=arguments.size)
    shown = f"{'task' if len(numbers) == 1 else 'tasks'} {', '.join(map(str, numbers))}"
    say(f"playing {with_noun(plan.num_tasks, 'task')}, filming {shown} in {with_noun(plan.rounds, 'round')}")
    with meter("render", shown=not arguments.quiet) as report:
        filmed = film(
            resolved.agent,
            family,
            plan,
            numbers,
            agent_name=resolved.record.name,
            every=every,
            threads=arguments.threads,
            report=part_of(report, 0, 2),
        )
        write_video(filmed, output, fps=arguments.fps, size=arguments.size, report=part_of(report, 1, 2))
    say(f"video: {output}")
    if arguments.wandb:
        from .wandb import log_video

        log_video(resolved, config, plan, output)


def _run_dir(arguments: argparse.Namespace) -> Path:
    """Return the folder of the run to film. Raises MetarlError unless it is one."""
    runs, _ = runs_and_settings(arguments)
    if len(runs) != 1:
        told = f"{len(runs)} runs were given" if runs else "no run was given"
        raise MetarlError(f"{told}; a film is of one: write `metarl render RUN` with the folder of a run")
    return runs[0]


def _task_numbers(first: int | None, chosen: Sequence[int] | None, num_tasks: int) -> Sequence[int]:
    """Return the numbers of the tasks to show: the `first` so many, or those `chosen`."""
    if chosen is None:
        if (first or 1) > num_tasks:
            raise MetarlError(f"--tasks is {first}, but only {num_tasks} are played; show fewer, or raise --among")
        return range(min(first or MOST_TASKS, num_tasks))
    if first is not None:
        raise MetarlError("--tasks and --task were both given; show the first tasks or chosen ones: leave one out")
    return tuple(dict.fromkeys(chosen))


def _output(path: str | None, resolved: ResolvedAgent, plan: TrialPlan) -> Path:
    """Return the video's path. Raises MetarlError if it cannot be written: before the film, not after it."""
    from ..base.files import require_writable
    from ..pictures.video import has_ffmpeg

    named = None if path is None else Path(path)
    output = named or resolved.result("adaptation", plan, ".mp4" if has_ffmpeg() else ".gif")
    require_writable(output)
    return output
