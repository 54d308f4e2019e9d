"""GRU and LSTM as memories."""

from __future__ import annotations

import itertools
from typing import cast

import torch
from torch import Tensor, nn

from .contract import Memory, State
from .gru import gru_features, gru_step, weights_of

_FEW_TRIALS = 48
"""Number of trials up to which `gru_features` is faster than torch: 1.6 times at 16 trials, 1.2 times at 32."""


class Recurrent(Memory):
    """A GRU (Cho et al., 2014) or an LSTM (Hochreiter and Schmidhuber, 1997)."""

    names: tuple[str, ...]

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

    def exported_step(self, inputs: Tensor, state: State) -> tuple[Tensor, State]:
        """Return what `step` returns where all move, by operations that can be exported; nn.LSTM is none."""
        if isinstance(self.cells, nn.GRU):
            after = gru_step(self.cells, inputs, state["hidden"].transpose(0, 1))
            return after[-1], {"hidden": after.transpose(0, 1)}
        hidden, cells = [], []
        for layer in range(self.cells.num_layers):
            before = state["hidden"][:, layer], state["cell"][:, layer]
            inputs, cell = torch.lstm_cell(inputs, before, *weights_of(self.cells, layer))
            hidden.append(inputs)
            cells.append(cell)
        return inputs, {"hidden": torch.stack(hidden, dim=1), "cell": torch.stack(cells, dim=1)}

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
        """Return whether `gru_features` is faster: for a gradient through few trials, on a CPU."""
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
