"""`metarl evaluate`: measure how an agent adapts to unseen tasks."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from .arguments import add_trial_arguments, add_wandb_option, agent_choice, at_least, trial_plan
from .parser import add_command, is_no_option


def add_parser(commands: Any) -> None:
    """Add the command."""
    parser = add_command(commands, "evaluate", run, "measure how an agent adapts to unseen tasks", is_no_option)
    add_trial_arguments(parser)
    parser.add_argument(
        "--tasks", dest="num_tasks", type=at_least(1), default=40, metavar="N", help="number of tasks (default: 40)"
    )
    parser.add_argument(
        "--budget", type=at_least(1), default=1, metavar="B", help="play B rounds from one measured round to the next"
    )
    add_wandb_option(parser)
    parser.add_argument(
        "--json",
        metavar="F",
        help="result file (default: RUN/evaluation.json, with a suffix for whatever is not the default)",
    )
    parser.add_argument(
        "--plot", metavar="F", help="picture, .png or .svg (default: RUN/adaptation.png, with the same suffix)"
    )


def run(arguments: argparse.Namespace) -> None:
    """Evaluate the agent; print the table, write the numbers and the picture."""
    from ..base.progress import say
    from ..evaluation.evaluate import evaluate
    from ..evaluation.figure import plot
    from ..evaluation.table import table
    from ..runs.config import make_family
    from ..runs.run import run_config
    from .resolve import resolve_agent

    config = run_config(arguments.run_dir, device=arguments.device)
    plan = trial_plan(arguments, config)
    resolved = resolve_agent(agent_choice(arguments), config, plan)
    suffix = resolved.suffix(plan)
    result = Path(arguments.json or resolved.choice.run_dir / f"evaluation{suffix}.json")
    picture = Path(arguments.plot or resolved.choice.run_dir / f"adaptation{suffix}.png")
    _require_outputs(result, picture)
    family = make_family(config)
    evaluation = evaluate(resolved.agent, family, plan, record=resolved.record, threads=arguments.threads)
    evaluation.save(result)
    plot([evaluation], picture)
    say(f"{table([evaluation])}\n\nnumbers: {result}\npicture: {picture}")
    if arguments.wandb:
        from .wandb import log_evaluation

        log_evaluation(resolved, config, evaluation, picture)


def _require_outputs(result: Path, picture: Path) -> None:
    """Raise MetarlError if a file cannot be written: before the evaluation, not after it."""
    from ..base.figures import picture_suffix
    from ..base.files import require_writable

    picture_suffix(picture)
    for path in (result, picture):
        require_writable(path)
