"""Whom a command lets play: the run's agent, or one taken by name; and what the results of the two are called."""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from ..base.errors import MetarlError

if TYPE_CHECKING:
    from ..runs.config import TrainConfig
    from ..trials.agent import Agent


@dataclass(frozen=True)
class Played:
    """An agent that plays, and what is told of it."""

    agent: Agent
    name: str
    """What results call it."""
    trained: Mapping[str, Any] | None
    """Its provenance; None of an untrained one."""
    agent_settings: Mapping[str, Any]
    """What the command line set of it, or changed of a trained one."""


def played_agent(arguments: argparse.Namespace, config: TrainConfig) -> Played:
    """Return the run's agent, or the one asked for by name as it is before any training, each with the settings asked for.

    Raises MetarlError for settings or a checkpoint that the one asked for cannot have.
    """
    from ..runs.run import load_run

    overrides = [*arguments.overrides, *arguments.extra]
    keys = _keys_of_agent(overrides)
    if arguments.agent is None:
        run = load_run(arguments.run, arguments.checkpoint or "best", device=arguments.device, overrides=overrides)
        return Played(run.agent, config.agent["name"], run.provenance, {key: run.config.agent[key] for key in keys})
    if arguments.checkpoint is not None:
        raise MetarlError(
            "--agent and --checkpoint were both given; an agent taken by name has no checkpoint: leave one out"
        )
    return _untrained(arguments, config, overrides, keys)


def _keys_of_agent(overrides: Sequence[str]) -> list[str]:
    """Return which settings of an agent are set, sorted. Raises MetarlError where something else is."""
    from ..runs.config import parse_override

    found = set()
    for override in overrides:
        section, _, key = parse_override(override)[0].partition(".")
        if section != "agent" or key.split(".")[0] in ("", "name"):
            raise MetarlError(
                f"command line {override!r}: {section}{'.' if key else ''}{key} cannot be set here; set agent.KEY=VALUE, all else is "
                "the run's or has an option of its own: see --help"
            )
        found.add(key.split(".")[0])
    return sorted(found)


def _untrained(
    arguments: argparse.Namespace, config: TrainConfig, overrides: Sequence[str], keys: Sequence[str]
) -> Played:
    from ..evaluation.record import UNTRAINED
    from ..runs.config import make_family
    from ..runs.run import run_config
    from ..trials.agent import TrainableAgent
    from ..trials.registered import AGENTS, make_agent

    name = arguments.agent
    # The run's own agent keeps the run's settings: it is where the training began.
    own = [] if AGENTS[name] is AGENTS[config.agent["name"]] else [f"agent={name}"]
    settings = {
        key: value for key, value in run_config(arguments.run, [*own, *overrides]).agent.items() if key != "name"
    }
    counts = AGENTS[name].rounds_setting
    if counts and counts not in keys:
        settings[counts] = getattr(arguments, "rounds", None) or config.rounds
    agent = make_agent(name, make_family(config), settings, seed=config.seed, device=config.device)
    title = f"{name}{UNTRAINED}" if isinstance(agent, TrainableAgent) else name
    return Played(agent, title, None, {key: settings[key] for key in keys})


def result_suffix(arguments: argparse.Namespace, agent_settings: Mapping[str, Any]) -> str:
    """Return what tells a result's file from others in the run folder, where it is not the usual one.

    Agent, what was set of it, budget, whether it was deterministic, and split.
    """
    settings = (f"{key}={json.dumps(value, separators=(',', ':'))}" for key, value in agent_settings.items())
    what = [arguments.agent, *(quote(setting, safe="=.,[]") for setting in settings)]
    what += [f"budget={arguments.budget}" if getattr(arguments, "budget", 1) > 1 else None]
    what += ["deterministic" if getattr(arguments, "deterministic", False) else None]
    what += [None if arguments.split == "test" else arguments.split]
    return "".join(f"-{word}" for word in what if word)
