"""`metarl train`: train an agent, or resume a run."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..base.errors import MetarlError
from ..base.signals import with_remedy
from ..base.terminal import shell_line
from .arguments import seed
from .parser import add_command, is_no_option

if TYPE_CHECKING:
    from ..runs.config import TrainConfig


def add_parser(commands: Any) -> None:
    """Add the command."""
    # argparse does not place a word that follows an option, but people write `train CONFIG --seed 1 key=value`.
    parser = add_command(commands, "train", run, "train an agent on a family of tasks", is_no_option)
    parser.add_argument("config", nargs="?", metavar="CONFIG", help="YAML config, such as those in configs/")
    parser.add_argument(
        "overrides", nargs="*", metavar="key=value", help="change a setting of the config, as in agent.inner_lr=0.05"
    )
    parser.add_argument("--seed", type=seed, metavar="N", help="the same as seed=N")
    parser.add_argument("--run-dir", metavar="DIR", help="run folder (default: runs/<family>-<agent>-seed<seed>)")
    parser.add_argument("--resume", metavar="RUN", help="resume the run in this folder")


def run(arguments: argparse.Namespace) -> None:
    """Train until the run has all its updates. Raises Interrupted, with the command to go on, for a signal."""
    try:
        _train(arguments)
    except KeyboardInterrupt as interrupt:
        if getattr(interrupt, "remedy", ""):
            raise
        again = shell_line(["metarl", *arguments.words])
        raise with_remedy(interrupt, f"nothing was saved; start again with: {again}") from None


def _train(arguments: argparse.Namespace) -> None:
    from ..base.progress import say
    from ..base.text import with_noun
    from ..runs.run import count_updates
    from ..training.train import meta_train

    if arguments.resume is None:
        run_dir = meta_train(*_begin(arguments))
    else:
        config, run_dir = _resume(arguments)
        made = count_updates(run_dir, config)
        if made < config.num_updates:
            meta_train(config, run_dir, resume=True)
        else:
            updates, more = with_noun(made, "update"), made > config.num_updates
            asked = f"has {updates} already, more than num_updates={config.num_updates}"
            state = asked if more else f"is finished: {updates} made"
            say(f"{run_dir} {state}; to train on, give num_updates=N above {made}")
    say(f"next: {shell_line(['metarl', 'evaluate', run_dir])}")


def _begin(arguments: argparse.Namespace) -> tuple[TrainConfig, Path | None]:
    """Return the config and the folder of a new run; None for a folder of its own."""
    from ..runs.config import load_config

    if arguments.config is None:
        raise MetarlError(
            "no config given; write `metarl train CONFIG`, or `metarl train --resume RUN` to resume a run"
        )
    config = load_config(arguments.config, _overrides(arguments))
    return config, Path(arguments.run_dir) if arguments.run_dir else None


def _resume(arguments: argparse.Namespace) -> tuple[TrainConfig, Path]:
    """Return the config and the folder of the run to resume."""
    from ..runs.run import run_config

    if arguments.run_dir is not None:
        raise MetarlError("--run-dir and --resume were both given; a resumed run stays in its folder: leave one out")
    # argparse takes the first override for CONFIG.
    first = [] if arguments.config is None else [arguments.config]
    if first and "=" not in first[0]:
        raise MetarlError(f"--resume takes no config, the run has its own; leave {first[0]} out, or give key=value")
    return run_config(arguments.resume, [*first, *_overrides(arguments)]), Path(arguments.resume)


def _overrides(arguments: argparse.Namespace) -> list[str]:
    seed = [] if arguments.seed is None else [f"seed={arguments.seed}"]
    return [*arguments.overrides, *arguments.extra, *seed]
