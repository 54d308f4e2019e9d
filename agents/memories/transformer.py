"""A causal Transformer as a memory: it keeps the keys and values of every step of the trial."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from .contract import Divided, Layer, Memory, State

_GROWTH = 64
"""Steps that an empty cache has room for; a full one doubles."""

Attend = Callable[[Tensor, Tensor, Tensor], Tensor]
"""Attention: from queries, keys and values to what was attended to."""


class _Layer(Layer):
    """Attention and an MLP, each behind a norm and added to what comes in (pre-LN: Xiong et al., 2020)."""

    def __init__(self, size: int, num_heads: int) -> None:
        super().__init__()
        self.size, self.num_heads = size, num_heads
        self.norm = nn.LayerNorm(size)
        self.into = nn.Linear(size, 3 * size)
        self.out = nn.Linear(size, size)
        self.mlp_norm = nn.LayerNorm(size)
        self.mlp_into = nn.Linear(size, 4 * size)
        self.mlp_out = nn.Linear(4 * size, size)

    def initialize(self, generator: torch.Generator) -> None:
        """Draw normal weights of deviation 1/sqrt(inputs); branches end in zeros, biases are zero."""
        _initialize(self, generator)

    @property
    def divided(self) -> Divided:
        """Heads, and units of the MLP."""
        size = self.size
        rows = {"into": (size, size, size), "mlp_into": (4 * size,)}
        return Divided(("num_heads",), rows, {"out": (size,), "mlp_out": (4 * size,)})

    def forward(self, x: Tensor, positions: Tensor, attend: Attend) -> Tensor:
        """Return what the layer makes of x [trial, time, size], whose steps stand at `positions` [trial, time].

        `attend` is given queries, keys and values, and returns what was attended to, all [trial, head, time, n].
        """
        parts = self.into(self.norm(x)).unflatten(-1, (3, self.num_heads, -1)).permute(2, 0, 3, 1, 4)
        query, key, value = parts
        attended = attend(_rotate(query, positions), _rotate(key, positions), value)
        x = x + self.out(attended.transpose(1, 2).flatten(2))
        return x + self.mlp_out(F.gelu(self.mlp_into(self.mlp_norm(x))))


def _initialize(module: nn.Module, generator: torch.Generator) -> None:
    for name, parameter in module.named_parameters():
        if parameter.dim() == 2:
            nn.init.normal_(parameter, std=parameter.shape[1] ** -0.5, generator=generator)
        if name.endswith(("bias", "out.weight")):
            nn.init.zeros_(parameter)


def _rotate(x: Tensor, positions: Tensor) -> Tensor:
    """Return x [trial, head, time, n] with pairs of features turned in proportion to `positions` [trial, time].

    Rotary embedding (Su et al., RoFormer, 2021): products of queries and keys then depend on the steps between them
    alone.
    """
    half = x.shape[-1] // 2
    frequencies = 10_000.0 ** (-torch.arange(half, dtype=x.dtype, device=x.device) / half)
    angles = positions[:, None, :, None].to(x.dtype) * frequencies
    cos, sin = angles.cos(), angles.sin()
    a, b = x[..., :half], x[..., half:]
    return torch.cat([a * cos - b * sin, a * sin + b * cos], dim=-1)


class Transformer(Memory):
    """A causal Transformer over the trial, with rotary positions and a cache of keys and values for acting.

    Residual branches begin at zero, so that the first policy is one of the present step alone, as Parisotto et al.
    (Stabilizing Transformers for RL, 2019) found needed.
    """

    def __init__(self, num_inputs: int, size: int, num_layers: int, num_heads: int) -> None:
        super().__init__()
        self.size, self.head_size = size, size // num_heads
        self.embed = nn.Linear(num_inputs, size)
        self.blocks = [_Layer(size, num_heads) for _ in range(num_layers)]
        self.layers = nn.ModuleList(self.blocks)
        self.norm = nn.LayerNorm(size)

    def initialize(self, generator: torch.Generator) -> None:
        """Draw normal weights of deviation 1/sqrt(inputs); branches end in zeros, biases are zero."""
        for module in (self.embed, *self.blocks):
            _initialize(module, generator)

    @property
    def divisible(self) -> Sequence[Layer]:
        """All layers."""
        return self.blocks

    def initial_state(self, num_trials: int) -> State:
        """Return an empty cache: keys and values [trial, layer, head, step, n], and each trial's number of steps."""
        weight = self.embed.weight
        shape = (num_trials, len(self.blocks), self.blocks[0].num_heads, 0, self.head_size)
        length = torch.zeros(num_trials, dtype=torch.int64, device=weight.device)
        return {"keys": weight.new_zeros(shape), "values": weight.new_zeros(shape), "length": length}

    def step(self, inputs: Tensor, state: State, moving: Tensor) -> tuple[Tensor, State]:
        """Return features after one step, and the memory, as before where not `moving`.

        The step is written into the cache behind what the state given holds of it: that state stays valid, but two
        futures of one state would overwrite each other.
        """
        length = state["length"]
        longest = int(length.max()) + 1
        keys, values = (_with_room(state[name], longest) for name in ("keys", "values"))
        rows = torch.arange(len(inputs), device=inputs.device)
        visible = torch.arange(longest, device=inputs.device) <= length[:, None]

        def attend(number: int, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
            # Of a trial that waits this is no step: the next one is written in the same place.
            keys[rows, number, :, length], values[rows, number, :, length] = key[:, :, 0], value[:, :, 0]
            return F.scaled_dot_product_attention(
                query,
                keys[:, number, :, :longest],
                values[:, number, :, :longest],
                attn_mask=visible[:, None, None],
            )

        x = self.embed(inputs)[:, None]
        for number, layer in enumerate(self.blocks):
            x = layer(x, length[:, None], functools.partial(attend, number))
        return self.norm(x[:, 0]), {"keys": keys, "values": values, "length": length + moving}

    def sequence(self, inputs: Tensor, state: State, resets: Tensor | None = None) -> tuple[Tensor, State]:
        """Return features of a sequence, and the memory after it."""
        span = _Span(inputs, state["length"], resets)
        keys: list[Tensor] = []
        values: list[Tensor] = []

        def attend(number: int, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
            keys.append(torch.cat([state["keys"][:, number, :, : span.before], key], dim=2))
            values.append(torch.cat([state["values"][:, number, :, : span.before], value], dim=2))
            return F.scaled_dot_product_attention(
                query, keys[-1], values[-1], attn_mask=span.visible, is_causal=span.visible is None
            )

        x = self.embed(inputs.transpose(0, 1))
        for number, layer in enumerate(self.blocks):
            x = layer(x, span.positions, functools.partial(attend, number))
        caches = {
            "keys": span.remembered(torch.stack(keys, dim=1)),
            "values": span.remembered(torch.stack(values, dim=1)),
        }
        return self.norm(x.transpose(0, 1)), {**caches, "length": span.length}


def _with_room(cache: Tensor, steps: int) -> Tensor:
    """Return a cache that holds `steps` steps: doubled where it does not, so that on average a step copies little."""
    room = cache.shape[3]
    if steps <= room:
        return cache
    new = max(_GROWTH, 2 * room, steps)
    return torch.cat([cache, cache.new_zeros(*cache.shape[:3], new - room, cache.shape[4])], dim=3)


class _Span:
    """Attention mask of a sequence: which of its steps, and of the steps remembered before it, see each other."""

    def __init__(self, inputs: Tensor, length: Tensor, resets: Tensor | None) -> None:
        time, num_trials = inputs.shape[:2]
        self.visible: Tensor | None = None
        """Which of the steps [before + time] each sees, bool [trial, 1, time, before + time]; None: those until it."""
        self.valid: Tensor | None = None
        """Which of the steps are remembered after the sequence, bool [trial, before + time]; None: all."""
        self.before = int(length.max())
        """Steps of the longest memory from before."""
        if self.before == 0 and resets is None:
            steps = torch.arange(time, device=inputs.device)
            self.positions = steps.expand(num_trials, time)
            """Steps of the trial before each step. int64 [trial, time]"""
        else:
            self._mix_trials(length, torch.zeros_like(inputs[..., 0], dtype=torch.bool) if resets is None else resets)
        self.length = torch.full_like(length, time) if self.valid is None else self.valid.sum(dim=1)
        """Steps of each trial that are remembered after the sequence. int64 [trial]"""

    def _mix_trials(self, length: Tensor, resets: Tensor) -> None:
        steps = torch.arange(len(resets), device=resets.device)
        trial = resets.T.cumsum(dim=1)
        begun = torch.where(resets.T, steps, -1).cummax(dim=1).values
        self.positions = torch.where(begun < 0, length[:, None] + steps, steps - begun)
        within = (trial[:, :, None] == trial[:, None, :]) & (steps[:, None] >= steps)
        remembered = torch.arange(self.before, device=resets.device) < length[:, None]
        self.visible = torch.cat([remembered[:, None] & (trial == 0)[:, :, None], within], dim=2)[:, None]
        self.valid = self.visible[:, 0, -1]

    def remembered(self, cache: Tensor) -> Tensor:
        """Return of a cache [trial, layer, head, before + time, n] what is remembered after the sequence, in order."""
        if self.valid is None:
            return cache
        order = torch.argsort(~self.valid, dim=1, stable=True)[:, : int(self.length.max())]
        return cache.gather(3, order[:, None, None, :, None].expand(*cache.shape[:3], -1, cache.shape[4]))
