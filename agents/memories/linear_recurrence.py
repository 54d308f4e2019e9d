"""A memory that is linear in its state, so that a whole sequence is one parallel scan and loops over no time axis."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from .contract import Divided, Layer, Layered, State, own_part
from .convolution import convolve, last_steps

_SHARPNESS = 8.0
"""c of Griffin's equation 4: how far a gate can shorten a unit's memory."""
_MEMORY = (0.9, 0.999)
"""What share of itself a unit keeps from step to step at first, its gate half open; uniform over units."""

Recur = Callable[[Tensor, Tensor], Tensor]
"""The recurrence of a layer: from decays and terms to states."""


def linear_scan(decays: Tensor, terms: Tensor) -> Tensor:
    """Return y with y_t = decays_t y_{t-1} + terms_t and y_{-1} = 0, all [time, ...].

    The gradient is the same recurrence backwards in time. Work grows as time, depth as its logarithm.
    """
    return _Scan.apply(decays, terms)  # type: ignore[no-untyped-call]


class _Scan(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, decays: Tensor, terms: Tensor) -> Tensor:
        sums = _scan_steps(decays, terms)
        ctx.save_for_backward(decays, sums)
        return sums

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, Tensor]:
        decays, sums = ctx.saved_tensors
        # dL/dy_t = gradient_t + decays_{t+1} dL/dy_{t+1}
        later = torch.cat([decays[1:], torch.zeros_like(decays[:1])])
        of_terms = _scan_steps(later.flip(0), gradient.flip(0)).flip(0)
        before = torch.cat([torch.zeros_like(sums[:1]), sums[:-1]])
        return of_terms * before, of_terms


def _scan_steps(decays: Tensor, terms: Tensor) -> Tensor:
    """Return the recurrence by odd-even reduction (Blelloch, 1990): pairs of steps are half as long a problem."""
    if len(terms) == 1:
        return terms
    num_pairs = len(terms) // 2
    first, second = slice(0, 2 * num_pairs, 2), slice(1, 2 * num_pairs, 2)
    sums = torch.empty_like(terms)
    sums[second] = _scan_steps(
        decays[second] * decays[first], torch.addcmul(terms[second], decays[second], terms[first])
    )
    sums[0] = terms[0]
    if len(terms) > 2:
        torch.addcmul(terms[2::2], decays[2::2], sums[1:-1:2], out=sums[2::2])
    return sums


class _Layer(Layer):
    """Griffin's recurrent block and its gated MLP, each added to what comes in."""

    def __init__(self, size: int, conv_width: int) -> None:
        super().__init__()
        self.size, self.conv_width = size, conv_width
        self.norm = nn.LayerNorm(size)
        # A causal convolution of each unit by itself: by the step now, the one before it, and so on.
        self.taps = nn.Parameter(torch.empty(conv_width, size)) if conv_width > 1 else None
        # For each unit: what comes in, its gate, how much is forgotten, and the gate of what goes out.
        self.into = nn.Linear(size, 4 * size)
        self.rate = nn.Parameter(torch.empty(size))
        self.out = nn.Linear(size, size)
        self.mlp_norm = nn.LayerNorm(size)
        self.mlp_into = nn.Linear(size, 2 * size)
        self.mlp_out = nn.Linear(2 * size, size)

    def initialize(self, generator: torch.Generator) -> None:
        for linear, gain in ((self.into, 1.0), (self.out, 1.0), (self.mlp_into, math.sqrt(2)), (self.mlp_out, 1.0)):
            nn.init.orthogonal_(linear.weight, gain, generator=generator)
            nn.init.zeros_(linear.bias)
        low, high = _MEMORY
        # At first the step now, as it is.
        if self.taps is not None:
            nn.init.zeros_(self.taps)
            nn.init.ones_(self.taps[0])
        kept = low + (high - low) * torch.rand(self.size, generator=generator, dtype=torch.float64)
        # The gate is half open at first: log kept = -c softplus(rate) / 2.
        self.rate.data.copy_(torch.log(torch.expm1(-2 * kept.log() / _SHARPNESS)))

    @property
    def divided(self) -> Divided:
        """Units of the recurrence and of the MLP."""
        size = self.size
        rows = {"into": (size,) * 4, "rate": (size,), "mlp_into": (2 * size,)}
        return Divided(("size",), rows, {"out": (size,), "mlp_out": (2 * size,)})

    def forward(self, x: Tensor, recent: Tensor, resets: Tensor | None, recur: Recur) -> tuple[Tensor, Tensor]:
        """Return what the layer makes of x [time, trial, size], and the last steps for the convolution.

        `recent` [conv_width - 1, trial, size] precedes x. `recur` is given decays and terms of the recurrence, and
        returns its states, all [time, trial, size].
        """
        normed = self.norm(x)
        mixed = normed if self.taps is None else convolve(normed, self.taps, recent, resets)
        decays, terms, out_gate = self.recurrence(mixed)
        x = x + self.out(recur(decays, terms) * out_gate)
        x = x + self.mlp_out(F.gelu(self.mlp_into(self.mlp_norm(x))))
        return x, last_steps(normed, recent, resets)

    def recurrence(self, mixed: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return decays and terms of the state's recurrence and the gate of what it puts out, each [..., size]."""
        value, gate, forget, out_gate = self.into(mixed).chunk(4, dim=-1)
        log_decay = -_SHARPNESS * F.softplus(own_part(self.rate)) * forget.sigmoid()
        # So scaled, a state of independent inputs has their variance, however long it remembers.
        # A unit that forgets nothing at all would have an infinite slope.
        scale = (-torch.expm1(2 * log_decay)).clamp(min=1e-12).sqrt()
        return log_decay.exp(), scale * gate.sigmoid() * value, F.gelu(out_gate)


class LinearRecurrence(Layered):
    """The real-gated linear recurrent unit, RG-LRU: h_t = a_t h_{t-1} + sqrt(1 - a_t^2) (i_t x_t), gates of x_t alone.

    De et al., Griffin: Mixing Gated Linear Recurrences with Local Attention, 2024, equations 1-4, in its residual
    blocks. What a unit takes in is chosen by the input alone, so one layer cannot tie what it sees to what it saw a
    step before, such as a reward to the state it was paid in: for this there is the convolution over the last
    `conv_width` steps; 1 is without.
    """

    def __init__(self, num_inputs: int, size: int, num_layers: int, conv_width: int) -> None:
        blocks = [_Layer(size, conv_width) for _ in range(num_layers)]
        super().__init__(num_inputs, size, blocks)
        self.conv_width, self.blocks = conv_width, blocks

    @property
    def divisible(self) -> Sequence[Layer]:
        """All layers."""
        return self.blocks

    def initial_state(self, num_trials: int) -> State:
        """Return zeros: `memory` [trial, layer, size] and `recent` [trial, layer, conv_width - 1, size]."""
        zeros = self.embed.weight.new_zeros
        shape = (num_trials, len(self.blocks))
        return {"memory": zeros(*shape, self.blocks[0].size), "recent": zeros(*shape, self.conv_width - 1, self.size)}

    def step(self, inputs: Tensor, state: State, moving: Tensor) -> tuple[Tensor, State]:
        """Return features after one step, and the memory, as before where not `moving`."""
        memories: list[Tensor] = []

        def recur(before: Tensor, decays: Tensor, terms: Tensor) -> Tensor:
            memories.append(torch.addcmul(terms[0], decays[0], before))
            return memories[-1][None]

        x, recents = self.embed(inputs)[None], []
        for number, layer in enumerate(self.blocks):
            before = functools.partial(recur, state["memory"][:, number])
            x, recent = layer(x, state["recent"][:, number].transpose(0, 1), None, before)
            recents.append(recent.transpose(0, 1))
        after = {"memory": torch.stack(memories, dim=1), "recent": torch.stack(recents, dim=1)}
        moved = {
            name: torch.where(moving.reshape(-1, *(1,) * (value.dim() - 1)), value, state[name])
            for name, value in after.items()
        }
        return self.norm(x[0]), moved

    def sequence(self, inputs: Tensor, state: State, resets: Tensor | None = None) -> tuple[Tensor, State]:
        """Return features of a sequence, and the memory after it."""
        memories: list[Tensor] = []

        def recur(before: Tensor, decays: Tensor, terms: Tensor) -> Tensor:
            if resets is not None:
                decays = decays * ~resets[..., None]
            terms[0] += decays[0] * before
            memory = linear_scan(decays, terms)
            memories.append(memory[-1])
            return memory

        x, recents = self.embed(inputs), []
        for number, layer in enumerate(self.blocks):
            before = functools.partial(recur, state["memory"][:, number])
            x, recent = layer(x, state["recent"][:, number].transpose(0, 1), resets, before)
            recents.append(recent.transpose(0, 1))
        return self.norm(x), {"memory": torch.stack(memories, dim=1), "recent": torch.stack(recents, dim=1)}
