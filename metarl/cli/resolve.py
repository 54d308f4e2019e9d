"""Resolves the agent that a command evaluates, and names the files of its results."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from ..base.code import canonical, file_name
from ..base.errors import MetarlError

if TYPE_CHECKING:
    from ..evaluation.record import AgentRecord
    from ..families.family import TaskFamily
    from ..runs.config import TrainConfig
    from ..trials.agent import Agent
    from ..trials.plan import TrialPlan


@dataclass(frozen=True)
class AgentChoice:
    """The agent that a user asks a command for."""

    run_dir: Path
    """Folder of the run; without a run, of the results."""
    name: str | None = None
    """Agent to use untrained, registered or `module:Name`; None uses the run's trained agent."""
    checkpoint: str | None = None
    """'best' or 'last'; None is 'best'."""
    device: str | None = None
    """Device of the networks; None is the device of the run's config."""
    overrides: tuple[str, ...] = ()
    """Changed settings of the agent, such as 'agent.inner_lr=0.05', and of a run's family, such as 'family.drift=0'."""
    family: tuple[str, ...] = ()
    """Settings that stand for a run's config, such as 'family=gridnavi' and 'agent=random'; () with a run."""

    def config(self, overrides: Sequence[str] = ()) -> TrainConfig:
        """Return the config of the run, or the defaults for the family, with overrides."""
        from ..runs.config import load_config
        from ..runs.run import run_config

        if self.family:
            return load_config(None, [*self.family, *overrides], device=self.device)
        return run_config(self.run_dir, overrides, device=self.device)


@dataclass(frozen=True)
class ResolvedAgent:
    """An agent ready to play."""

    choice: AgentChoice
    """What the user asked for."""
    agent: Agent
    """The agent."""
    family: TaskFamily
    """The family that it plays."""
    record: AgentRecord
    """What results say of it."""
    changed: Mapping[str, Any] = field(default_factory=dict)
    """Settings of the family that are not the run's, by name."""

    def result(self, name: str, plan: TrialPlan, ending: str) -> Path:
        """Return the path of a result in the run folder, such as `adaptation-random.png`."""
        from ..base.files import path_inside

        return path_inside(self.choice.run_dir, f"{name}{self.suffix(plan)}{ending}")

    def suffix(self, plan: TrialPlan) -> str:
        """Return the suffix that tells a result's file from others in the run folder; '' for the usual result.

        It has the agent's name, changed settings of family and agent, the budget, 'deterministic', and the split.
        """
        from ..evaluation.record import changes

        settings = {f"family.{key}": value for key, value in self.changed.items()} | dict(self.record.settings)
        words = [quote(word, safe="=.,[]") for word in changes(settings, plan)]
        words = [*([file_name(canonical(self.choice.name))] if self.choice.name else []), *words]
        return "".join(f"-{word}" for word in [*words, *([] if plan.split == "test" else [plan.split])])


SB3_MODEL = "sb3:"
"""What stands before the file of a stable-baselines3 model, in place of an agent's name."""


_MODEL_CLASS = "metarl.agents.sb3.model:SB3Model"


def base_agent(name: str) -> str:
    """Return the agent whose settings a config can hold: itself, or for a stable-baselines3 model one without any."""
    return "random" if name.startswith(SB3_MODEL) else name


def resolve_agent(choice: AgentChoice, config: TrainConfig, plan: TrialPlan) -> ResolvedAgent:
    """Return the trained agent of a run, or a new agent by its name.

    `config` is the run's. Raises MetarlError for a setting that the agent does not take, for one of the family that the
    trained agent cannot play with, and for a missing or damaged checkpoint.
    """
    written, of_family = _changed_settings(choice.overrides)
    if choice.name is not None and choice.name.startswith(SB3_MODEL):
        return _load_model(choice, choice.name.removeprefix(SB3_MODEL), config)
    if choice.name is not None:
        return _make_untrained(choice, choice.name, config, plan, written, of_family)
    return _load_trained(choice, config, written, of_family)


def _load_trained(
    choice: AgentChoice, config: TrainConfig, written: Mapping[str, Any], of_family: Sequence[str]
) -> ResolvedAgent:
    """Return the agent that a run trained, on the run's family or on one with other settings that it can play."""
    from ..evaluation.record import AgentRecord
    from ..families.changed import require_playable
    from ..runs.run import load_run

    of_agent = [override for override in choice.overrides if override not in of_family]
    run = load_run(choice.run_dir, choice.checkpoint or "best", device=choice.device, overrides=of_agent)
    record = AgentRecord(config.agent["name"], _record_settings(written, run.config.agent), run.provenance)
    if not of_family:
        return ResolvedAgent(choice, run.agent, run.family, record)
    family, changed = _changed_family(choice, of_family)
    try:
        require_playable(run.family, family)
    except MetarlError as error:
        raise MetarlError(f"command line {' '.join(of_family)!r}: {error}") from None
    return ResolvedAgent(choice, run.agent, family, record, changed)


def _changed_family(choice: AgentChoice, of_family: Sequence[str]) -> tuple[TaskFamily, dict[str, Any]]:
    """Return the run's family with other settings, and these as the family has them."""
    from ..runs.config import make_family, parse_override

    config = choice.config(of_family)
    keys = sorted(parse_override(override)[0].split(".")[1] for override in of_family)
    return make_family(config), {key: config.family[key] for key in keys}


def _load_model(choice: AgentChoice, path: str, config: TrainConfig) -> ResolvedAgent:
    """Return the model that stable-baselines3 saved in a file."""
    from ..evaluation.record import AgentRecord
    from ..runs.config import make_family
    from ..trials.registered import make_agent

    if choice.overrides:
        raise MetarlError(f"{choice.overrides[0]} was given for a saved model, which has no settings; leave it out")
    family = make_family(config)
    agent = make_agent(_MODEL_CLASS, family, {"path": path}, device=config.device)
    return ResolvedAgent(choice, agent, family, AgentRecord(f"{SB3_MODEL}{Path(path).name}"))


def _changed_settings(overrides: Sequence[str]) -> tuple[dict[str, Any], list[str]]:
    """Return the settings of the agent in overrides, by dotted key, sorted, and the overrides of the family.

    Raises MetarlError for other settings.
    """
    from ..runs.config import parse_override

    found, of_family = {}, []
    for override in overrides:
        dotted, value = parse_override(override)
        section, _, key = dotted.partition(".")
        if section not in ("agent", "family") or key.split(".")[0] in ("", "name", "preset"):
            raise MetarlError(
                f"command line {override!r}: {section}{'.' if key else ''}{key} cannot be set here; set "
                "agent.KEY=VALUE or family.KEY=VALUE, all else is fixed by the run or has an option (see --help)"
            )
        if section == "family":
            of_family.append(override)
        else:
            found[key] = value
    return dict(sorted(found.items())), of_family


def _record_settings(written: Mapping[str, Any], agent: Mapping[str, Any]) -> dict[str, Any]:
    """Return what a user wrote of an agent's settings, as the agent has them; of mappings only the keys written."""
    from ..runs.config import setting

    found: dict[str, Any] = {}
    for key, value in written.items():
        if isinstance(value, Mapping):
            found |= _record_settings({f"{key}.{part}": inner for part, inner in value.items()}, agent)
        else:
            has = setting(agent, key)
            found[key] = has.get("name", value) if isinstance(has, Mapping) else has
    return found


def _make_untrained(
    choice: AgentChoice,
    given: str,
    config: TrainConfig,
    plan: TrialPlan,
    written: Mapping[str, Any],
    of_family: Sequence[str],
) -> ResolvedAgent:
    from ..evaluation.record import UNTRAINED, AgentRecord
    from ..runs.config import make_family, without_name
    from ..trials.agent import TrainableAgent
    from ..trials.registered import AGENTS, make_agent

    cls, name = AGENTS[given], canonical(given)
    # The run's own agent keeps the run's settings: it is the agent that the training started from.
    own = [] if cls is AGENTS[config.agent["name"]] else [f"agent={name}"]
    settings = without_name(choice.config([*own, *choice.overrides]).agent)
    rounds = cls.rounds_setting
    if rounds and rounds not in written:
        settings[rounds] = plan.rounds
    family, changed = _changed_family(choice, of_family) if of_family else (make_family(config), {})
    agent = make_agent(name, family, settings, seed=config.seed, device=config.device)
    title = f"{name}{UNTRAINED}" if isinstance(agent, TrainableAgent) else name
    return ResolvedAgent(choice, agent, family, AgentRecord(title, _record_settings(written, settings)), changed)
