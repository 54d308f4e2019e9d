"""A memory that sees each input beside the one before it."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from .contract import Layer, Memory, State

_LAST = "paired_with"
"""Name of the input before, in the state."""


class Paired(Memory):
    """Shows another memory each input beside the one before it, zero at the start of a trial.

    An answer that is revealed after the act arrives with the next question. Beside that one's input is now the question
    that it answers, so that no layer has to bring the two together: what the temporal convolutions of SNAIL do
    (Mishra et al., ICLR 2018).
    """

    def __init__(self, memory: Memory, num_inputs: int) -> None:
        super().__init__()
        self.memory, self.size, self.num_inputs = memory, memory.size, num_inputs

    def initialize(self, generator: torch.Generator) -> None:
        """Draw the weights of the memory."""
        self.memory.initialize(generator)

    @property
    def divisible(self) -> Sequence[Layer]:
        """Layers of the memory."""
        return self.memory.divisible

    def initial_state(self, num_trials: int) -> State:
        """Return the memory's state, and zeros for the input before, [trial, d]."""
        state = self.memory.initial_state(num_trials)
        weight = next(self.memory.parameters())
        return {**state, _LAST: weight.new_zeros(num_trials, self.num_inputs)}

    def step(self, inputs: Tensor, state: State, moving: Tensor) -> tuple[Tensor, State]:
        """Return features after one step, and the memory, as before where not `moving`."""
        before, inner = _apart(state)
        features, inner = self.memory.step(torch.cat([inputs, before], dim=-1), inner, moving)
        return features, {**inner, _LAST: torch.where(moving[:, None], inputs, before)}

    def sequence(self, inputs: Tensor, state: State, resets: Tensor | None = None) -> tuple[Tensor, State]:
        """Return features of a sequence, and the memory after it."""
        before, inner = _apart(state)
        earlier = torch.cat([before[None], inputs[:-1]])
        if resets is not None:
            earlier = earlier * ~resets[..., None]
        features, inner = self.memory.sequence(torch.cat([inputs, earlier], dim=-1), inner, resets)
        return features, {**inner, _LAST: inputs[-1]}


def _apart(state: State) -> tuple[Tensor, State]:
    """Return the input before, and the state of the memory that sees it."""
    return state[_LAST], {name: value for name, value in state.items() if name != _LAST}
