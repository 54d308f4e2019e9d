"""Whom a command lets play: the run's agent, or one taken by name; and what the results of the two are called."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from .errors import MetarlError

if TYPE_CHECKING:
    from .agent import RegisteredAgent
    from .config import TrainConfig


def played_agent(
    arguments: argparse.Namespace, config: TrainConfig
) -> tuple[RegisteredAgent, str, Mapping[str, Any] | None]:
    """Return the run's agent, or the one asked for by name as it is before any training: with name and provenance."""
    from .train import load_run

    if arguments.agent is None:
        run = load_run(arguments.run, arguments.checkpoint or "best", device=arguments.device)
        return run.agent, config.agent["name"], run.provenance
    if arguments.checkpoint is not None:
        raise MetarlError(
            "--agent and --checkpoint were both given; an agent taken by name has no checkpoint: leave one out"
        )
    return *_untrained(arguments.agent, config), None


def _untrained(name: str, config: TrainConfig) -> tuple[RegisteredAgent, str]:
    from .agent import make_agent
    from .config import make_family
    from .trial import TrainableAgent

    # The run's own agent keeps the run's settings: it is where the training began.
    settings = config.agent if name == config.agent["name"] else {}
    settings = {key: value for key, value in settings.items() if key != "name"}
    agent = make_agent(name, make_family(config), settings, seed=config.seed, device=config.device)
    return agent, f"{name} (untrained)" if isinstance(agent, TrainableAgent) else name


def result_suffix(arguments: argparse.Namespace) -> str:
    """Return what tells a result's file from others in the run folder: agent and split, where they are not the usual."""
    what = [arguments.agent, None if arguments.split == "test" else arguments.split]
    return "".join(f"-{word}" for word in what if word)
