"""Blocks of attention over sequences as functions of parameters, each behind a norm (pre-LN: Xiong et al., 2020).

Arrays are [..., question, place, width]. Every linear layer and every softmax sees one question at a time, but for
attention to what all questions of a task share. So parameters may differ by task, in one vmapped call, and no answer
depends on another question. Attention is written out: the fused kernels have no second derivative, which meta-gradients
need.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from ..common.policy import Parameters

HIDDEN = -1e9
"""Score of a place that is not to be seen: its weight is exactly zero. Finite, so that no row is NaN."""

Cache = dict[str, Tensor]
"""Keys and values of the places decoded so far, by layer, each [..., question, head, place, n]."""


class Sequence(NamedTuple):
    """What a block attends to, taken apart into keys and values."""

    keys: Tensor
    """[..., question, head, place, n]; without the axis of questions where all questions share the sequence."""
    values: Tensor
    """The same shape."""
    seen: Tensor
    """Places that there are, bool [..., question, place]; without the axis of questions where they share it."""


@dataclass(frozen=True)
class Sizes:
    """Sizes of a stack of blocks."""

    width: int
    """Numbers at each place."""
    num_heads: int
    """Heads of each attention; they share the width."""
    feedforward: int
    """Units of the layer behind each attention."""


class Stack:
    """Blocks of self-attention, of attention to other sequences by name, and of two layers with a relu between them.

    A sequence in `shared` is the same for all questions of a task.
    """

    def __init__(
        self, name: str, sizes: Sizes, depth: int, reads: tuple[str, ...] = (), shared: tuple[str, ...] = ()
    ) -> None:
        self.name, self.sizes, self.depth, self.reads, self.shared = name, sizes, depth, reads, shared

    def block(self, number: int) -> str:
        """Return the beginning of the names of a block's parameters, which also names its place in a cache."""
        return f"{self.name}.{number}"

    def block_names(self, number: int) -> tuple[str, ...]:
        """Return the names of a block's parameters."""
        block = self.block(number)
        parts = ["norm", "self-into", "self-out", "wide-norm", "wide", "narrow"]
        parts += [f"{read}-{part}" for read in self.reads for part in ("norm", "query", "keys", "values", "out")]
        return tuple(f"{block}.{part}.{kind}" for part in parts for kind in ("weight", "bias"))

    def initial_parameters(self, generator: torch.Generator) -> dict[str, Tensor]:
        """Return fresh parameters in float64: Glorot-uniform weights, zero biases, norms of scale one."""
        width, wide, parameters = self.sizes.width, self.sizes.feedforward, dict[str, Tensor]()
        for number in range(self.depth):
            block = self.block(number)
            parameters |= norm_parameters(f"{block}.norm", width)
            # Queries, keys and values are layers of their own in one array.
            parts = [glorot(width, width, generator) for _ in range(3)]
            parameters |= with_bias(f"{block}.self-into", torch.cat(parts))
            parameters |= with_bias(f"{block}.self-out", glorot(width, width, generator))
            for read in self.reads:
                parameters |= norm_parameters(f"{block}.{read}-norm", width)
                for part in ("query", "keys", "values", "out"):
                    parameters |= with_bias(f"{block}.{read}-{part}", glorot(width, width, generator))
            parameters |= norm_parameters(f"{block}.wide-norm", width)
            parameters |= with_bias(f"{block}.wide", glorot(wide, width, generator))
            parameters |= with_bias(f"{block}.narrow", glorot(width, wide, generator))
        return parameters | norm_parameters(f"{self.name}.norm", width)

    def remember(self, parameters: Parameters, read: str, keys: Tensor, values: Tensor, seen: Tensor) -> list[Sequence]:
        """Return, for each block, a sequence [..., place, width] as it is read; values may differ from keys."""
        found = []
        for number in range(self.depth):
            name = f"{self.block(number)}.{read}"
            key, value = linear(parameters, f"{name}-keys", keys), linear(parameters, f"{name}-values", values)
            found.append(Sequence(self._heads(key), self._heads(value), seen))
        return found

    def __call__(
        self,
        parameters: Parameters,
        x: Tensor,
        hidden: Tensor | None,
        read: Mapping[str, list[Sequence]] | None = None,
        cache: Cache | None = None,
    ) -> Tensor:
        """Return `x` [..., question, place, width] behind the blocks and a norm.

        `hidden` are scores that keep places from each other, [..., place, place]; None hides nothing. `read` has the
        sequences of `remember` by name. With a `cache`, `x` is the next place alone; its keys and values are added.
        """
        for number in range(self.depth):
            block = self.block(number)
            x = x + self._attend_self(parameters, block, norm(parameters, f"{block}.norm", x), hidden, cache)
            for name in self.reads:
                assert read is not None
                x = x + self._read(parameters, f"{block}.{name}", x, read[name][number], name in self.shared)
            wide = F.relu(linear(parameters, f"{block}.wide", norm(parameters, f"{block}.wide-norm", x)))
            x = x + linear(parameters, f"{block}.narrow", wide)
        return norm(parameters, f"{self.name}.norm", x)

    def _attend_self(
        self, parameters: Parameters, block: str, x: Tensor, hidden: Tensor | None, cache: Cache | None
    ) -> Tensor:
        joint = linear(parameters, f"{block}.self-into", x)
        query, key, value = (self._heads(part) for part in joint.chunk(3, dim=-1))
        if cache is not None:
            names = f"{block}.keys", f"{block}.values"
            key, value = (
                torch.cat([cache[name], new], dim=-2) if name in cache else new
                for name, new in zip(names, (key, value), strict=True)
            )
            cache |= dict(zip(names, (key, value), strict=True))
        return linear(parameters, f"{block}.self-out", attend(query, key, value, hidden))

    def _read(self, parameters: Parameters, name: str, x: Tensor, read: Sequence, shared: bool) -> Tensor:
        """Return what a sequence tells, [..., question, place, width]."""
        asked = norm(parameters, f"{name}-norm", x)
        if shared:  # places of all questions in one row: nothing is repeated for each of them
            asked = asked.flatten(-3, -2)
        query = self._heads(linear(parameters, f"{name}-query", asked))
        hidden = hide(read.seen)[..., None, None, :]
        told = linear(parameters, f"{name}-out", attend(query, read.keys, read.values, hidden))
        return told.unflatten(-2, x.shape[-3:-1]) if shared else told

    def _heads(self, x: Tensor) -> Tensor:
        """Return [..., place, width] as [..., head, place, n]."""
        return x.unflatten(-1, (self.sizes.num_heads, -1)).transpose(-3, -2)


def attend(query: Tensor, key: Tensor, value: Tensor, hidden: Tensor | None) -> Tensor:
    """Return the mean of values by softmax(query key / sqrt(n) + hidden), heads joined, [..., place, width].

    Equation 1 of Vaswani et al. (2017); queries, keys and values are [..., head, place, n].
    """
    scores = query @ key.transpose(-1, -2) * query.shape[-1] ** -0.5
    weights = (scores if hidden is None else scores + hidden).softmax(-1)
    return (weights @ value).transpose(-3, -2).flatten(-2)


def hide(seen: Tensor) -> Tensor:
    """Return the score of each place: zero where it is seen."""
    return ~seen * HIDDEN


def hide_later(length: int, device: torch.device) -> Tensor:
    """Return scores by which each place sees itself and those before it, [place, place]."""
    return hide(torch.ones(length, length, dtype=torch.bool, device=device).tril())


def linear(parameters: Parameters, name: str, x: Tensor) -> Tensor:
    """Return a fully connected layer of `x`."""
    return F.linear(x, parameters[f"{name}.weight"], parameters[f"{name}.bias"])


def norm(parameters: Parameters, name: str, x: Tensor) -> Tensor:
    """Return `x` with mean zero and deviation one at each place, scaled and shifted."""
    return F.layer_norm(x, x.shape[-1:], parameters[f"{name}.weight"], parameters[f"{name}.bias"])


def glorot(fan_out: int, fan_in: int, generator: torch.Generator) -> Tensor:
    """Return uniform weights [fan_out, fan_in] of Glorot and Bengio's scale (2010), in float64."""
    drawn = torch.rand(fan_out, fan_in, generator=generator, dtype=torch.float64)
    return (2 * drawn - 1) * math.sqrt(6 / (fan_in + fan_out))


def with_bias(name: str, weight: Tensor) -> dict[str, Tensor]:
    """Return the parameters of a fully connected layer whose bias begins at zero."""
    return {f"{name}.weight": weight, f"{name}.bias": torch.zeros(len(weight), dtype=torch.float64)}


def norm_parameters(name: str, width: int) -> dict[str, Tensor]:
    """Return the parameters of a norm."""
    return {
        f"{name}.weight": torch.ones(width, dtype=torch.float64),
        f"{name}.bias": torch.zeros(width, dtype=torch.float64),
    }
