"""Sequences of tokens in observations, such as text: an embedding, convolutions or attention, and one mean over all.

Token 0 fills what a sequence is shorter than its part: no layer sees it, and it is no part of the mean. So features do
not depend on how much room a sequence leaves.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Literal

import numpy as np
import torch
from gymnasium import spaces
from pydantic import Field
from torch import Tensor
from torch.nn import functional as F

from metarl.base.settings import Count, Settings
from metarl.families.layout import Part
from metarl.families.spaces import Tokens

from .encoded import EncodedPart, Weights


class ConvolutionLayers(Settings):
    """Convolutions along the sequence, each with a relu: they see pieces of a few tokens (Kim, 2014)."""

    name: Literal["convolution"] = "convolution"
    """Convolutions along the sequence."""
    filters: tuple[Count, ...] = (64, 64)
    """Filters of each convolution."""
    kernel: Count = 3
    """Tokens that a filter spans."""


class AttentionLayers(Settings):
    """Blocks of self-attention with learned places: every token sees every other (Vaswani et al., 2017)."""

    name: Literal["attention"] = "attention"
    """Self-attention."""
    num_layers: Count = 2
    """Blocks, each of attention and of two layers behind it."""
    num_heads: Count = 4
    """Heads of each block; they share the numbers of the embedding."""


Layers = Annotated[ConvolutionLayers | AttentionLayers, Field(discriminator="name")]
"""Layers between the embedding of tokens and the mean; their name alone takes the defaults."""


@dataclass(frozen=True)
class TokenSequence(EncodedPart):
    """A part that is a sequence of tokens, and its layers."""

    vocabulary: int
    """Number of different tokens, with 0 for none."""
    embedding: int
    """Numbers that stand for a token."""
    settings: ConvolutionLayers | AttentionLayers

    @property
    def length(self) -> int:
        """Tokens of the longest sequence."""
        return self.part.size

    @property
    def layers(self) -> dict[str, Weights]:
        """Weights of the embedding, of the layers, and of the one behind the mean."""
        size, settings = self.embedding, self.settings
        # Of variance one: the numbers of an embedding are the inputs of the first layer.
        weights = {"embedding": Weights((self.vocabulary, size), 2, bias=False)}
        if isinstance(settings, ConvolutionLayers):
            for layer, filters in enumerate(settings.filters):
                weights[f"layer{layer}"] = Weights((filters, size, settings.kernel), size * settings.kernel)
                size = filters
        else:
            weights["places"] = Weights((self.length, size), 2, bias=False)
            for layer in range(settings.num_layers):
                weights[f"layer{layer}-heads"] = Weights((3 * size, size), 2 * size)
                weights[f"layer{layer}-joined"] = Weights((size, size), 2 * size)
                weights[f"layer{layer}-wide"] = Weights((4 * size, size), size)
                weights[f"layer{layer}-narrow"] = Weights((size, 4 * size), 4 * size)
        weights["features"] = Weights((self.num_features, 2 * size), 2 * size)
        return {f"tokens{self.number}-{name}": value for name, value in weights.items()}

    @property
    def num_activations(self) -> int:
        """Floats that a gradient through the layers of one sequence holds."""
        size, settings = self.embedding, self.settings
        if isinstance(settings, ConvolutionLayers):
            return self.length * (size + 2 * sum(settings.filters))
        return self.length * (size + settings.num_layers * (14 * size + 3 * settings.num_heads * self.length))

    def encode(self, parameters: Mapping[str, Tensor], values: Tensor) -> Tensor:
        """Return features of the sequence in each row of tokens."""
        named = _Named(parameters, f"tokens{self.number}-")
        tokens = values.long()
        mask = (tokens != 0).unsqueeze(-1)
        x = F.embedding(tokens, named.weight("embedding"))
        if isinstance(self.settings, ConvolutionLayers):
            x = _convolve(named, x * mask, mask, self.settings)
        else:
            x = _attend(named, x + named.weight("places"), mask, self.settings)
        # Of a sequence without a token, both are zero.
        mean = (x * mask).sum(-2) / mask.sum(-2).clamp(min=1)
        most = torch.where(mask, x, torch.finfo(x.dtype).min).amax(-2) * mask.any(-2)
        return F.relu(named.linear("features", torch.cat([mean, most], dim=-1)))

    @property
    def num_viewed(self) -> int:
        """Every token but 0."""
        return self.vocabulary - 1

    def view(self, values: np.ndarray) -> np.ndarray:
        """Return how often each token stands in the sequence, in shares of its longest length."""
        lead = values.shape[:-1]
        rows = values.reshape(-1, self.length).astype(np.int64)
        counts = np.zeros((len(rows), self.vocabulary), dtype=np.float32)
        np.add.at(counts, (np.arange(len(rows))[:, None], rows), 1.0)
        return (counts[:, 1:] / self.length).reshape(*lead, self.num_viewed)


class _Named:
    """The parameters of one part."""

    def __init__(self, parameters: Mapping[str, Tensor], prefix: str) -> None:
        self.parameters, self.prefix = parameters, prefix

    def weight(self, layer: str) -> Tensor:
        return self.parameters[f"{self.prefix}{layer}-weight"]

    def bias(self, layer: str) -> Tensor:
        return self.parameters[f"{self.prefix}{layer}-bias"]

    def linear(self, layer: str, x: Tensor) -> Tensor:
        return F.linear(x, self.weight(layer), self.bias(layer))


def _convolve(named: _Named, x: Tensor, mask: Tensor, settings: ConvolutionLayers) -> Tensor:
    """Return `x` [n, length, embedding], zero where there is no token, behind convolutions, [n, length, filters]."""
    for layer in range(len(settings.filters)):
        weight, bias = named.weight(f"layer{layer}"), named.bias(f"layer{layer}")
        room = F.pad(x.transpose(-1, -2), ((settings.kernel - 1) // 2, settings.kernel // 2))
        x = F.relu(F.conv1d(room, weight, bias)).transpose(-1, -2) * mask
    return x


def _attend(named: _Named, x: Tensor, mask: Tensor, settings: AttentionLayers) -> Tensor:
    """Return `x` [n, length, embedding] behind blocks of attention to the tokens that `mask` [n, length, 1] marks."""
    size, heads = x.shape[-1], settings.num_heads
    # Finite, so that a sequence without a token has no NaN.
    unseen = (~mask).transpose(-1, -2).unsqueeze(-3) * -1e9
    for layer in range(settings.num_layers):
        joint = named.linear(f"layer{layer}-heads", F.layer_norm(x, (size,)))
        query, key, value = (
            part.reshape(*part.shape[:-1], heads, size // heads).transpose(-2, -3) for part in joint.chunk(3, dim=-1)
        )
        # Written out: the fused kernels have no second derivative, which meta-gradients need.
        scores = query @ key.transpose(-1, -2) * (size // heads) ** -0.5 + unseen
        attended = (scores.softmax(-1) @ value).transpose(-2, -3).flatten(-2)
        x = x + named.linear(f"layer{layer}-joined", attended)
        wide = F.relu(named.linear(f"layer{layer}-wide", F.layer_norm(x, (size,))))
        x = x + named.linear(f"layer{layer}-narrow", wide)
    return F.layer_norm(x, (size,))


def is_sequence(space: spaces.Space[Any], whatever: bool) -> bool:
    """Return whether a part is a sequence of tokens; with `whatever`, so is a row of numbers of one range from 0."""
    if isinstance(space, Tokens) or not whatever:
        return isinstance(space, Tokens)
    if not isinstance(space, spaces.MultiDiscrete) or len(space.shape) != 1:
        return False
    return bool((space.start == 0).all() and (space.nvec == space.nvec[0]).all() and space.nvec[0] > 1)


def plan_sequence(
    part: Part, number: int, embedding: int, settings: ConvolutionLayers | AttentionLayers, num_features: int
) -> TokenSequence:
    """Return the layers of a part that `is_sequence`."""
    assert isinstance(part.space, spaces.MultiDiscrete)
    return TokenSequence(part, number, num_features, int(part.space.nvec[0]), embedding, settings)
