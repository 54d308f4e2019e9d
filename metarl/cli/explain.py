"""`metarl explain`: which examples moved an agent's answers in a task."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..base.errors import MetarlError
from .arguments import add_agent_arguments, add_family_option, add_quiet_option, at_least, one_choice
from .parser import add_command, is_no_option

if TYPE_CHECKING:
    from ..evaluation.deletion import Deletion
    from ..evaluation.explanation import Explanation

SUFFIXES = (".json", ".md", ".png", ".svg")
"""Kinds of file that an explanation is written as."""


def add_parser(commands: Any) -> None:
    """Add the command."""
    parser = add_command(commands, "explain", run, "say which examples moved an agent's answers", is_no_option)
    add_agent_arguments(parser)
    add_family_option(parser, "explain")
    parser.add_argument(
        "--task", type=at_least(0), default=0, metavar="N", help="task to explain, from 0, as evaluations number them"
    )
    parser.add_argument(
        "--tasks",
        dest="num_tasks",
        type=at_least(1),
        metavar="N",
        help="score deletion over the first N tasks (default: task N of --task alone)",
    )
    parser.add_argument(
        "--draws", type=at_least(2, 1000), default=10, metavar="N", help="random deletions in each task (default: 10)"
    )
    parser.add_argument(
        "--answers", type=at_least(1, 100), default=5, metavar="N", help="answers in the tables (default: 5)"
    )
    parser.add_argument(
        "-o",
        "--output",
        action="append",
        default=[],
        metavar="F",
        help="file, .json with all numbers, .md, .png or .svg; may be repeated",
    )
    add_quiet_option(parser)


def run(arguments: argparse.Namespace) -> None:
    """Explain a task, score the explanation, print the tables and write the files."""
    from ..base.meter import meter
    from ..base.progress import say
    from ..evaluation.explanation import explain, score_deletion
    from ..report.explanation import explanation_text
    from ..trials.plan import TrialPlan
    from .resolve import resolve_agent

    outputs = _outputs(arguments)
    plan = TrialPlan(split=arguments.split, num_tasks=1, rounds=2, seed=arguments.seed)
    choice = one_choice(arguments, "metarl explain")
    resolved = resolve_agent(choice, choice.config(), plan)
    agent, family, split, seed = resolved.agent, resolved.family, plan.split, plan.seed
    numbers = [arguments.task] if arguments.num_tasks is None else range(arguments.num_tasks)
    with meter("explain", shown=not arguments.quiet) as report:
        explanation = explain(agent, family, arguments.task, split=split, seed=seed, record=resolved.record)
        deletion = score_deletion(agent, family, numbers, split=split, seed=seed, draws=arguments.draws, report=report)
    say(explanation_text(explanation, deletion, answers=arguments.answers))
    for path in outputs:
        _write(explanation, deletion, path, arguments.answers)
        say(f"{'picture' if path.suffix in ('.png', '.svg') else 'explanation'}: {path}")


def _outputs(arguments: argparse.Namespace) -> list[Path]:
    """Return the files to write. Raises MetarlError where one cannot be written: before the work, not after it."""
    from ..base.files import require_writable

    paths = [Path(path) for path in arguments.output]
    for path in paths:
        if path.suffix not in SUFFIXES:
            raise MetarlError(f"--output {path} has suffix {path.suffix!r}; it must be {', '.join(SUFFIXES)}")
        require_writable(path)
    return paths


def _write(explanation: Explanation, deletion: Deletion, path: Path, answers: int) -> None:
    """Write an explanation in the form that the file's suffix names."""
    from ..base.figures import save_figure
    from ..base.files import write_atomically
    from ..pictures.explanation import explanation_figure
    from ..report.explanation import explanation_markdown

    if path.suffix == ".json":
        explanation.save(path, deletion)
    elif path.suffix == ".md":
        write_atomically(path, explanation_markdown(explanation, deletion, answers=answers).encode())
    else:
        save_figure(explanation_figure(explanation, deletion, answers=min(answers, 5)), path, dpi=110)
