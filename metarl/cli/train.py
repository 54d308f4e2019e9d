"""`metarl train`: train an agent, or go on with a run."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from ..base.errors import MetarlError
from .arguments import at_least
from .parser import _add, _is_no_option


def _add_train(commands: Any) -> None:
    # argparse places no word after an option, but `train CONFIG --seed 1 key=value` is how people write.
    parser = _add(commands, "train", _train, "train an agent on a family of tasks", _is_no_option)
    parser.add_argument("config", nargs="?", metavar="CONFIG", help="YAML config, such as those in configs/")
    parser.add_argument("overrides", nargs="*", metavar="key=value", help="changes to the config: agent.inner_lr=0.05")
    parser.add_argument("--seed", type=at_least(0), metavar="N", help="the same as seed=N")
    parser.add_argument("--run-dir", metavar="DIR", help="run folder (default: runs/<family>-<agent>-seed<seed>)")
    parser.add_argument("--resume", metavar="RUN", help="go on with the run in this folder instead")


def _train(arguments: argparse.Namespace) -> None:
    from ..base.progress import say

    config, run_dir = _resumed(arguments) if arguments.resume else _begun(arguments)
    from ..base.text import counted
    from ..runs.run import updates_made
    from ..training.train import meta_train

    made = updates_made(run_dir, config) if arguments.resume else 0
    if made >= config.num_updates:
        say(
            f"{run_dir} is finished: {counted(made, 'update')} made, {config.num_updates} asked for; for more, add num_updates=N"
        )
    else:
        try:
            meta_train(config, run_dir, resume=bool(arguments.resume))
        except KeyboardInterrupt:
            raise KeyboardInterrupt(f"; go on with: metarl train --resume {run_dir}") from None
    say(f"next: metarl evaluate {run_dir}")


def _overrides(arguments: argparse.Namespace, *more: str) -> list[str]:
    seed = [] if arguments.seed is None else [f"seed={arguments.seed}"]
    return [*more, *arguments.overrides, *arguments.extra, *seed]


def _begun(arguments: argparse.Namespace) -> tuple[Any, Path]:
    if arguments.config is None:
        raise MetarlError(
            "no config given; write `metarl train CONFIG`, or `metarl train --resume RUN` to go on with a run"
        )
    from ..runs.config import load_config
    from ..runs.run import default_run_dir

    config = load_config(arguments.config, _overrides(arguments))
    return config, Path(arguments.run_dir) if arguments.run_dir else default_run_dir(config)


def _resumed(arguments: argparse.Namespace) -> tuple[Any, Path]:
    if arguments.run_dir is not None:
        raise MetarlError(
            "--run-dir and --resume were both given; a run that goes on stays in its folder: leave one out"
        )
    from ..runs.run import run_config

    # Of two places for words, argparse fills CONFIG first.
    return run_config(arguments.resume, _overrides(arguments, *filter(None, [arguments.config]))), Path(
        arguments.resume
    )
