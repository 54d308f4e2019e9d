"""What RL^2 learns from: the part of an update that differs between rewards and right answers."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import NamedTuple, Protocol

from torch import Tensor

from metarl.base.schedule import Schedule
from metarl.trials.episodes import Trial

from ..common.sequences import Sequences
from ..memories.contract import State


class Steps(NamedTuple):
    """Data of each step of trials that an update reads."""

    inputs: Tensor
    raw: Tensor
    mask: Tensor
    """One where the step is learned from, else zero."""
    told: dict[str, Tensor]
    """What the lesson says of the steps, by name."""

    def map(self, function: Callable[[Tensor], Tensor]) -> Steps:
        """Return the steps with every tensor passed through `function`."""
        told = {name: function(value) for name, value in self.told.items()}
        return Steps(function(self.inputs), function(self.raw), function(self.mask), told)


class Pieces(NamedTuple):
    """Trials, cut in time into pieces for back-propagation."""

    steps: Steps
    """[time, piece, trial, ...]"""
    state: State
    """The memory at the start of each piece, by name. [piece, trial, ...]"""
    tasks: Tensor
    """The task of each trial, as numbers. [trial, number]"""

    def of(self, trials: Tensor) -> Pieces:
        """Return the pieces of some trials, the piece and the trial flattened into one axis."""
        state = {name: value.index_select(1, trials).flatten(0, 1) for name, value in self.state.items()}
        tasks = self.tasks.index_select(0, trials).repeat(self.steps.mask.shape[1], 1)
        return Pieces(self.steps.map(lambda values: values.index_select(2, trials).flatten(1, 2)), state, tasks)


class Lesson(Protocol):
    """Says what the steps of trials teach."""

    @property
    def tensors(self) -> Mapping[str, Tensor]:
        """What training changes beside the network, by name."""
        ...

    @property
    def schedules(self) -> Mapping[str, Schedule]:
        """Schedules of its settings, by name."""
        ...

    def reads_features(self, trial: Trial) -> bool:
        """Return whether `prepare` needs the network's features, which take a pass over the trials."""
        ...

    def prepare(
        self, trial: Trial, trials: Sequences, features: Tensor | None, tasks: Tensor
    ) -> tuple[dict[str, Tensor], dict[str, float]]:
        """Return what it says of the steps, each [time, trial, ...], and what to log.

        `features` are those of the network before the update, [time + 1, trial, size], if it reads them.
        """
        ...

    def loss(self, features: Tensor, tasks: Tensor, steps: Steps) -> tuple[Tensor, dict[str, float]]:
        """Return the loss of steps [time, trial, ...], and what to log."""
        ...

    def log_first(self, first: Mapping[str, float]) -> dict[str, float]:
        """Return what to log of the first step of an update alone, given all that it logged."""
        ...
