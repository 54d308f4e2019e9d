"""Resolves the agent that a command evaluates, and names the files of its results."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote

from ..base.errors import MetarlError

if TYPE_CHECKING:
    from ..evaluation.record import AgentRecord
    from ..runs.config import TrainConfig
    from ..trials.agent import Agent
    from ..trials.plan import TrialPlan


@dataclass(frozen=True)
class AgentChoice:
    """The agent that a user asks a command for."""

    run_dir: Path
    """Folder of the run."""
    name: str | None = None
    """Registered agent to use untrained; None uses the run's trained agent."""
    checkpoint: str | None = None
    """'best' or 'last'; None is 'best'."""
    device: str | None = None
    """Device of the networks; None is the device of the run's config."""
    overrides: tuple[str, ...] = ()
    """Changed settings of the agent, such as 'agent.adapts=true'."""


@dataclass(frozen=True)
class ResolvedAgent:
    """An agent ready to play."""

    choice: AgentChoice
    """What the user asked for."""
    agent: Agent
    """The agent."""
    record: AgentRecord
    """What results say of it."""

    def suffix(self, plan: TrialPlan) -> str:
        """Return the suffix that tells a result's file from others in the run folder; '' for the usual result.

        It has the agent's name and changed settings, the budget, 'deterministic', and the split.
        """
        from ..evaluation.record import changes

        words = [quote(word, safe="=.,[]") for word in changes(self.record.settings, plan)]
        words = [*([self.choice.name] if self.choice.name else []), *words]
        return "".join(f"-{word}" for word in [*words, *([] if plan.split == "test" else [plan.split])])


def resolve_agent(choice: AgentChoice, config: TrainConfig, plan: TrialPlan) -> ResolvedAgent:
    """Return the trained agent of a run, or a new agent by its name.

    `config` is the run's. Raises MetarlError for a setting that the agent does not take, a missing or damaged
    checkpoint, and a checkpoint of an agent that is asked for by name.
    """
    from ..evaluation.record import AgentRecord
    from ..runs.config import setting
    from ..runs.run import load_run

    keys = _changed_keys(choice.overrides)
    if choice.name is None:
        checkpoint = choice.checkpoint or "best"
        run = load_run(choice.run_dir, checkpoint, device=choice.device, overrides=choice.overrides)
        settings = {key: setting(run.config.agent, key) for key in keys}
        return ResolvedAgent(choice, run.agent, AgentRecord(config.agent["name"], settings, run.provenance))
    if choice.checkpoint is not None:
        raise MetarlError(
            "--agent and --checkpoint were both given; an untrained agent has no checkpoint: leave one out"
        )
    return _make_untrained(choice, choice.name, config, plan, keys)


def _changed_keys(overrides: Sequence[str]) -> list[str]:
    """Return the dotted keys of the agent that overrides change, sorted. Raises MetarlError for any other setting."""
    from ..runs.config import parse_override

    found = set()
    for override in overrides:
        section, _, key = parse_override(override)[0].partition(".")
        if section != "agent" or key.split(".")[0] in ("", "name"):
            raise MetarlError(
                f"command line {override!r}: {section}{'.' if key else ''}{key} cannot be set here; set "
                "agent.KEY=VALUE, all else is fixed by the run or has an option (see --help)"
            )
        found.add(key)
    return sorted(found)


def _make_untrained(
    choice: AgentChoice, name: str, config: TrainConfig, plan: TrialPlan, keys: Sequence[str]
) -> ResolvedAgent:
    from ..evaluation.record import UNTRAINED, AgentRecord
    from ..runs.config import make_family, setting, without_name
    from ..runs.run import run_config
    from ..trials.agent import TrainableAgent
    from ..trials.registered import AGENTS, make_agent

    # The run's own agent keeps the run's settings: it is the agent that the training started from.
    own = [] if AGENTS[name] is AGENTS[config.agent["name"]] else [f"agent={name}"]
    settings = without_name(run_config(choice.run_dir, [*own, *choice.overrides]).agent)
    rounds = AGENTS[name].rounds_setting
    if rounds and rounds not in keys:
        settings[rounds] = plan.rounds
    agent = make_agent(name, make_family(config), settings, seed=config.seed, device=config.device)
    title = f"{name}{UNTRAINED}" if isinstance(agent, TrainableAgent) else name
    return ResolvedAgent(choice, agent, AgentRecord(title, {key: setting(settings, key) for key in keys}))
