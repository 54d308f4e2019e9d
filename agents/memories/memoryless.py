"""No memory: features of the present input alone."""

from __future__ import annotations

import itertools
from typing import cast

import torch
from torch import Tensor, nn

from .contract import Memory, State


class Memoryless(Memory):
    """Layers of tanh units that read one step, which shows the action and reward before it, and keep nothing."""

    names = ()

    def __init__(self, num_inputs: int, size: int, num_layers: int) -> None:
        super().__init__()
        self.size = size
        widths = [num_inputs, *[size] * num_layers]
        self.layers = nn.ModuleList(nn.Linear(*pair) for pair in itertools.pairwise(widths))

    def initialize(self, generator: torch.Generator) -> None:
        """Draw orthogonal weights; biases are zero."""
        for layer in self.layers:
            linear = cast(nn.Linear, layer)
            nn.init.orthogonal_(linear.weight, generator=generator)
            nn.init.zeros_(linear.bias)

    def initial_state(self, num_trials: int) -> State:
        """Return nothing."""
        return {}

    def step(self, inputs: Tensor, state: State, moving: Tensor) -> tuple[Tensor, State]:
        """Return features of the inputs, and nothing."""
        return self._features(inputs), {}

    def sequence(self, inputs: Tensor, state: State, resets: Tensor | None = None) -> tuple[Tensor, State]:
        """Return features of each step, and nothing."""
        return self._features(inputs), {}

    def exported_step(self, inputs: Tensor, state: State) -> tuple[Tensor, State]:
        """Return what `step` returns."""
        return self._features(inputs), {}

    def _features(self, inputs: Tensor) -> Tensor:
        for layer in self.layers:
            inputs = torch.tanh(layer(inputs))
        return inputs
