"""What a memory-based agent remembers with: one contract, and the recurrent networks that keep it.

A memory has three functions: the state before anything happened, one step of it (acting), and a whole sequence at once
(learning). Both ways give the same numbers. A step holds still the memories of trials that wait, and a sequence begins
anew where it is told to.
"""

from __future__ import annotations

import itertools
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from typing import Literal, cast

import torch
from torch import Tensor, nn

from .gru import gru_features, gru_step

_FEW_TRIALS = 48
"""Up to so many trials `gru_features` is quicker than torch: 1.6 times at 16, 1.2 at 32; beyond, a core is busy either way."""

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


MemoryName = Literal["gru", "lstm", "transformer", "linear", "associative"]
"""The memories there are."""


def make_memory(
    name: MemoryName, num_inputs: int, size: int, num_layers: int, *, num_heads: int, key_size: int, conv_width: int
) -> Memory:
    """Return a memory of `num_layers` layers of `size` units, without weights of meaning yet: see `initialize`.

    `num_heads` is the Transformer's and the associative memory's, `key_size` the latter's, `conv_width` its and the linear recurrence's.
    """
    from .associative import Associative
    from .linear_recurrence import LinearRecurrence
    from .transformer import Transformer

    makers: dict[MemoryName, Callable[[], Memory]] = {
        "gru": lambda: Recurrent(nn.GRU(num_inputs, size, num_layers)),
        "lstm": lambda: Recurrent(nn.LSTM(num_inputs, size, num_layers)),
        "transformer": lambda: Transformer(num_inputs, size, num_layers, num_heads),
        "linear": lambda: LinearRecurrence(num_inputs, size, num_layers, conv_width),
        "associative": lambda: Associative(num_inputs, size, num_layers, num_heads, key_size, conv_width),
    }
    return makers[name]()


class Recurrent(Memory):
    """A GRU (Cho et al., 2014) or an LSTM (Hochreiter and Schmidhuber, 1997)."""

    def __init__(self, cells: nn.GRU | nn.LSTM) -> None:
        super().__init__()
        self.cells = cells
        self.size = cells.hidden_size
        self.names = ("hidden", "cell") if isinstance(cells, nn.LSTM) else ("hidden",)

    def initialize(self, generator: torch.Generator) -> None:
        """Draw an orthogonal block for each gate; biases are zero, but those of an LSTM's forget gates one."""
        gates = 4 if isinstance(self.cells, nn.LSTM) else 3
        for name, parameter in self.cells.named_parameters():
            if "weight" in name:
                for block in parameter.data.chunk(gates):
                    nn.init.orthogonal_(block, generator=generator)
            else:
                nn.init.zeros_(parameter)
                if gates == 4 and name.startswith("bias_ih"):
                    # Jozefowicz et al., 2015: or it forgets before it has learned what to keep.
                    parameter.data[self.size : 2 * self.size] = 1.0

    def initial_state(self, num_trials: int) -> State:
        """Return zeros, [trial, layer, size]."""
        like = next(self.cells.parameters())
        return {name: like.new_zeros(num_trials, self.cells.num_layers, self.size) for name in self.names}

    def step(self, inputs: Tensor, state: State, moving: Tensor) -> tuple[Tensor, State]:
        """Return features after one step, and the memory, as before where not `moving`."""
        following: State
        if isinstance(self.cells, nn.GRU):
            hidden = gru_step(self.cells, inputs, state["hidden"].transpose(0, 1))
            features, following = hidden[-1], {"hidden": hidden.transpose(0, 1)}
        else:
            sequence, following = self._run(inputs[None], state)
            features = sequence[0]
        if not moving.all():
            following = {name: torch.where(moving[:, None, None], following[name], state[name]) for name in state}
        return features, following

    def sequence(self, inputs: Tensor, state: State, resets: Tensor | None = None) -> tuple[Tensor, State]:
        """Return features of a sequence, and the memory after it."""
        if resets is None:
            return self._run(inputs, state)
        # From one reset of any trial to the next, the sequence runs unbroken.
        starts = [0, *(resets[1:].any(dim=1).nonzero().flatten() + 1).tolist(), len(inputs)]
        parts = []
        for start, end in itertools.pairwise(starts):
            kept = ~resets[start, :, None, None]
            part, state = self._run(inputs[start:end], {name: value * kept for name, value in state.items()})
            parts.append(part)
        return torch.cat(parts), state

    def _through_time(self, inputs: Tensor) -> bool:
        """Return whether a gradient is to be taken where `gru_features` is quicker: through few trials, on a CPU."""
        on_cpu = inputs.device.type == "cpu" and torch.is_grad_enabled()
        return on_cpu and isinstance(self.cells, nn.GRU) and inputs.shape[1] <= _FEW_TRIALS

    def _run(self, inputs: Tensor, state: State) -> tuple[Tensor, State]:
        # torch wants the layer first.
        before = tuple(state[name].transpose(0, 1).contiguous() for name in self.names)
        if self._through_time(inputs):
            features, hidden = gru_features(cast(nn.GRU, self.cells), inputs, before[0])
            return features, {"hidden": hidden.transpose(0, 1)}
        features, after = self.cells(inputs, before if len(before) == 2 else before[0])
        after = after if len(before) == 2 else (after,)
        return features, {name: value.transpose(0, 1) for name, value in zip(self.names, after, strict=True)}


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
