"""Arguments that several commands share: kinds of number, and the agent and the trials of an evaluation."""

from __future__ import annotations

import argparse
import math
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..base.bounds import LAST_SEED, MOST, MOST_THREADS
from ..base.errors import MetarlError

if TYPE_CHECKING:
    from ..runs.config import TrainConfig
    from ..trials.plan import TrialPlan
    from .resolve import AgentChoice


def at_least(least: int, most: int = MOST) -> Callable[[str], int]:
    """Return a reader of whole numbers from `least` to `most`."""

    def number(text: str) -> int:
        try:
            value = int(text)
        except ValueError:
            raise argparse.ArgumentTypeError(f"{text[:40]!r} is no whole number") from None
        if value < least:
            raise argparse.ArgumentTypeError(f"{text} is too small: it must be at least {least}")
        if value > most:
            raise argparse.ArgumentTypeError(f"{text[:40]} is too great: it must be at most {most}")
        return value

    return number


def counts(text: str) -> list[int]:
    """Return the different whole numbers in a text such as 1,2,5, ascending."""
    return sorted({at_least(1)(part) for part in text.split(",")})


threads = at_least(0, MOST_THREADS)
"""Reads a number of threads."""
seed = at_least(0, LAST_SEED)
"""Reads a seed."""


def is_there(word: str) -> bool:
    """Return whether a word is the path of something that exists; one too long to be a path is not."""
    try:
        return Path(word).exists()
    except (OSError, ValueError):
        return False


def finite(text: str) -> float:
    """Return the finite number in a text."""
    try:
        value = float(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is no number") from None
    if not math.isfinite(value):
        raise argparse.ArgumentTypeError(f"{text} is not finite: give a return")
    return value


def add_agent_arguments(parser: Any) -> None:
    """Add the arguments that choose an agent and the split and seed of its tasks."""
    # Runs and settings come in any order, and argparse would take the first setting for a second run.
    parser.add_argument("given", nargs="*", metavar="RUN", help="run folder")
    parser.add_argument_group("settings").add_argument(
        "settings_given",
        nargs="*",
        metavar="agent.key=value",
        help="change a setting of the agent: agent.inner_lr=0.05; or of a run's family, family.key=value, where the "
        "trained agent can play it",
    )
    parser.add_argument("--split", default="test", metavar="S", help="split that the tasks are from (default: test)")
    parser.add_argument("--seed", type=seed, default=0, metavar="N", help="seed of the tasks and episodes (default: 0)")
    parser.add_argument("--device", metavar="auto|cpu|cuda", help="device of the networks (default: as in training)")
    parser.add_argument("--checkpoint", metavar="best|last", help="checkpoint to load (default: best)")
    parser.add_argument(
        "--agent",
        metavar="NAME",
        help="use this agent, untrained, instead of the run's: `random` is the floor; sb3:MODEL.zip is a model that "
        "stable-baselines3 saved",
    )


def add_trial_arguments(parser: Any) -> None:
    """Add the arguments that choose an agent and its trials. Equal arguments name equal episodes in every command."""
    add_agent_arguments(parser)
    parser.add_argument("--rounds", type=at_least(1), metavar="K", help="rounds in each task (default: as in training)")
    parser.add_argument(
        "--replicas", type=at_least(1), metavar="N", help="episodes in each task and round (default: as in training)"
    )
    parser.add_argument("--deterministic", action="store_true", help="take the policy's mode at every step, no samples")
    parser.add_argument("--threads", type=threads, metavar="N", help="simulation threads (default: one a core)")


def add_family_option(parser: Any, verb: str) -> None:
    """Add the option that takes --agent on a family, without a run."""
    parser.add_argument("--family", metavar="NAME", help=f"{verb} --agent on this family, without a run")


def add_quiet_option(parser: Any, *short: str) -> None:
    """Add the option that hides progress, by a short name too."""
    parser.add_argument(*short, "--quiet", action="store_true", help="show no progress")


def add_workers_option(parser: Any, told: str) -> None:
    """Add the option that starts several processes by torchrun."""
    parser.add_argument("--workers", type=at_least(1, 10_000), metavar="N", default=1, help=told)


def add_wandb_option(parser: Any) -> None:
    """Add the option that logs the result to W&B."""
    parser.add_argument(
        "--wandb", action="store_true", help="log the result to Weights & Biases too, in the group of its agent"
    )


def trial_plan(arguments: argparse.Namespace, config: TrainConfig | None = None) -> TrialPlan:
    """Return the plan that the arguments ask for; rounds and replicas are those of the run's config by default.

    Without a config they have any value that fits: enough to refuse contradictory options before a run is loaded.
    Raises MetarlError for options that contradict each other.
    """
    from ..trials.plan import TrialPlan

    if arguments.agent is not None and arguments.checkpoint is not None:
        raise MetarlError(
            "--agent and --checkpoint were both given; an untrained agent has no checkpoint: leave one out"
        )
    return TrialPlan(
        split=arguments.split,
        num_tasks=arguments.num_tasks,
        rounds=arguments.rounds or (2 if config is None else config.rounds),
        replicas=arguments.replicas or (1 if config is None else config.replicas),
        budget=arguments.budget,
        deterministic=arguments.deterministic,
        seed=arguments.seed,
    )


def runs_and_settings(arguments: argparse.Namespace) -> tuple[list[Path], list[str]]:
    """Return the run folders and the settings, such as agent.inner_lr=0.05, among the words of a command."""
    words = [*arguments.given, *arguments.settings_given, *arguments.extra]
    settings = [word for word in words if re.match(r"[\w.]+=", word) and not is_there(word)]
    return [Path(word) for word in words if word not in settings], settings


def family_choice(arguments: argparse.Namespace, folder: Path) -> AgentChoice:
    """Return the agent for a family, whose results go to `folder`. Raises MetarlError where no agent is named."""
    from .resolve import base_agent

    settings = runs_and_settings(arguments)[1]
    if arguments.agent is None:
        raise MetarlError("--family was given without --agent; name an agent to measure, such as --agent random")
    of_family = [word for word in settings if word.startswith("family.")]
    words = (f"family={arguments.family}", f"agent={base_agent(arguments.agent)}", *of_family)
    overrides = tuple(word for word in settings if word not in of_family)
    return replace(agent_choice(arguments, folder), family=words, overrides=overrides)


def one_choice(arguments: argparse.Namespace, command: str) -> AgentChoice:
    """Return the agent of one run, or that of a family. Raises MetarlError for none, for both, and for several runs."""
    runs, _ = runs_and_settings(arguments)
    if arguments.agent is not None and arguments.checkpoint is not None:
        raise MetarlError(
            "--agent and --checkpoint were both given; an untrained agent has no checkpoint: leave one out"
        )
    if arguments.family is not None:
        if runs:
            raise MetarlError(f"--family and run {runs[0]} were both given; a run has its family: leave one out")
        return family_choice(arguments, Path())
    if len(runs) != 1:
        told = f"{len(runs)} runs were given" if runs else "no run was given"
        raise MetarlError(f"{told}; write `{command} RUN` with the folder of a run, or --family NAME --agent NAME")
    return agent_choice(arguments, runs[0])


def agent_choice(arguments: argparse.Namespace, run_dir: Path) -> AgentChoice:
    """Return the agent that the arguments ask for, of a run or in place of it."""
    from .resolve import AgentChoice

    return AgentChoice(
        run_dir=run_dir,
        name=arguments.agent,
        checkpoint=arguments.checkpoint,
        device=arguments.device,
        overrides=tuple(runs_and_settings(arguments)[1]),
    )
