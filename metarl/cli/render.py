"""`metarl render`: a video of what `metarl evaluate` measures."""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..base.errors import MetarlError
from .arguments import add_trial, add_wandb, at_least

if TYPE_CHECKING:
    from .playing import Played

MOST_TASKS = 3
"""How many tasks are shown unless the user says which."""


def add_options(parser: Any) -> None:
    """Add the options of the command."""
    parser.add_argument("run", metavar="RUN", help="run folder")
    parser.add_argument(
        "-o", "--output", metavar="F", help="video, .mp4 or .gif (default: RUN/adaptation.mp4; .gif without ffmpeg)"
    )
    parser.add_argument("--tasks", type=at_least(1), metavar="N", help="show the first N tasks (default: 3)")
    parser.add_argument(
        "--task", type=at_least(0), action="append", metavar="I", help="show this task, from 0; may be repeated"
    )
    parser.add_argument(
        "--among",
        type=at_least(1),
        default=40,
        metavar="N",
        help="they are among the tasks of `metarl evaluate --tasks N` (default: 40, as there)",
    )
    add_trial(parser)
    add_wandb(parser)
    parser.add_argument(
        "--every", type=at_least(1), metavar="K", help="steps between pictures (default: 100 pictures an episode)"
    )
    parser.add_argument(
        "--fps", type=at_least(1), metavar="N", help="pictures a second (default: an episode lasts six seconds)"
    )
    parser.add_argument("--size", type=at_least(160), metavar="PX", help="width of a panel (default: 320 or less)")


def render(arguments: argparse.Namespace) -> None:
    """Film the tasks asked for and write the video. Raises MetarlError for what cannot be played, drawn or written."""
    from ..base.progress import say
    from ..base.text import counted
    from ..pictures.film import film
    from ..pictures.video import write_video
    from ..runs.config import make_family
    from ..runs.run import run_config
    from .playing import played_agent

    numbers = _numbers(arguments)
    config = run_config(arguments.run, [] if arguments.device is None else [f"device={arguments.device}"])
    played = played_agent(arguments, config)
    output = _output(arguments, played)
    rounds = arguments.rounds or config.rounds
    shown = ", ".join(map(str, numbers))
    say(f"playing {counted(arguments.among, 'task')}, filming {shown} in {counted(rounds, 'round')}")
    filmed = film(
        played.agent,
        make_family(config),
        numbers,
        agent_name=played.name,
        split=arguments.split,
        num_tasks=arguments.among,
        rounds=rounds,
        replicas=arguments.replicas or config.replicas,
        seed=arguments.seed,
        every=arguments.every,
        threads=arguments.threads,
        report=_teller(),
    )
    write_video(filmed, output, fps=arguments.fps, size=arguments.size)
    say(f"video: {output}")
    if arguments.wandb:
        from .wandb import log_video

        log_video(arguments, config, played, output)


def _numbers(arguments: argparse.Namespace) -> Sequence[int]:
    if arguments.task is None:
        if (arguments.tasks or 1) > arguments.among:
            raise MetarlError(
                f"--tasks is {arguments.tasks}, but they are among {arguments.among}; take fewer, or raise --among"
            )
        return range(min(arguments.tasks or MOST_TASKS, arguments.among))
    if arguments.tasks is not None:
        raise MetarlError("--tasks and --task were both given; the first ones or chosen ones: leave one out")
    return tuple(dict.fromkeys(arguments.task))


def _output(arguments: argparse.Namespace, played: Played) -> Path:
    """Return where the video goes, known to be writable: nobody shall wait for a video that has no place."""
    from ..base.files import require_writable
    from ..pictures.video import has_ffmpeg, video_suffix
    from .playing import result_suffix

    if arguments.output is None:
        suffix = ".mp4" if has_ffmpeg() else ".gif"
        output = Path(arguments.run) / f"adaptation{result_suffix(arguments, played.agent_settings)}{suffix}"
    else:
        output = Path(arguments.output)
        video_suffix(output)
    require_writable(output)
    return output


def _teller() -> Callable[[int, int], None]:
    """Return what says now and then how many pictures were taken."""
    from ..base.progress import SECONDS_BETWEEN_LINES, say

    spoke = time.monotonic()

    def tell(taken: int, most: int) -> None:
        nonlocal spoke
        if time.monotonic() - spoke >= SECONDS_BETWEEN_LINES:
            spoke = time.monotonic()
            say(f"{taken} pictures of {most} at most")

    return tell
