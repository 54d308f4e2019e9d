"""`metarl evaluate`: measure how an agent adapts to unseen tasks."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from .arguments import add_trial, add_wandb, at_least
from .parser import _add, _is_no_option


def _add_evaluate(commands: Any) -> None:
    parser = _add(commands, "evaluate", _evaluate, "measure how a trained agent adapts to unseen tasks", _is_no_option)
    parser.add_argument("run", metavar="RUN", help="run folder")
    parser.add_argument("--tasks", type=at_least(1), default=40, metavar="N", help="number of tasks (default: 40)")
    parser.add_argument(
        "--budget", type=at_least(1), default=1, metavar="B", help="play B rounds for each measured one (default: 1)"
    )
    parser.add_argument("--deterministic", action="store_true", help="take the policy's mode at every step, no samples")
    add_trial(parser)
    add_wandb(parser)
    parser.add_argument(
        "--json",
        metavar="F",
        help="result file (default: RUN/evaluation.json; agent, settings, budget, deterministic and split stand in its name)",
    )
    parser.add_argument("--plot", metavar="F", help="picture, .png or .svg (default: RUN/adaptation.png, likewise)")


def _evaluate(arguments: argparse.Namespace) -> None:
    from ..base.progress import say
    from ..evaluation.evaluate import evaluate
    from ..evaluation.figure import plot
    from ..evaluation.table import table
    from ..runs.config import make_family
    from ..runs.run import run_config
    from .playing import played_agent

    config = run_config(arguments.run, [] if arguments.device is None else [f"device={arguments.device}"])
    measured = played_agent(arguments, config)
    result, picture = _outputs(arguments, measured.agent_settings)
    evaluation = evaluate(
        measured.agent,
        make_family(config),
        agent_name=measured.name,
        split=arguments.split,
        num_tasks=arguments.tasks,
        rounds=arguments.rounds or config.rounds,
        budget=arguments.budget,
        replicas=arguments.replicas or config.replicas,
        deterministic=arguments.deterministic,
        seed=arguments.seed,
        threads=arguments.threads,
        trained=measured.trained,
        agent_settings=measured.agent_settings,
    )
    evaluation.save(result)
    plot([evaluation], picture)
    say(f"{table([evaluation])}\n\nnumbers: {result}\npicture: {picture}")
    if arguments.wandb:
        from .wandb import log_evaluation

        log_evaluation(arguments, config, measured, evaluation, picture)


def _outputs(arguments: argparse.Namespace, agent_settings: Mapping[str, Any]) -> tuple[Path, Path]:
    """Return where numbers and picture go, known to be writable: nobody shall wait for a result that has no place."""
    from ..base.files import require_writable
    from ..evaluation.figure import picture_suffix
    from .playing import result_suffix

    suffix = result_suffix(arguments, agent_settings)
    result = Path(arguments.json or Path(arguments.run) / f"evaluation{suffix}.json")
    picture = Path(arguments.plot or Path(arguments.run) / f"adaptation{suffix}.png")
    picture_suffix(picture)
    for path in (result, picture):
        require_writable(path)
    return result, picture
