"""Runs in their folders: what was trained, and how to get it back."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..base.errors import MetarlError
from ..base.settings import shortened
from ..families.family import TaskFamily
from ..trials.agent import Agent, TrainableAgent
from ..trials.registered import make_agent
from . import checkpoint as checkpoints
from .config import TrainConfig, completed, load_config, make_family, resolved, without_name
from .record import CONFIG, METRICS

BEST, LAST = "best.safetensors", "last.safetensors"
"""A run's checkpoints: the best by validation IQM, see `evaluation.best_by`, and the newest."""


@dataclass(frozen=True)
class Run:
    """A trained agent and where it comes from."""

    path: Path
    """The run folder."""
    config: TrainConfig
    """Its resolved configuration, with what was changed since."""
    family: TaskFamily
    """The family it was trained on."""
    agent: Agent
    """The agent, with what it has learned."""
    checkpoint: str
    """Which checkpoint that is from, 'best' or 'last'."""
    meta: checkpoints.Meta
    """What the checkpoint says of itself."""

    @property
    def provenance(self) -> dict[str, Any]:
        """How the agent was trained, ready for JSON. It holds no time or path: runs that are equal say the same."""
        return {
            "agent_settings": without_name(self.meta.config["agent"]),
            "training_seed": self.config.seed,
            "updates": self.meta.update,
            "training_env_steps": self.meta.env_steps,
            "checkpoint": self.checkpoint,
        }


GOES_ON = "leave it out, or begin a new run"
"""What to do about a setting that a run that goes on cannot have."""
DEFINING = ("family", "agent", "seed", "meta_batch_size", "replicas", "rounds", "start_from")
"""What may not change when a run goes on; the length of the run, its evaluations and its logging may."""


def holds_run(run_dir: Path) -> bool:
    """Return whether the folder holds what was learned or measured: a run that failed at its first update is none."""
    metrics = run_dir / METRICS
    return any((run_dir / name).exists() for name in (LAST, BEST)) or (metrics.is_file() and metrics.stat().st_size > 0)


def updates_made(run_dir: str | Path, config: TrainConfig) -> int:
    """Return how many updates the last checkpoint of a run has seen, 0 where there is none.

    Raises MetarlError if it is damaged, or if `config` is that of another run.
    """
    path = Path(run_dir) / LAST
    if not path.exists():
        return 0
    meta = checkpoints.load(path)[1]
    _require_same(config, meta, path, DEFINING, GOES_ON)
    return meta.update


def default_run_dir(config: TrainConfig, root: str | Path = "runs") -> Path:
    """Return the folder <root>/<family>-<agent>-seed<seed>, with -2, -3, ... behind it where it is taken."""
    return free_folder(Path(root) / f"{config.family['name']}-{config.agent['name']}-seed{config.seed}")


def free_folder(path: Path) -> Path:
    """Return `path`, or with -2, -3, ... behind it where it is taken."""
    others = (path.with_name(f"{path.name}-{number}") for number in itertools.count(2))
    return next(folder for folder in itertools.chain([path], others) if not folder.exists())


def run_config(run_dir: str | Path, overrides: Sequence[str] = (), *, device: str | None = None) -> TrainConfig:
    """Return the config of the run in a folder, with overrides and `device` over it. Raises MetarlError if there is none."""
    path = Path(run_dir) / CONFIG
    if not path.is_file():
        raise MetarlError(f"run {run_dir} does not exist: there is no {CONFIG} in it; give the folder of a run")
    return load_config(path, overrides, device=device)


def load_run(
    run_dir: str | Path, checkpoint: str = "best", *, device: str | None = None, overrides: Sequence[str] = ()
) -> Run:
    """Return the trained agent of a run, from its 'best' or 'last' checkpoint.

    `device` is where it shall run, by default where the run's config says. `overrides` such as 'agent.adapts=true' change
    what it does from now on; the run's provenance stays that of its training. Raises MetarlError for a missing run, for a
    checkpoint that is missing, damaged or of another family or agent, and for a setting that what was trained does not fit.
    """
    if checkpoint not in ("best", "last"):
        raise MetarlError(f"checkpoint is {checkpoint!r}; it must be 'best' or 'last'")
    config = run_config(run_dir, device=device)
    path = checkpoint_path(run_dir, BEST if checkpoint == "best" else LAST)
    changed = run_config(run_dir, overrides, device=device) if overrides else config
    family, agent = family_and_agent(changed)
    require_same_networks(agent, changed, config, f"run {run_dir}")
    unfit = (
        f"; {', '.join(overrides)} may be what it does not fit: leave out what shapes the agent" if overrides else ""
    )
    remedy = "put back the checkpoint or the config"
    meta = restored(agent, path, config, ("family", "agent"), remedy, unfit=unfit)
    return Run(Path(run_dir), changed, family, agent, checkpoint, meta)


def checkpoint_path(run_dir: str | Path, name: str) -> Path:
    """Return the path of a run's checkpoint. Raises MetarlError where it is not there."""
    path = Path(run_dir) / name
    if not path.exists():
        raise MetarlError(f"run {run_dir} has no {name} yet; train on with `metarl train --resume {run_dir}`")
    return path


def require_same_networks(agent: Any, ours: TrainConfig, theirs: TrainConfig, whose: str) -> None:
    """Refuse settings that make other networks of the weights of `whose` run, even where all shapes are the same."""
    for key in agent.shaped_by:
        mine, other = (_dotted(f"agent.{key}", config.agent[key]) for config in (ours, theirs))
        changed = next((name for name in mine if mine[name] != other.get(name)), None)
        if changed is not None:
            right = shortened(other.get(changed))
            raise MetarlError(
                f"{changed} is {shortened(mine[changed])}, {whose} was trained with {right}: its weights are of other "
                f"networks; take {changed}={right}"
            )


def family_and_agent(config: TrainConfig) -> tuple[TaskFamily, Any]:
    """Return the family of a config and a new agent for it. Raises MetarlError for an agent that learns nothing in training."""
    family = make_family(config)
    name = config.agent["name"]
    agent = make_agent(name, family, without_name(config.agent), seed=config.seed, device=config.device)
    if not isinstance(agent, TrainableAgent):
        raise MetarlError(f"agent {name!r} learns nothing in training; take one that does: see `metarl agents`")
    return family, agent


def restored(
    agent: TrainableAgent, path: Path, config: TrainConfig, defining: Sequence[str], remedy: str, *, unfit: str = ""
) -> checkpoints.Meta:
    """Load a checkpoint into the agent and return what it says of itself, with settings that came since at their default.

    Raises MetarlError with `remedy` where a `defining` part of its config is not the run's, with `unfit` where the agent does
    not take what it holds.
    """
    state, meta = checkpoints.load(path)
    theirs = _require_same(config, meta, path, defining, remedy)
    try:
        agent.load_state_dict(state)
    except MetarlError as error:
        raise MetarlError(f"checkpoint {path}: {error}{unfit}") from None
    return meta.model_copy(update={"config": theirs})


def _require_same(
    config: TrainConfig, meta: checkpoints.Meta, path: Path, defining: Sequence[str], remedy: str
) -> dict[str, Any]:
    """Return the whole config of a checkpoint. Raises MetarlError with `remedy` where a `defining` part is not the run's."""
    theirs = completed(meta.config, f"checkpoint {path}")
    if differences := _differences(resolved(config), theirs, defining):
        raise MetarlError(f"checkpoint {path} does not fit: {differences}; {remedy}")
    return theirs


def _differences(ours: Mapping[str, Any], theirs: Mapping[str, Any], parts: Sequence[str]) -> str:
    """Return which settings differ, in words; of a section with another name only that."""
    told = []
    for part in parts:
        mine, other = _dotted(part, ours[part]), _dotted(part, theirs[part])
        changed = [key for key in mine if mine[key] != other.get(key)]
        if f"{part}.name" in changed:
            changed = [f"{part}.name"]
        told += [
            f"{key} is {shortened(mine[key])}, the run was begun with {shortened(other.get(key))}" for key in changed
        ]
    return "; ".join(told)


def _dotted(key: str, value: Any) -> dict[str, Any]:
    """Return a setting, or those nested in it, by dotted key."""
    if not isinstance(value, Mapping):
        return {key: value}
    return {name: inner for part in value for name, inner in _dotted(f"{key}.{part}", value[part]).items()}
