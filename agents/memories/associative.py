"""An associative memory: it stores values under keys and recalls the mean of the values under a key."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from .contract import Divided, Layer, Layered, State
from .convolution import convolve, last_steps

_CHUNK = 64
"""Steps that are compared with each other; what came before them is read from the memory."""
_KEPT_FOR = (50.0, 1000.0)
"""Steps after which a head's memory has faded to a third at first; from the first head to the last."""


class Read(NamedTuple):
    """Queries, keys, values and gates of a layer for a sequence; [trial, head, time, ...]."""

    query: Tensor
    """Weights over the keys to recall from; they sum to one. [..., key]"""
    key: Tensor
    """Weights over the keys to write to, times the write gate. [..., key]"""
    value: Tensor
    """Value to write, followed by a one that counts it. [..., n + 1]"""
    log_kept: Tensor
    """Logarithm of the share of the memory that is kept. [...]"""
    weight: Tensor
    """Weight of one stored value against the prior, which weighs one. [...]"""
    out_gate: Tensor
    """Gate of the output. [trial, time, size]"""


Recall = Callable[[Read], Tensor]
"""Writing to a layer's memory and reading from it."""


def recall(read: Read, before: Tensor, resets: Tensor | None) -> tuple[Tensor, Tensor]:
    """Return what each query recalls, [trial, head, time, n + 1], and the memory after it, [trial, head, key, n + 1].

    M_t = kept_t M_{t-1} + key_t value_t^T, recalled_t = query_t M_t: within a chunk of steps as attention without a
    softmax, from one chunk to the next by the memory. `before` is the memory before; with `resets`, bool [trial, time],
    it is empty there.
    """
    sums, memory, time = [], before, read.query.shape[2]
    steps = torch.arange(_CHUNK, device=before.device)
    for start in range(0, time, _CHUNK):
        chunk = slice(start, min(start + _CHUNK, time))
        query, key, value = (part[:, :, chunk] for part in (read.query, read.key, read.value))
        faded = read.log_kept[:, :, chunk].cumsum(dim=2)
        length = faded.shape[2]
        visible = (steps[:length, None] >= steps[:length])[None, None]
        since, until = faded.exp(), (faded[..., -1:] - faded).exp()
        if resets is not None:
            trial = resets[:, None, chunk].cumsum(dim=2)
            visible = visible & (trial[..., :, None] == trial[..., None, :])
            since, until = since * (trial == 0), until * (trial == trial[..., -1:])
        fading = (faded[..., :, None] - faded[..., None, :]).masked_fill(~visible, -math.inf).exp()
        sums.append((query @ key.transpose(2, 3) * fading) @ value + (query * since[..., None]) @ memory)
        memory = since[..., -1, None, None] * memory + (key * until[..., None]).transpose(2, 3) @ value
    return torch.cat(sums, dim=2), memory


def shrunk_means(sums: Tensor, weight: Tensor) -> tuple[Tensor, Tensor]:
    """Return means [..., n] and weighed counts [...] of recalled `sums` [..., n + 1], whose last entry is a count.

    Of n things alike, each weighing w, it is w n / (1 + w n) of their mean: a posterior mean, whose prior weighs one.
    """
    weighed = sums * weight[..., None]
    count = weighed[..., -1]
    return weighed[..., :-1] / (1 + count)[..., None], count


class _Layer(Layer):
    """Recall from the memory and a gated MLP, each added to what comes in."""

    def __init__(self, size: int, num_heads: int, key_size: int, conv_width: int) -> None:
        super().__init__()
        self.size, self.num_heads, self.key_size = size, num_heads, key_size
        self.norm = nn.LayerNorm(size)
        self.taps = nn.Parameter(torch.empty(conv_width, size))
        # For each unit: value and gate of what goes out; for each head: query, key, and three gates.
        self.into = nn.Linear(size, 2 * size + num_heads * (2 * key_size + 3))
        self.out = nn.Linear(size + num_heads, size)
        self.mlp_norm = nn.LayerNorm(size)
        self.mlp_into = nn.Linear(size, 2 * size)
        self.mlp_out = nn.Linear(2 * size, size)

    def initialize(self, generator: torch.Generator) -> None:
        for linear, gain in ((self.into, 1.0), (self.out, 1.0), (self.mlp_into, math.sqrt(2)), (self.mlp_out, 1.0)):
            nn.init.orthogonal_(linear.weight, gain, generator=generator)
            nn.init.zeros_(linear.bias)
        nn.init.zeros_(self.taps)
        nn.init.ones_(self.taps[0])
        low, high = (math.log(steps) for steps in _KEPT_FOR)
        lost = torch.exp(-torch.linspace(low, high, self.num_heads, dtype=torch.float64))
        # softplus(bias) = lost
        self.into.bias.data[-self.num_heads :] = torch.log(torch.expm1(lost)).to(self.into.bias)

    @property
    def divided(self) -> Divided:
        """Heads, and units of the MLP."""
        size, heads = self.size, self.num_heads
        keys = heads * self.key_size
        rows = {"into": (size, size, keys, keys, heads, heads, heads), "mlp_into": (2 * size,)}
        return Divided(("size", "num_heads"), rows, {"out": (size, heads), "mlp_out": (2 * size,)})

    def forward(self, x: Tensor, recent: Tensor, resets: Tensor | None, recall: Recall) -> tuple[Tensor, Tensor]:
        """Return what the layer makes of x [trial, time, size], and the last steps for the convolution.

        `recent` [conv_width - 1, trial, size] precedes x; trials begin at `resets`, bool [time, trial]. `recall` is
        given what is read, and returns the sums that are recalled, [trial, head, time, n + 1].
        """
        normed = self.norm(x).transpose(0, 1)
        read = self.read(convolve(normed, self.taps, recent, resets).transpose(0, 1))
        mean, count = shrunk_means(recall(read), read.weight)
        recalled = mean.transpose(1, 2).flatten(2) * read.out_gate
        x = x + self.out(torch.cat([recalled, count.log1p().transpose(1, 2)], dim=-1))
        x = x + self.mlp_out(F.gelu(self.mlp_into(self.mlp_norm(x))))
        return x, last_steps(normed, recent, resets)

    def read(self, mixed: Tensor) -> Read:
        """Return what is read of `mixed` [trial, time, size]."""
        heads = self.num_heads
        value, out_gate, query, key, gates = self.into(mixed).split(
            [self.size, self.size, heads * self.key_size, heads * self.key_size, 3 * heads], dim=-1
        )
        query, key, value = (part.unflatten(-1, (heads, -1)).transpose(1, 2) for part in (query, key, value))
        weight, written, lost = gates.unflatten(-1, (3, heads)).permute(2, 0, 3, 1)
        return Read(
            query=query.softmax(dim=-1),
            key=key.softmax(dim=-1) * written.sigmoid()[..., None],
            value=torch.cat([value, torch.ones_like(value[..., :1])], dim=-1),
            log_kept=-F.softplus(lost),
            weight=math.sqrt(self.key_size) * F.softplus(weight),
            out_gate=F.gelu(out_gate),
        )


class Associative(Layered):
    """Gated linear attention with a normalizer: each head has a matrix from keys to the sum of the values stored there.

    Katharopoulos et al., Transformers are RNNs, 2020, equations 16-20, with softmax features (Zhang et al., Hedgehog,
    2024), a decay for each head (Dao and Gu, Transformers are SSMs, 2024) and a one in the denominator: of n alike
    things stored it recalls n / (n + c) of their mean, which is how a posterior mean shrinks. A short convolution
    before it ties what is seen to the step before. It costs the same each step, however long the trial.
    """

    def __init__(
        self, num_inputs: int, size: int, num_layers: int, num_heads: int, key_size: int, conv_width: int
    ) -> None:
        blocks = [_Layer(size, num_heads, key_size, conv_width) for _ in range(num_layers)]
        super().__init__(num_inputs, size, blocks)
        self.head_size, self.key_size, self.conv_width, self.blocks = size // num_heads, key_size, conv_width, blocks

    @property
    def divisible(self) -> Sequence[Layer]:
        """All layers."""
        return self.blocks

    def initial_state(self, num_trials: int) -> State:
        """Return zeros: `stored` [trial, layer, head, key, n + 1] and `recent` [trial, layer, conv_width - 1, size]."""
        zeros, shape = self.embed.weight.new_zeros, (num_trials, len(self.blocks))
        stored = zeros(*shape, self.blocks[0].num_heads, self.key_size, self.head_size + 1)
        return {"stored": stored, "recent": zeros(*shape, self.conv_width - 1, self.size)}

    def step(self, inputs: Tensor, state: State, moving: Tensor) -> tuple[Tensor, State]:
        """Return features after one step, and the memory, as before where not `moving`."""
        stored: list[Tensor] = []

        def at_once(before: Tensor, read: Read) -> Tensor:
            kept = read.log_kept.exp()[..., None] * before
            stored.append(kept.addcmul_(read.key.transpose(2, 3), read.value))
            return read.query @ stored[-1]

        x, recents = self.embed(inputs)[:, None], []
        for number, layer in enumerate(self.blocks):
            before = functools.partial(at_once, state["stored"][:, number])
            x, recent = layer(x, state["recent"][:, number].transpose(0, 1), None, before)
            recents.append(recent.transpose(0, 1))
        # This is most of what acting costs: it is not copied where there is one layer.
        together = stored[0][:, None] if len(stored) == 1 else torch.stack(stored, dim=1)
        after = {"stored": together, "recent": torch.stack(recents, dim=1)}
        if not moving.all():
            after = {
                name: torch.where(moving.reshape(-1, *(1,) * (value.dim() - 1)), value, state[name])
                for name, value in after.items()
            }
        return self.norm(x[:, 0]), after

    def sequence(self, inputs: Tensor, state: State, resets: Tensor | None = None) -> tuple[Tensor, State]:
        """Return features of a sequence, and the memory after it."""
        stored: list[Tensor] = []

        def in_chunks(before: Tensor, read: Read) -> Tensor:
            sums, memory = recall(read, before, None if resets is None else resets.T)
            stored.append(memory)
            return sums

        x, recents = self.embed(inputs.transpose(0, 1)), []
        for number, layer in enumerate(self.blocks):
            before = functools.partial(in_chunks, state["stored"][:, number])
            x, recent = layer(x, state["recent"][:, number].transpose(0, 1), resets, before)
            recents.append(recent.transpose(0, 1))
        return self.norm(x.transpose(0, 1)), {
            "stored": torch.stack(stored, dim=1),
            "recent": torch.stack(recents, dim=1),
        }
