"""The contract of memories.

A memory has three functions: its state at the start of a trial, one step (for acting) and a whole sequence at once (for
learning). Both ways give the same numbers. A step leaves the memory of a waiting trial as it is; a sequence starts
afresh where `resets` says so.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import NamedTuple, cast

import torch
from torch import Tensor, nn

State = Mapping[str, Tensor]
"""State of a memory: tensors by name, whose first axis is the trial."""


class Memory(nn.Module, ABC):
    """A recurrent network: from the inputs so far to features of them."""

    size: int
    """Number of features at each step."""
    names: tuple[str, ...] | None = None
    """Names of the tensors of the state, of a memory whose step can be exported; None, the default, of others."""

    @abstractmethod
    def initialize(self, generator: torch.Generator) -> None:
        """Draw all weights from `generator`."""

    @property
    def divisible(self) -> Sequence[Layer]:
        """Layers that processes can divide among them; none by default."""
        return ()

    @abstractmethod
    def initial_state(self, num_trials: int) -> State:
        """Return the memory at the start of trials."""

    @abstractmethod
    def step(self, inputs: Tensor, state: State, moving: Tensor) -> tuple[Tensor, State]:
        """Return features [trial, size] after one step, and the memory, which is as before where not `moving`.

        `inputs` is [trial, d], `moving` bool [trial]. The state given stays valid; it may share storage with the new
        one.
        """

    @abstractmethod
    def sequence(self, inputs: Tensor, state: State, resets: Tensor | None = None) -> tuple[Tensor, State]:
        """Return features [time, trial, size] of a sequence, and the memory after it.

        `inputs` is [time, trial, d]. Where `resets`, bool [time, trial], a new trial begins with that step.
        """

    def exported_step(self, inputs: Tensor, state: State) -> tuple[Tensor, State]:
        """Return what `step` returns where all trials move, by operations that can be exported.

        Only for a memory that has `names`.
        """
        raise NotImplementedError(f"{type(self).__name__} has no export")


class Divided(NamedTuple):
    """How processes divide a layer among them: each holds as large a part of every section.

    Rows of the linears that read the layer's input, and columns of those that write its output, which are then summed.
    """

    counts: tuple[str, ...]
    """Attributes of the layer that count what is divided."""
    rows: Mapping[str, Sequence[int]]
    """Sizes of the sections that the outputs of a linear consist of, by its name; or of a vector."""
    columns: Mapping[str, Sequence[int]]
    """Sizes of the sections that the inputs of a linear consist of, by its name."""


class Layer(nn.Module, ABC):
    """A residual layer of a memory."""

    @abstractmethod
    def initialize(self, generator: torch.Generator) -> None:
        """Draw all weights from `generator`."""

    @property
    @abstractmethod
    def divided(self) -> Divided:
        """How processes divide it among them."""


class Layered(Memory):
    """A memory of residual layers between an embedding and a norm."""

    def __init__(self, num_inputs: int, size: int, layers: Sequence[Layer]) -> None:
        super().__init__()
        self.size = size
        self.embed = nn.Linear(num_inputs, size)
        self.layers = nn.ModuleList(layers)
        self.norm = nn.LayerNorm(size)

    def initialize(self, generator: torch.Generator) -> None:
        """Draw an orthogonal embedding, and each layer as it says; biases are zero."""
        nn.init.orthogonal_(self.embed.weight, generator=generator)
        nn.init.zeros_(self.embed.bias)
        for layer in self.layers:
            cast(Layer, layer).initialize(generator)


def own_part(parameter: Tensor) -> Tensor:
    """Return this process's part of a parameter that processes divide among them; else the parameter."""
    to_local = getattr(parameter, "to_local", None)  # of a DTensor, whose import alone takes a second
    return parameter if to_local is None else cast(Tensor, to_local())


def stack_states(states: Sequence[State]) -> State:
    """Return states [trial, ...] along a new first axis, [state, trial, ...]; shorter tensors are padded with zeros."""
    return {name: _stack([state[name] for state in states]) for name in states[0]}


def _stack(tensors: Sequence[Tensor]) -> Tensor:
    shape = [max(sizes) for sizes in zip(*(tensor.shape for tensor in tensors), strict=True)]
    if any(list(tensor.shape) != shape for tensor in tensors):
        tensors = [_pad(tensor, shape) for tensor in tensors]
    return torch.stack(list(tensors))


def _pad(tensor: Tensor, shape: Sequence[int]) -> Tensor:
    filled = tensor.new_zeros(shape)
    filled[tuple(slice(0, size) for size in tensor.shape)] = tensor
    return filled
