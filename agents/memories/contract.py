"""The contract of memories.

A memory has three functions: its state at the start of a trial, one step (for acting) and a whole sequence at once (for
learning). Both ways give the same numbers. A step leaves the memory of a waiting trial as it is; a sequence starts
afresh where `resets` says so.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import cast

import torch
from torch import Tensor, nn

State = Mapping[str, Tensor]
"""State of a memory: tensors by name, whose first axis is the trial."""


class Memory(nn.Module, ABC):
    """A recurrent network: from the inputs so far to features of them."""

    size: int
    """Number of features at each step."""

    @abstractmethod
    def initialize(self, generator: torch.Generator) -> None:
        """Draw all weights from `generator`."""

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


class Layer(nn.Module, ABC):
    """A layer of `Layered`."""

    @abstractmethod
    def initialize(self, generator: torch.Generator) -> None:
        """Draw all weights from `generator`."""


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
