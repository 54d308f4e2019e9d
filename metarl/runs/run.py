"""Runs in their folders, and how to load the agents they trained."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..base.code import file_name, only_installed
from ..base.errors import MetarlError, reword, user_code
from ..base.files import path_inside
from ..base.settings import shorten
from ..base.terminal import shell_line
from ..families.family import TaskFamily
from ..families.model_files import know_models
from ..trials.agent import Agent, TrainableAgent
from ..trials.registered import make_agent
from . import checkpoint as checkpoints
from .code import recall_code
from .config import (
    TrainConfig,
    complete,
    family_title,
    import_overrides,
    load_config,
    make_family,
    resolve,
    without_name,
)
from .record import CONFIG, METRICS

BEST, LAST = "best.safetensors", "last.safetensors"
"""Names of a run's checkpoints: the best by the validation score `evaluation.best_by`, and the latest."""


@dataclass(frozen=True)
class Run:
    """A trained agent with its family, its config and the run it is from."""

    path: Path
    """The run folder."""
    config: TrainConfig
    """Its resolved configuration, with the overrides of `load_run`."""
    family: TaskFamily
    """The family it was trained on."""
    agent: Agent
    """The agent, with the weights of the checkpoint."""
    checkpoint: str
    """The checkpoint loaded, 'best' or 'last'."""
    meta: checkpoints.Meta
    """The description of the checkpoint."""

    @property
    def provenance(self) -> dict[str, Any]:
        """How the agent was trained, as JSON types. It holds no time or path, so that equal runs give equal records."""
        return {
            "agent_settings": without_name(self.meta.config["agent"]),
            "training_seed": self.config.seed,
            "updates": self.meta.update,
            "training_env_steps": self.meta.env_steps,
            "checkpoint": self.checkpoint,
        }


RESUME_REMEDY = "leave it out, or begin a new run"
"""Remedy for a setting that may not change when a run is resumed."""
DEFINING = ("family", "agent", "seed", "meta_batch_size", "replicas", "rounds", "start_from", "teacher")
"""Settings that may not change when a run is resumed. Its length, its evaluations and its logging may."""


def holds_run(run_dir: Path) -> bool:
    """Return whether the folder holds a checkpoint or metrics. A run that failed at its first update does not."""
    metrics = path_inside(run_dir, METRICS)
    return any((run_dir / name).exists() for name in (LAST, BEST)) or (metrics.is_file() and metrics.stat().st_size > 0)


def count_updates(run_dir: str | Path, config: TrainConfig) -> int:
    """Return the number of updates in the last checkpoint of a run, 0 without a checkpoint.

    Raises MetarlError if the checkpoint is damaged, or if `config` is the config of another run.
    """
    path = path_inside(run_dir, LAST)
    if not path.exists():
        return 0
    meta = checkpoints.load(path)[1]
    _require_same(config, meta, path, DEFINING, RESUME_REMEDY)
    return meta.update


def default_run_dirs(config: TrainConfig, root: str | Path = "runs") -> Iterator[Path]:
    """Yield the names of a run's folder: <root>/<family>-<agent>-seed<seed>, then with -2, -3, ... appended."""
    family, agent = file_name(family_title(config)), file_name(config.agent["name"])
    yield from numbered(Path(root) / f"{family}-{agent}-seed{config.seed}")


def free_folder(path: Path) -> Path:
    """Return `path`, with -2, -3, ... appended if it exists."""
    return next(folder for folder in numbered(path) if not folder.exists())


def numbered(path: Path) -> Iterator[Path]:
    """Yield `path`, then `path` with -2, -3, ... appended, without end."""
    yield path
    yield from (path.with_name(f"{path.name}-{number}") for number in itertools.count(2))


def run_config(run_dir: str | Path, overrides: Sequence[str] = (), *, device: str | None = None) -> TrainConfig:
    """Return the config of the run in a folder, with overrides and `device`. Imports the code that the run needs.

    Raises MetarlError without a run.
    """
    path = path_inside(run_dir, CONFIG)
    if not path.is_file():
        raise MetarlError(f"run {run_dir} does not exist: there is no {CONFIG} in it; give the folder of a run")
    know_models(run_dir)
    recall_code(run_dir)
    import_overrides(overrides)  # what the user names now may lie in this folder; what the run names may not
    with only_installed():
        return load_config(path, overrides, device=device)


def load_run(
    run_dir: str | Path, checkpoint: str = "best", *, device: str | None = None, overrides: Sequence[str] = ()
) -> Run:
    """Return a run with its trained agent, from the 'best' or the 'last' checkpoint.

    `device` is the agent's device; None takes the run's. `overrides` such as 'agent.inner_lr=0.05' change settings of
    the trained agent; the run's provenance stays the same. Raises MetarlError for a missing run, for a checkpoint that
    is missing, damaged or of another family or agent, and for an override that the trained weights do not fit.
    """
    if checkpoint not in ("best", "last"):
        raise MetarlError(f"checkpoint is {checkpoint!r}; it must be 'best' or 'last'")
    config = run_config(run_dir, device=device)
    path = checkpoint_path(run_dir, BEST if checkpoint == "best" else LAST)
    changed = run_config(run_dir, overrides, device=device) if overrides else config
    family, agent = family_and_agent(changed)
    require_same_networks(agent, changed, config, f"run {run_dir}")
    unfit = (
        f"; the weights may not fit {', '.join(overrides)}: leave out settings that shape the agent"
        if overrides
        else ""
    )
    remedy = "put back the checkpoint or the config"
    meta = restore(agent, path, config, ("family", "agent"), remedy, unfit=unfit)
    return Run(Path(run_dir), changed, family, agent, checkpoint, meta)


def checkpoint_path(run_dir: str | Path, name: str) -> Path:
    """Return the path of a run's checkpoint. Raises MetarlError if it does not exist."""
    path = path_inside(run_dir, name)
    if not path.exists():
        again = shell_line(["metarl", "train", "--resume", Path(run_dir)])
        raise MetarlError(f"run {run_dir} has no {name} yet; go on training with `{again}`")
    return path


def require_same_networks(
    agent: Any, ours: TrainConfig, theirs: TrainConfig, whose: str, keys: Sequence[str] | None = None
) -> None:
    """Raise MetarlError for a setting of `agent.shaped_by` that differs: the same weights would make another network.

    `whose` names the run that trained the weights, with config `theirs`; `keys` are the settings, if not all.
    """
    for key in agent.shaped_by if keys is None else keys:
        difference = next(differences(f"agent.{key}", ours.agent[key], theirs.agent[key]), None)
        if difference is not None:
            name, mine, right = (difference[0], *map(shorten, difference[1:]))
            raise MetarlError(
                f"{name} is {mine}, but {whose} was trained with {right}: its weights belong to another network; take "
                f"{name}={right}"
            )


def family_and_agent(config: TrainConfig) -> tuple[TaskFamily, Any]:
    """Return the family of a config and a new agent for it. Raises MetarlError for an agent that cannot be trained."""
    family = make_family(config)
    name = config.agent["name"]
    agent = make_agent(name, family, without_name(config.agent), seed=config.seed, device=config.device)
    if not isinstance(agent, TrainableAgent):
        raise MetarlError(f"agent {name!r} learns nothing in training; take one that does: see `metarl agents`")
    return family, agent


def restore(
    agent: TrainableAgent, path: Path, config: TrainConfig, defining: Sequence[str], remedy: str, *, unfit: str = ""
) -> checkpoints.Meta:
    """Load a checkpoint into the agent and return its description, with defaults for settings that did not exist then.

    Raises MetarlError with `remedy` if a `defining` part of its config differs from the run's, and with `unfit` if its
    tensors do not fit the agent.
    """
    state, meta = checkpoints.load(path)
    theirs = _require_same(config, meta, path, defining, remedy)
    try:
        with user_code(f"agent {type(agent).__name__}, load_state_dict"):
            agent.load_state_dict(state)
    except MetarlError as error:
        raise reword(error, f"checkpoint {path}: {error}{unfit}") from error.__cause__
    return meta.model_copy(update={"config": theirs})


def _require_same(
    config: TrainConfig, meta: checkpoints.Meta, path: Path, defining: Sequence[str], remedy: str
) -> dict[str, Any]:
    """Return the whole config of a checkpoint. Raises MetarlError with `remedy` if a `defining` part differs."""
    ours, theirs = resolve(config), complete(meta.config, f"checkpoint {path}")
    told = "; ".join(
        f"{key} is {shorten(mine)}, the run started with {shorten(other)}"
        for part in defining
        for key, mine, other in differences(part, ours[part], theirs[part])
    )
    if told:
        raise MetarlError(f"checkpoint {path} does not fit: {told}; {remedy}")
    return theirs


def differences(key: str, ours: Any, theirs: Any) -> Iterator[tuple[str, Any, Any]]:
    """Yield each setting below a dotted key that differs: its key and both values.

    Of two sections with different names, only the name is yielded: all else belongs to another choice.
    """
    if isinstance(ours, Mapping) and isinstance(theirs, Mapping):
        renamed = ours.get("name") != theirs.get("name")
        for name in ["name"] if renamed else ours:
            yield from differences(f"{key}.{name}", ours.get(name), theirs.get(name))
    elif ours != theirs:
        yield key, ours, theirs
