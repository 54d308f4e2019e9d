"""Encoders: from an observation of any space to the numbers that a network reads.

An observation is taken apart by its layout. Vectors stay numbers, discrete parts become one-hot vectors, images go
through convolutions (images.py), and sequences of tokens through an embedding (tokens.py).

An agent calls `observe` with arrays of NumPy, makes tensors of the result, and calls the encoder with its parameters
and both tensors.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal, NamedTuple, Self

import numpy as np
import torch
from gymnasium import spaces
from pydantic import Field, model_validator
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from metarl.base.errors import MetarlError
from metarl.base.settings import Count, Settings
from metarl.families.layout import Layout, Part, layout_of
from metarl.families.spaces import limits

from .encoded import EncodedPart
from .images import CellImage, Image, is_image, plan_blocks, plan_cells, plan_image
from .moments import RunningMoments
from .tokens import AttentionLayers, ConvolutionLayers, Layers, TokenSequence, is_sequence, plan_sequence

CHUNK_FLOATS = 2**24
"""Activations that the layers of one chunk of observations may hold at a time."""
HELD_FLOATS = 2**27
"""Activations that a gradient holds of all chunks; with more, it computes each chunk again, which takes a third more
time."""


class _Sequences(Settings):
    """Settings of every encoder with layers: those of sequences."""

    name: str
    embedding: Count = 32
    """Numbers that stand for a token of a sequence."""
    layers: Layers = ConvolutionLayers()
    """Layers between the tokens of a sequence: convolution or attention, by their name or with their settings."""
    token_features: Count = 128
    """Numbers that stand for a sequence in the network behind the encoder."""

    @model_validator(mode="after")
    def _fit_together(self) -> Self:
        if isinstance(self.layers, AttentionLayers) and self.embedding % self.layers.num_heads:
            raise ValueError(
                f"embedding is {self.embedding}, which {self.layers.num_heads} heads cannot share; take a multiple of "
                "layers.num_heads"
            )
        return self


class _Layered(_Sequences):
    """The same, and convolutions that fit an image."""

    channels: tuple[Count, ...] = (16, 32, 32)
    """Filters of each convolution of an image."""
    image_features: Count = 128
    """Numbers that stand for an image in the network behind the encoder."""


class AutoEncoder(_Layered):
    """Layers for images and for tokens, one-hot vectors for discrete parts, numbers for everything else.

    An image is an array of bytes of rank 2 or 3, or an array of floats from 0 to 1 of rank 3. A sequence of tokens is a
    space of kind `Tokens`.
    """

    name: Literal["auto"] = "auto"
    """Chosen for each part."""


class PixelsEncoder(_Layered):
    """Like auto, but every bounded box of rank 2 or 3 is an image, whatever its type and its bounds."""

    name: Literal["pixels"] = "pixels"
    """Convolutions for every box of rank 2 or 3."""


class TokensEncoder(_Layered):
    """Like auto, but every MultiDiscrete of rank 1 whose numbers have one range from 0 is a sequence of tokens."""

    name: Literal["tokens"] = "tokens"
    """An embedding for every row of numbers of one range, where 0 stands for no token."""


class BlocksEncoder(_Sequences):
    """Like auto, but an image goes through blocks: a convolution of 3 by 3, a relu and a halving.

    Four blocks of 64 filters are the network of Matching Networks (Vinyals et al., 2016), MAML and Prototypical
    Networks. They have no batch normalization, whose statistics would leak what else is asked.
    """

    name: Literal["blocks"] = "blocks"
    """Blocks for every image."""
    channels: Annotated[tuple[Count, ...], Field(min_length=1)] = (64, 64, 64, 64)
    """Filters of each block."""
    halving: Literal["stride", "pool"] = "stride"
    """How a block halves the image: by the stride of its convolution, as MAML does for Omniglot, or by the maximum of
    2 by 2 pixels, which takes about four times as long."""
    norm: Literal["none", "group"] = "none"
    """Normalization behind each convolution: none, or of each image by itself over all filters (Wu and He, 2018)."""
    residual: bool = False
    """Whether a convolution of 1 by 1 leads around each block."""


class CellsEncoder(Settings):
    """A map of cells of the one image that observations are, for agents that look for boxes in it.

    Convolutions of 3 by 3 with a relu behind each. A cell is as many pixels wide as the product of the strides.
    """

    name: Literal["cells"] = "cells"
    """A map of cells."""
    channels: Annotated[tuple[Count, ...], Field(min_length=1)] = (32, 64, 64, 64, 64)
    """Filters of each convolution; those of the last are the features of a cell."""
    strides: tuple[Annotated[int, Field(ge=1, le=8)], ...] = (2, 2, 1, 1, 1)
    """Stride of each convolution."""

    @model_validator(mode="after")
    def _fit_together(self) -> Self:
        if len(self.strides) != len(self.channels):
            raise ValueError(
                f"strides has {len(self.strides)} numbers, and channels {len(self.channels)}; give each layer one"
            )
        return self


class VectorEncoder(Settings):
    """Flattens every part into numbers: images too, and discrete parts as the numbers that they are."""

    name: Literal["vector"] = "vector"
    """Numbers only."""


EncoderSettings = Annotated[
    AutoEncoder | VectorEncoder | PixelsEncoder | TokensEncoder | BlocksEncoder | CellsEncoder,
    Field(discriminator="name"),
]
"""Settings of an encoder; its name alone takes the defaults."""


class Observed(NamedTuple):
    """Observations as an encoder takes them: arrays of NumPy, or tensors."""

    numbers: Any
    """Vectors, then one-hot vectors. [..., num_numbers]"""
    raw: Any
    """Images and sequences of tokens, flattened, in the smallest type that holds them; bytes stay bytes.
    [..., num_raw]"""


class ObservationEncoder:
    """Takes observations apart, and turns their images and sequences of tokens into features.

    With vectors alone it has no parameters, and its features are the observations. With `maps`, features are those of
    each cell of a map, [..., cell, num_features]: one cell, unless the encoder is `cells`. Raises MetarlError for a
    space that no array holds, where `pixels` or `cells` finds no image or `tokens` no sequence, and for `cells` without
    `maps`.
    """

    def __init__(self, settings: EncoderSettings, space: spaces.Space[Any], *, maps: bool = False) -> None:
        self.layout: Layout = layout_of(space)
        if isinstance(settings, CellsEncoder) and not maps:
            raise MetarlError(
                "encoder 'cells' makes a map to find boxes in, and this agent answers with none here; take encoder: "
                "blocks, or an agent and a family that do, such as leo and glyph-boxes"
            )
        self.maps = maps
        self.encoded: list[EncodedPart] = []
        """Images and sequences of tokens."""
        self.vectors: list[Part] = []
        self.choices: list[Part] = []
        for part in self.layout.parts:
            planned = None if isinstance(settings, VectorEncoder) else self._plan(settings, part)
            if planned is not None:
                self.encoded.append(planned)
            elif isinstance(part.space, spaces.Box) or isinstance(settings, VectorEncoder):
                self.vectors.append(part)
            else:
                self.choices.append(part)
        _require_found(settings, space, self.encoded)
        self.num_scaled = sum(part.size for part in self.vectors)
        """Numbers of the vectors, which running moments may scale."""
        self.num_one_hot = sum(_num_one_hot(part) for part in self.choices)
        self.num_numbers = self.num_scaled + self.num_one_hot
        self._raw_type = np.result_type(np.uint8, *(each.part.dtype for each in self.encoded))
        self.num_raw = sum(each.part.size for each in self.encoded)
        self.num_encoded = sum(each.num_features for each in self.encoded)
        """Features of all images and sequences."""
        self.grid = next((each.sides[-1] for each in self.encoded if isinstance(each, CellImage)), (1, 1))
        """Rows and columns of the map of cells."""
        self.num_cells = self.grid[0] * self.grid[1]
        self.num_features = (self.num_numbers + self.num_encoded) // self.num_cells
        """Numbers that stand for an observation, or for each cell of it, in the network behind the encoder."""

    def _plan(self, settings: _Layered | BlocksEncoder | CellsEncoder, part: Part) -> EncodedPart | None:
        """Return the layers of a part, None where it needs none."""
        if is_image(part.space, isinstance(settings, PixelsEncoder)):
            number = sum(isinstance(each, Image) for each in self.encoded)
            if isinstance(settings, CellsEncoder):
                return plan_cells(part, number, settings.channels, settings.strides)
            if isinstance(settings, BlocksEncoder):
                pools, normalizes = settings.halving == "pool", settings.norm == "group"
                return plan_blocks(
                    part, number, settings.channels, pools=pools, normalizes=normalizes, residual=settings.residual
                )
            return plan_image(part, number, settings.channels, settings.image_features)
        if not isinstance(settings, CellsEncoder) and is_sequence(part.space, isinstance(settings, TokensEncoder)):
            number = sum(isinstance(each, TokenSequence) for each in self.encoded)
            return plan_sequence(part, number, settings.embedding, settings.layers, settings.token_features)
        return None

    def scaled(self, observations: np.ndarray) -> np.ndarray:
        """Return the vectors of observations [..., *layout.shape], one behind the other, [..., num_scaled]."""
        lead = self._lead(observations)
        rows = [self.layout.part(part, observations).reshape((*lead, part.size)) for part in self.vectors]
        return rows[0] if len(rows) == 1 else np.concatenate([np.zeros((*lead, 0)), *rows], axis=-1)

    def one_hot(self, observations: np.ndarray) -> np.ndarray:
        """Return the discrete parts of observations as zeros and ones, bool [..., num_one_hot]."""
        lead = self._lead(observations)
        rows = [_one_hot(part, self.layout.part(part, observations), lead) for part in self.choices]
        return np.concatenate([np.zeros((*lead, 0), dtype=bool), *rows], axis=-1)

    def raw(self, observations: np.ndarray) -> np.ndarray:
        """Return the images and sequences of observations, flattened, [..., num_raw]."""
        lead = self._lead(observations)
        rows = [self.layout.part(each.part, observations).reshape((*lead, each.part.size)) for each in self.encoded]
        if not rows:
            return np.zeros((*lead, 0), dtype=self._raw_type)
        return (rows[0] if len(rows) == 1 else np.concatenate(rows, axis=-1)).astype(self._raw_type, copy=False)

    def one_hot_of(self, part: Part, values: Tensor) -> Tensor:
        """Return a discrete part as `one_hot` does, of a tensor [batch, size]: bool [batch, number]."""
        if isinstance(part.space, spaces.MultiBinary):
            return values != 0
        counts = zip(*_counts(part), strict=True)
        columns = [
            values[:, i, None] == start + torch.arange(count, device=values.device)
            for i, (start, count) in enumerate(counts)
        ]
        return torch.cat(columns, dim=-1)

    def observe(self, observations: np.ndarray, moments: RunningMoments | None = None) -> Observed:
        """Return observations [..., *layout.shape] as arrays of NumPy; `moments` scale the vectors."""
        vectors = self.scaled(observations)
        if moments is not None:
            vectors = moments.normalize(vectors)
        if self.num_one_hot:
            vectors = np.concatenate([vectors, self.one_hot(observations)], axis=-1)
        return Observed(vectors, self.raw(observations))

    def _lead(self, observations: np.ndarray) -> tuple[int, ...]:
        return observations.shape[: observations.ndim - len(self.layout.shape)]

    def initial_parameters(self, generator: torch.Generator) -> dict[str, Tensor]:
        """Return fresh parameters of the layers in float64; none without images and sequences."""
        drawn = [each.initial_parameters(generator) for each in self.encoded]
        return {name: value for parameters in drawn for name, value in parameters.items()}

    def __call__(self, parameters: Mapping[str, Tensor], numbers: Tensor, raw: Tensor) -> Tensor:
        """Return features [..., num_features] of `numbers` [..., num_numbers] and `raw` [..., num_raw]."""
        if not self.encoded:
            return self._beside(numbers)
        return self._beside(numbers, self._encode(parameters, raw.reshape(-1, self.num_raw)))

    def _beside(self, numbers: Tensor, *encoded: Tensor) -> Tensor:
        """Return numbers [..., n] and encoded parts [row, n], one behind the other; with `maps`, cell by cell."""
        parts = [each.reshape(*numbers.shape[:-1], each.shape[-1]) for each in encoded]
        features = torch.cat([numbers, *parts], dim=-1) if parts else numbers
        return features.unflatten(-1, (self.num_cells, self.num_features)) if self.maps else features

    def in_chunks(self, parameters: Mapping[str, Tensor], numbers: Tensor, raw: Tensor) -> Tensor:
        """Return the features of a call, computed so that memory does not grow with the number of observations.

        They go through the layers in chunks. With many observations, a gradient computes each chunk again instead of
        holding its activations. Not for transforms of `torch.func`, which do not know of that.
        """
        if not self.encoded:
            return self._beside(numbers)
        rows = raw.reshape(-1, self.num_raw)
        parts = rows.split(self.chunk_size)
        again = torch.is_grad_enabled() and self.held(len(rows)) < len(rows)
        encode = self._encode_again if again else self._encode
        return self._beside(numbers, torch.cat([encode(parameters, part) for part in parts]))

    @property
    def has_images(self) -> bool:
        """Whether a part of the observations goes through convolutions of images."""
        return any(isinstance(each, Image) for each in self.encoded)

    @property
    def chunk_size(self) -> int:
        """Observations in a chunk."""
        return max(1, CHUNK_FLOATS // max(1, self.num_activations))

    def held(self, observations: int) -> int:
        """Return of how many observations a gradient through `in_chunks` holds the activations at a time."""
        fits = observations * self.num_activations <= HELD_FLOATS
        return observations if fits else min(observations, self.chunk_size)

    @property
    def num_activations(self) -> int:
        """Floats that a gradient through the layers of one observation holds."""
        return sum(each.num_activations for each in self.encoded)

    @property
    def num_raw_bytes(self) -> int:
        """Bytes of the images and sequences of one observation."""
        return self.num_raw * self._raw_type.itemsize

    def _encode_again(self, parameters: Mapping[str, Tensor], raw: Tensor) -> Tensor:
        found: Tensor = checkpoint(self._encode, parameters, raw, use_reentrant=False, preserve_rng_state=False)
        return found

    def _encode(self, parameters: Mapping[str, Tensor], raw: Tensor) -> Tensor:
        """Return the features of images and sequences [n, num_raw], [n, num_encoded]."""
        rows = raw.split([each.part.size for each in self.encoded], dim=-1)
        return torch.cat([each.encode(parameters, row) for each, row in zip(self.encoded, rows, strict=True)], dim=-1)


def _require_found(settings: EncoderSettings, space: spaces.Space[Any], encoded: list[EncodedPart]) -> None:
    """Raise MetarlError where an encoder that is named for a kind of part finds none."""
    missing = ""
    if isinstance(settings, PixelsEncoder) and not any(isinstance(each, Image) for each in encoded):
        missing = f"no image in {space}: no bounded Box of rank 2 or 3"
    if isinstance(settings, CellsEncoder) and not (isinstance(space, spaces.Box) and encoded):
        missing = f"no image in {space}: observations that are one image, an array of bytes of rank 2 or 3"
    if isinstance(settings, TokensEncoder) and not any(isinstance(each, TokenSequence) for each in encoded):
        missing = f"no sequence in {space}: no MultiDiscrete of rank 1 whose numbers have one range from 0"
    if missing:
        raise MetarlError(f"encoder {settings.name!r} finds {missing}; take encoder: auto")


def _counts(part: Part) -> tuple[np.ndarray, np.ndarray]:
    """Return the least value of each number of a discrete part, and the count of its values, each [number]."""
    low, high = (np.ravel(limit) for limit in limits(part.space))
    return low, high - low + 1


def _num_one_hot(part: Part) -> int:
    return part.size if isinstance(part.space, spaces.MultiBinary) else int(_counts(part)[1].sum())


def _one_hot(part: Part, values: np.ndarray, lead: tuple[int, ...]) -> np.ndarray:
    flat = values.reshape((*lead, part.size))
    if isinstance(part.space, spaces.MultiBinary):
        return flat != 0
    columns = [
        flat[..., i, None] == np.arange(start, start + count)
        for i, (start, count) in enumerate(zip(*_counts(part), strict=True))
    ]
    return np.concatenate(columns, axis=-1)
