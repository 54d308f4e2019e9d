"""Encoders: from an observation of any space to the numbers that a network reads.

An observation is taken apart by its layout. Vectors stay numbers, discrete parts become one-hot vectors, and images go
through convolutions. Convolutions are a function of their parameters, because meta-learning runs them with another set
for each task in one vmapped call; nothing in them depends on the other images of a batch.

An agent calls `observe` with arrays of NumPy, makes tensors of the result, and calls the encoder with its parameters
and both tensors.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Literal, NamedTuple

import numpy as np
import torch
from gymnasium import spaces
from pydantic import Field
from torch import Tensor
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint

from metarl.base.errors import MetarlError
from metarl.base.settings import Count, Settings
from metarl.families.layout import Layout, Part, layout_of
from metarl.families.spaces import limits

from .moments import RunningMoments

LAST_CHANNELS = 4
"""Number of channels up to which the last axis of an image is that of its channels, whatever the first is."""
LEAST_SIDE = 3
"""Pixels along the shorter side of the smallest image."""
CHUNK_FLOATS = 2**24
"""Activations that the convolutions of one chunk of images may hold at a time."""


class _Convolutions(Settings):
    """Settings of every encoder with convolutions."""

    name: str
    channels: tuple[Count, ...] = (16, 32, 32)
    """Filters of each convolution."""
    image_features: Count = 128
    """Numbers that stand for an image in the network behind the encoder."""


class AutoEncoder(_Convolutions):
    """Convolutions for images, one-hot vectors for discrete parts, numbers for everything else.

    An image is an array of bytes of rank 2 or 3, or an array of floats from 0 to 1 of rank 3.
    """

    name: Literal["auto"] = "auto"
    """Chosen for each part."""


class PixelsEncoder(_Convolutions):
    """Like auto, but every bounded box of rank 2 or 3 is an image, whatever its type and its bounds."""

    name: Literal["pixels"] = "pixels"
    """Convolutions for every box of rank 2 or 3."""


class VectorEncoder(Settings):
    """Flattens every part into numbers: images too, and discrete parts as the numbers that they are."""

    name: Literal["vector"] = "vector"
    """Numbers only."""


EncoderSettings = Annotated[AutoEncoder | VectorEncoder | PixelsEncoder, Field(discriminator="name")]
"""Settings of an encoder; its name alone takes the defaults."""


class Observed(NamedTuple):
    """Observations as an encoder takes them: arrays of NumPy, or tensors."""

    numbers: Any
    """Vectors, then one-hot vectors. [..., num_numbers]"""
    pixels: Any
    """Images, flattened, in the smallest type that holds them; bytes stay bytes. [..., num_pixels]"""


@dataclass(frozen=True)
class Image:
    """A part that is an image, and its convolutions."""

    part: Part
    channels_first: bool
    convolutions: tuple[tuple[int, int, int, int, int], ...]
    """Inputs, outputs, kernel, stride and padding of each convolution."""
    sides: tuple[tuple[int, int], ...]
    """Height and width of the image, and behind each convolution."""

    @property
    def limits(self) -> tuple[float, float]:
        """Least and greatest value of a pixel."""
        low, high = _range(self.part.space)
        return float(low), float(high)

    @property
    def flat_size(self) -> int:
        """Numbers behind the last convolution."""
        return self.convolutions[-1][1] * math.prod(self.sides[-1])

    @property
    def num_activations(self) -> int:
        """Floats that a gradient through the convolutions of one image holds."""
        outputs = zip(self.convolutions, self.sides[1:], strict=True)
        return self.part.size + sum(2 * out * math.prod(side) for (_, out, *_), side in outputs)


class ObservationEncoder:
    """Takes observations apart, and turns their images into features by convolutions.

    With vectors alone it has no parameters, and its features are the observations. Raises MetarlError for a space that
    no array holds, and where `pixels` finds no image.
    """

    def __init__(self, settings: EncoderSettings, space: spaces.Space[Any]) -> None:
        self.layout: Layout = layout_of(space)
        self.images: list[Image] = []
        self.vectors: list[Part] = []
        self.choices: list[Part] = []
        for part in self.layout.parts:
            if not isinstance(settings, VectorEncoder) and _is_image(part.space, isinstance(settings, PixelsEncoder)):
                self.images.append(_plan(part, settings.channels))
            elif isinstance(part.space, spaces.Box) or isinstance(settings, VectorEncoder):
                self.vectors.append(part)
            else:
                self.choices.append(part)
        if isinstance(settings, PixelsEncoder) and not self.images:
            raise MetarlError(
                f"encoder 'pixels' finds no image in {space}: no bounded Box of rank 2 or 3; take encoder: auto"
            )
        self.image_features = 0 if isinstance(settings, VectorEncoder) else settings.image_features
        self.num_scaled = sum(part.size for part in self.vectors)
        """Numbers of the vectors, which running moments may scale."""
        self.num_one_hot = sum(_num_one_hot(part) for part in self.choices)
        self.num_numbers = self.num_scaled + self.num_one_hot
        self._pixel_type = np.result_type(np.uint8, *(image.part.dtype for image in self.images))
        self.num_pixels = sum(image.part.size for image in self.images)
        self.num_features = self.num_numbers + len(self.images) * self.image_features
        """Numbers that stand for an observation in the network behind the encoder."""

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

    def pixels(self, observations: np.ndarray) -> np.ndarray:
        """Return the images of observations, flattened, [..., num_pixels]."""
        lead = self._lead(observations)
        rows = [self.layout.part(image.part, observations).reshape((*lead, image.part.size)) for image in self.images]
        if not rows:
            return np.zeros((*lead, 0), dtype=self._pixel_type)
        return (rows[0] if len(rows) == 1 else np.concatenate(rows, axis=-1)).astype(self._pixel_type, copy=False)

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
        return Observed(vectors, self.pixels(observations))

    def _lead(self, observations: np.ndarray) -> tuple[int, ...]:
        return observations.shape[: observations.ndim - len(self.layout.shape)]

    def initial_parameters(self, generator: torch.Generator) -> dict[str, Tensor]:
        """Return fresh parameters of the convolutions in float64, drawn as He et al. (2015) do; none without images."""
        shapes: dict[str, tuple[int, ...]] = {}
        for i, image in enumerate(self.images):
            for layer, (inputs, outputs, kernel, _, _) in enumerate(image.convolutions):
                shapes[_name(i, layer)] = (outputs, inputs, kernel, kernel)
            shapes[_name(i, len(image.convolutions))] = (self.image_features, image.flat_size)
        parameters = {}
        for name, shape in shapes.items():
            bound = math.sqrt(6 / math.prod(shape[1:]))
            drawn = torch.rand(shape, generator=generator, dtype=torch.float64)
            parameters[f"{name}-weight"] = (2 * drawn - 1) * bound
            parameters[f"{name}-bias"] = torch.zeros(shape[0], dtype=torch.float64)
        return parameters

    def __call__(self, parameters: Mapping[str, Tensor], numbers: Tensor, pixels: Tensor) -> Tensor:
        """Return features [..., num_features] of `numbers` [..., num_numbers] and `pixels` [..., num_pixels]."""
        if not self.images:
            return numbers
        features = self._encode(parameters, pixels.reshape(-1, self.num_pixels))
        return torch.cat([numbers, features.reshape(*numbers.shape[:-1], features.shape[-1])], dim=-1)

    def in_chunks(self, parameters: Mapping[str, Tensor], numbers: Tensor, pixels: Tensor) -> Tensor:
        """Return the features of a call, computed so that memory does not grow with the number of images.

        They go through the convolutions in chunks, and a gradient computes each chunk again instead of holding its
        activations. Not for transforms of `torch.func`, which do not know of that.
        """
        if not self.images:
            return numbers
        parts = pixels.reshape(-1, self.num_pixels).split(self.chunk_size)
        encode = self._encode_again if torch.is_grad_enabled() and len(parts) > 1 else self._encode
        features = torch.cat([encode(parameters, part) for part in parts])
        return torch.cat([numbers, features.reshape(*numbers.shape[:-1], features.shape[-1])], dim=-1)

    @property
    def chunk_size(self) -> int:
        """Observations in a chunk."""
        return max(1, CHUNK_FLOATS // max(1, self.num_activations))

    @property
    def num_activations(self) -> int:
        """Floats that a gradient through the convolutions of one observation holds."""
        return sum(image.num_activations for image in self.images)

    @property
    def num_pixel_bytes(self) -> int:
        """Bytes of the images of one observation."""
        return self.num_pixels * self._pixel_type.itemsize

    def _encode_again(self, parameters: Mapping[str, Tensor], pixels: Tensor) -> Tensor:
        found: Tensor = checkpoint(self._encode, parameters, pixels, use_reentrant=False, preserve_rng_state=False)
        return found

    def _encode(self, parameters: Mapping[str, Tensor], pixels: Tensor) -> Tensor:
        """Return the features of images [n, num_pixels], [n, images * image_features]."""
        rows = pixels.split([image.part.size for image in self.images], dim=-1)
        return torch.cat(
            [
                _convolve(parameters, i, image, row)
                for i, (image, row) in enumerate(zip(self.images, rows, strict=True))
            ],
            dim=-1,
        )


def _name(image: int, layer: int) -> str:
    # No dots: modules of torch refuse them in the names of parameters.
    return f"image{image}-layer{layer}"


def _convolve(parameters: Mapping[str, Tensor], number: int, image: Image, pixels: Tensor) -> Tensor:
    """Return features of one image of each row of `pixels` [n, size], [n, image_features]."""
    names = [_name(number, layer) for layer in range(len(image.convolutions) + 1)]
    weights = [(parameters[f"{name}-weight"], parameters[f"{name}-bias"]) for name in names]
    low, high = image.limits
    x = (pixels.to(weights[0][0].dtype) - low) / (high - low)
    x = x.reshape(x.shape[0], *image.part.shape)  # its `len` is a constant to whoever traces it
    if x.dim() == 3:
        x = x.unsqueeze(1)
    elif not image.channels_first:
        x = x.permute(0, 3, 1, 2)
    for (weight, bias), (_, _, _, stride, padding) in zip(weights[:-1], image.convolutions, strict=True):
        x = F.relu(F.conv2d(x, weight, bias, stride=stride, padding=padding))
    return F.relu(F.linear(x.flatten(1), *weights[-1]))


def _range(space: spaces.Space[Any]) -> tuple[Any, Any]:
    low, high = limits(space)
    return low.min(), high.max()


def _is_image(space: spaces.Space[Any], whatever: bool) -> bool:
    """Return whether a part is an image; with `whatever`, its type and its bounds do not matter."""
    if not isinstance(space, spaces.Box) or len(space.shape) not in (2, 3) or not space.is_bounded():
        return False
    low, high = _range(space)
    if low >= high or min(_sides(space.shape)) < LEAST_SIDE:
        return False
    floats = np.issubdtype(space.dtype, np.floating) and len(space.shape) == 3 and low >= 0 and high <= 1
    return whatever or space.dtype == np.uint8 or bool(floats)


def _has_channels_first(shape: tuple[int, ...]) -> bool:
    """Return whether the first axis of an image of rank 3 is that of its channels: the shorter one of first and last.

    A last axis of up to four channels counts as channels: a strip of three rows in colour is still in colour.
    """
    return len(shape) == 3 and shape[0] < shape[-1] and not (shape[-1] <= LAST_CHANNELS and shape[0] >= LEAST_SIDE)


def _sides(shape: tuple[int, ...]) -> tuple[int, int]:
    height, width = shape if len(shape) == 2 else shape[1:] if _has_channels_first(shape) else shape[:2]
    return height, width


def _plan(part: Part, channels: tuple[int, ...]) -> Image:
    """Return convolutions that fit the image: strides of 4 and 2 while it is large, 1 when it is small."""
    first = _has_channels_first(part.shape)
    inputs = 1 if len(part.shape) == 2 else part.shape[0 if first else -1]
    convolutions, sides = [], [_sides(part.shape)]
    for outputs in channels:
        least, most = sorted(sides[-1])
        # Kernels and strides of large ones are those of Mnih et al. (2015).
        large, middling = most >= 48 and least >= 16, most >= 8 and least >= 4
        kernel, stride, padding = (8, 4, 2) if large else (4, 2, 1) if middling else (3, 1, 1)
        convolutions.append((inputs, outputs, kernel, stride, padding))
        height, width = ((side + 2 * padding - kernel) // stride + 1 for side in sides[-1])
        sides.append((height, width))
        inputs = outputs
    return Image(part, first, tuple(convolutions), tuple(sides))


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
