"""What a memory-based agent remembers with: one contract, and the recurrent networks that keep it.

A memory has three functions: the state before anything happened, one step of it (acting), and a whole sequence at once
(learning). Both ways give the same numbers. A step holds still the memories of trials that wait, and a sequence begins
anew where it is told to.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import cast

import torch
from torch import Tensor, nn

State = Mapping[str, Tensor]
"""What is remembered, by name; every tensor's first axis is the trial."""


class Memory(nn.Module, ABC):
    """A network from what is seen, step by step, to features of all that was seen so far."""

    size: int
    """Features put out at each step."""

    @abstractmethod
    def initialize(self, generator: torch.Generator) -> None:
        """Draw all weights from `generator`."""

    @abstractmethod
    def initial_state(self, num_trials: int) -> State:
        """Return the memory at the start of trials."""

    @abstractmethod
    def step(self, inputs: Tensor, state: State, moving: Tensor) -> tuple[Tensor, State]:
        """Return features [trial, size] after one step, and the memory, which is as before where not `moving`.

        `inputs` is [trial, d], `moving` bool [trial]. The state given stays valid; it may share storage with the new one.
        """

    @abstractmethod
    def sequence(self, inputs: Tensor, state: State, resets: Tensor | None = None) -> tuple[Tensor, State]:
        """Return features [time, trial, size] of a sequence, and the memory after it.

        `inputs` is [time, trial, d]. Where `resets`, bool [time, trial], a new trial begins with that step.
        """


class Layer(nn.Module, ABC):
    """What `Layered` is made of."""

    @abstractmethod
    def initialize(self, generator: torch.Generator) -> None:
        """Draw all weights from `generator`."""


class Layered(Memory):
    """A memory of layers that add to what comes in, between an embedding and a norm."""

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


def stacked(states: Sequence[State]) -> State:
    """Return states [trial, ...] along a new first axis, [state, trial, ...]; shorter tensors are filled up by zeros."""
    return {name: _stacked([state[name] for state in states]) for name in states[0]}


def _stacked(tensors: Sequence[Tensor]) -> Tensor:
    shape = [max(sizes) for sizes in zip(*(tensor.shape for tensor in tensors), strict=True)]
    if any(list(tensor.shape) != shape for tensor in tensors):
        tensors = [_filled(tensor, shape) for tensor in tensors]
    return torch.stack(list(tensors))


def _filled(tensor: Tensor, shape: Sequence[int]) -> Tensor:
    filled = tensor.new_zeros(shape)
    filled[tuple(slice(0, size) for size in tensor.shape)] = tensor
    return filled
