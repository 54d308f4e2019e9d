"""How a run starts from another: with the whole agent of its best checkpoint, or with what fits."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple

from ..base.errors import MetarlError, did_you_mean, user_code
from ..base.text import align_columns
from ..runs import checkpoint as checkpoints
from ..runs.config import TrainConfig
from ..runs.record import METRICS, minutes_by_update, read_metrics, read_sessions, require_measured
from ..runs.run import BEST, checkpoint_path, require_same_networks, run_config
from ..runs.start import StartConfig, begins_with
from ..trials.agent import NUM_UPDATES, OPTIMIZER, TrainableAgent
from .log import Origin

if TYPE_CHECKING:
    from torch import Tensor

State = Mapping[str, "Tensor"]


class Row(NamedTuple):
    """What became of a tensor of the agent."""

    name: str
    """Its name in the agent's state."""
    taken: bool
    """Whether it was taken from the other run."""
    told: str
    """Why it was not, or how long it stays as it is; '' where there is nothing to say."""


class Start(NamedTuple):
    """What an agent begins with."""

    origin: Origin
    """The checkpoint, and the cost of its training."""
    rows: tuple[Row, ...]
    """What became of each tensor but optimisers'; none where the whole agent was taken."""

    def table(self) -> str:
        """Return the rows as a table for people."""
        words = [(row.name, "taken" if row.taken else "new", row.told) for row in self.rows]
        return align_columns([("tensor", "", ""), *words])


def start_from(agent: TrainableAgent, config: TrainConfig, start: StartConfig) -> Start:
    """Load what `start` takes of another run's best checkpoint into the agent.

    Raises MetarlError for a run of another agent, for one that does not fit, and where nothing of it does.
    """
    run_dir = start.run.replace("{seed}", str(config.seed))
    try:
        return _start_from(agent, config, start, run_dir)
    except MetarlError as error:
        raise MetarlError(f"start_from is {run_dir!r}: {error}") from None


def _start_from(agent: TrainableAgent, config: TrainConfig, start: StartConfig, run_dir: str) -> Start:
    mine, theirs = config.agent["name"], run_config(run_dir)
    if theirs.agent["name"] != mine:
        raise MetarlError(f"it trains {theirs.agent['name']!r}; {mine!r} can start only from a run of {mine!r}")
    path = checkpoint_path(run_dir, BEST)
    if start.take == "all":
        require_same_networks(agent, config, theirs, "it")
    state, meta = checkpoints.load(path)
    for name, value in state.items():
        if name.rpartition(".")[2] == NUM_UPDATES:
            value.zero_()
    rows: tuple[Row, ...] = ()
    if start.take == "fitting":
        own = agent.state_dict()
        others = _other_parts(agent, config, theirs, own)
        rows = tuple(_rows(own, state, start, others, agent.taken_together))
        taken = {row.name for row in rows if row.taken}
        state = {name: state[name] if name in taken else value for name, value in own.items()}
    with user_code(f"agent {type(agent).__name__}, load_state_dict"):
        agent.load_state_dict(state)
    metrics = read_metrics(run_dir)
    require_measured(run_dir, metrics)
    lines = [line for line in metrics if line["update"] < meta.update]
    if len(lines) < meta.update:
        raise MetarlError(
            f"its {METRICS} has {len(lines)} of the {meta.update} updates of its {BEST}; restore it from a copy"
        )
    minutes = minutes_by_update(lines, read_sessions(run_dir))[-1:].sum()
    taken_names = tuple(row.name for row in rows if row.taken)
    return Start(Origin(run_dir, meta.update, meta.env_steps, float(minutes), taken_names), rows)


def _other_parts(agent: TrainableAgent, config: TrainConfig, theirs: TrainConfig, own: State) -> tuple[str, ...]:
    """Return the settings that shape a part of the networks, named as they are, and differ: that part is another one.

    Raises MetarlError for one that shapes more than a part: the same weights would make another network.
    """
    differing = [key for key in agent.shaped_by if config.agent[key] != theirs.agent[key]]
    for key in differing:
        if not any(begins_with(name, key) for name in own):
            require_same_networks(agent, config, theirs, "it", (key,))
    return tuple(differing)


def _rows(
    own: State, theirs: State, start: StartConfig, others: Sequence[str], together: Sequence[Sequence[str]]
) -> Iterator[Row]:
    """Say of every tensor of an agent whether it is taken. Raises MetarlError where none is, and for unknown parts.

    `together` are parts that are taken as one, or not at all.
    """
    names = tensor_names(own)
    for part in start.leave:
        require_part("start_from.leave", part, names)
    refused = {name: _refusal(name, own, theirs, start, others) for name in names}
    matrices = {name for name in names if own[name].dim() > 1}
    if not any(not refused[name] for name in matrices):
        raise MetarlError("no layer of it has the name and the shape of one here; leave start_from out")
    # Of a layer its matrices decide, of what has none, such as the moments of inputs, every tensor.
    for layer in dict.fromkeys(name.rpartition(".")[0] for name in names if "." in name):
        inside = [name for name in names if name.rpartition(".")[0] == layer]
        deciding = [name for name in inside if name in matrices]
        if all(refused[name] for name in deciding) if deciding else any(refused[name] for name in inside):
            refused |= {name: refused[name] or "its layer is new" for name in inside}
    for parts in together:
        inside = [name for name in names if any(begins_with(name, part) for part in parts)]
        if any(refused[name] for name in inside):
            refused |= {name: refused[name] or f"{' and '.join(parts)} go together" for name in inside}
    until = "" if start.frozen_updates is None else f" for {start.frozen_updates} updates"
    for name in names:
        frozen = any(begins_with(name, part) for part in start.freeze) and not refused[name]
        yield Row(name, not refused[name], refused[name] or (f"frozen{until}" if frozen else ""))


def _refusal(name: str, own: State, theirs: State, start: StartConfig, others: Sequence[str]) -> str:
    """Return why a tensor is not taken; '' where it can be."""
    if any(begins_with(name, part) for part in start.leave):
        return "left, as start_from.leave says"
    if other := next((part for part in others if begins_with(name, part)), ""):
        return f"agent.{other} differs"
    if name not in theirs:
        return "the other run has none"
    here, there = (" x ".join(map(str, state[name].shape)) or "one number" for state in (own, theirs))
    return "" if here == there else f"{here} here, {there} there"


def frozen_names(agent: TrainableAgent, parts: Sequence[str], taken: Sequence[str]) -> tuple[str, ...]:
    """Return the tensors of some parts, of those `taken` if not all were. Raises MetarlError for a part without any."""
    names = tensor_names(agent.state_dict()) if parts else ()
    found = tuple(name for name in names if any(begins_with(name, part) for part in parts))
    for part in parts:
        require_part("start_from.freeze", part, names)
        if taken and not any(begins_with(name, part) for name in taken):
            raise MetarlError(f"start_from.freeze names {part!r}, but nothing of it was taken; leave it out")
    return tuple(name for name in found if not taken or name in taken)


def tensor_names(state: State) -> tuple[str, ...]:
    """Return the names in an agent's state, but for an optimiser's and counts of updates."""
    return tuple(name for name in state if OPTIMIZER not in name.split(".") and name.split(".")[-1] != NUM_UPDATES)


def require_part(key: str, part: str, names: Sequence[str]) -> None:
    """Raise MetarlError unless a part is that of a tensor."""
    if not any(begins_with(name, part) for name in names):
        parts = dict.fromkeys(name.partition(".")[0] for name in names)
        raise MetarlError(f"{key} names {part!r}, which the agent does not have; {did_you_mean(part, parts)}")
