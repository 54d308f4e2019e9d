"""Images in observations: which parts are images, and convolutions that fit them, as a function of their parameters."""

from __future__ import annotations

import itertools
import math
from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from gymnasium import spaces
from torch import Tensor
from torch.nn import functional as F

from metarl.families.layout import Part
from metarl.families.spaces import limits

from .encoded import EncodedPart, Weights

LAST_CHANNELS = 4
"""Number of channels up to which the last axis of an image is that of its channels, whatever the first is."""
LEAST_SIDE = 3
"""Pixels along the shorter side of the smallest image."""


@dataclass(frozen=True)
class Image(EncodedPart):
    """A part that is an image."""

    channels_first: bool
    sides: tuple[tuple[int, int], ...]
    """Height and width of the image, and behind each layer."""

    @property
    def limits(self) -> tuple[float, float]:
        """Least and greatest value of a pixel."""
        low, high = _range(self.part.space)
        return float(low), float(high)

    def encode(self, parameters: Mapping[str, Tensor], values: Tensor) -> Tensor:
        """Return features of the image in each row of pixels."""
        weights = {name: (parameters[f"{name}-weight"], parameters[f"{name}-bias"]) for name in self.layers}
        low, high = self.limits
        x = (values.to(next(iter(weights.values()))[0].dtype) - low) / (high - low)
        x = x.reshape(x.shape[0], *self.part.shape)  # its `len` is a constant to whoever traces it
        if x.dim() == 3:
            x = x.unsqueeze(-1)
        if not self.channels_first:
            x = x.permute(0, 3, 1, 2)  # channels stay last in memory, which convolutions on a CPU are fastest with
        return self.convolve(weights, x)

    @abstractmethod
    def convolve(self, weights: Mapping[str, tuple[Tensor, Tensor]], images: Tensor) -> Tensor:
        """Return features [n, num_features] of images [n, channel, height, width] from 0 to 1.

        `weights` has the weights and the biases of each layer, in the order of `layers`.
        """

    @property
    def num_viewed(self) -> int:
        """Every pixel."""
        return self.part.size

    def view(self, values: np.ndarray) -> np.ndarray:
        """Return the pixels, scaled to [-1, 1]."""
        low, high = self.limits
        return (values.astype(np.float32) - low) * (2 / (high - low)) - 1


@dataclass(frozen=True)
class ConvolvedImage(Image):
    """An image, convolutions that fit it, and a fully connected layer behind them."""

    convolutions: tuple[tuple[int, int, int, int, int], ...]
    """Inputs, outputs, kernel, stride and padding of each convolution."""

    @property
    def num_activations(self) -> int:
        """Floats that a gradient through the convolutions of one image holds."""
        outputs = zip(self.convolutions, self.sides[1:], strict=True)
        return self.part.size + sum(2 * out * math.prod(side) for (_, out, *_), side in outputs)

    @property
    def layers(self) -> dict[str, Weights]:
        """Weights of the convolutions, and of the layer behind them."""
        shapes: list[tuple[int, ...]] = [
            (outputs, inputs, kernel, kernel) for inputs, outputs, kernel, _, _ in self.convolutions
        ]
        shapes.append((self.num_features, self.convolutions[-1][1] * math.prod(self.sides[-1])))
        named = enumerate(shapes)
        return {f"image{self.number}-layer{layer}": Weights(shape, math.prod(shape[1:])) for layer, shape in named}

    def convolve(self, weights: Mapping[str, tuple[Tensor, Tensor]], images: Tensor) -> Tensor:
        """Return features of images."""
        *each, last = weights.values()
        x = images
        for (weight, bias), (_, _, _, stride, padding) in zip(each, self.convolutions, strict=True):
            x = F.conv2d(x, weight, bias, stride=stride, padding=padding).relu_()
        return F.relu(F.linear(x.flatten(1), *last))


@dataclass(frozen=True)
class BlockImage(Image):
    """An image, and blocks that halve it. The last one is flattened."""

    channels: tuple[int, ...]
    """Channels of the image, and behind each block."""
    pools: bool
    normalizes: bool
    residual: bool

    @property
    def num_activations(self) -> int:
        """Floats that a gradient through the blocks of one image holds."""
        before = self.sides[:-1] if self.pools else self.sides[1:]
        kept = 2 + 2 * self.normalizes + self.residual
        outputs = zip(self.channels[1:], before, strict=True)
        return self.part.size + sum(kept * channels * math.prod(side) for channels, side in outputs)

    @property
    def layers(self) -> dict[str, Weights]:
        """Weights of each block: its convolution, its normalization, and the way around it."""
        layers: dict[str, Weights] = {}
        for block, (inputs, outputs) in enumerate(itertools.pairwise(self.channels)):
            name = f"image{self.number}-block{block}"
            layers[name] = Weights((outputs, inputs, 3, 3), 9 * inputs)
            if self.normalizes:
                layers[f"{name}-norm"] = Weights((outputs,), 1)
            if self.residual:
                layers[f"{name}-skip"] = Weights((outputs, inputs, 1, 1), inputs)
        return layers

    def convolve(self, weights: Mapping[str, tuple[Tensor, Tensor]], images: Tensor) -> Tensor:
        """Return features of images."""
        x, stride = images, 1 if self.pools else 2
        for block in range(len(self.channels) - 1):
            name = f"image{self.number}-block{block}"
            out = F.conv2d(x, *weights[name], stride=stride, padding=1)
            if self.normalizes:
                out = F.group_norm(out, 1, *weights[f"{name}-norm"])
            if self.residual:
                out = out + F.conv2d(x, *weights[f"{name}-skip"], stride=stride)
            x = out.relu_()
            if self.pools:
                height, width = self.sides[block]
                x = F.max_pool2d(x, (min(height, 2), min(width, 2)))
        return x.flatten(1)


@dataclass(frozen=True)
class CellImage(Image):
    """An image, and convolutions of 3 by 3 to a map of cells: the channels of a cell stand behind each other."""

    channels: tuple[int, ...]
    """Channels of the image, and behind each convolution."""
    strides: tuple[int, ...]
    """Stride of each convolution."""

    @property
    def num_activations(self) -> int:
        """Floats that a gradient through the convolutions of one image holds."""
        outputs = zip(self.channels[1:], self.sides[1:], strict=True)
        return self.part.size + sum(2 * channels * math.prod(side) for channels, side in outputs)

    @property
    def layers(self) -> dict[str, Weights]:
        """Weights of each convolution."""
        pairs = enumerate(itertools.pairwise(self.channels))
        return {f"image{self.number}-cells{n}": Weights((out, inputs, 3, 3), 9 * inputs) for n, (inputs, out) in pairs}

    def convolve(self, weights: Mapping[str, tuple[Tensor, Tensor]], images: Tensor) -> Tensor:
        """Return features of images, row by row and cell by cell."""
        x = images
        for (weight, bias), stride in zip(weights.values(), self.strides, strict=True):
            x = F.conv2d(x, weight, bias, stride=stride, padding=1).relu_()
        return x.permute(0, 2, 3, 1).flatten(1)


def _range(space: spaces.Space[Any]) -> tuple[Any, Any]:
    low, high = limits(space)
    return low.min(), high.max()


def is_image(space: spaces.Space[Any], whatever: bool) -> bool:
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


def plan_image(part: Part, number: int, channels: tuple[int, ...], num_features: int) -> ConvolvedImage:
    """Return convolutions that fit an image: strides of 4 and 2 while it is large, 1 when it is small."""
    first = _has_channels_first(part.shape)
    inputs = _num_channels(part)
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
    return ConvolvedImage(part, number, num_features, first, tuple(sides), tuple(convolutions))


def plan_blocks(
    part: Part, number: int, channels: tuple[int, ...], *, pools: bool, normalizes: bool, residual: bool
) -> BlockImage:
    """Return blocks with `channels` filters, each of which halves the image: a stride rounds up, a maximum down."""
    sides = [_sides(part.shape)]
    for _ in channels:
        height, width = (max(side // 2, 1) if pools else (side + 1) // 2 for side in sides[-1])
        sides.append((height, width))
    return BlockImage(
        part,
        number,
        channels[-1] * math.prod(sides[-1]),
        _has_channels_first(part.shape),
        tuple(sides),
        (_num_channels(part), *channels),
        pools,
        normalizes,
        residual,
    )


def plan_cells(part: Part, number: int, channels: tuple[int, ...], strides: tuple[int, ...]) -> CellImage:
    """Return convolutions with `channels` filters and these strides, each of which rounds the sides up."""
    sides = [_sides(part.shape)]
    for stride in strides:
        height, width = (-(-side // stride) for side in sides[-1])
        sides.append((height, width))
    size = channels[-1] * math.prod(sides[-1])
    first, inputs = _has_channels_first(part.shape), _num_channels(part)
    return CellImage(part, number, size, first, tuple(sides), (inputs, *channels), strides)


def _num_channels(part: Part) -> int:
    return 1 if len(part.shape) == 2 else part.shape[0 if _has_channels_first(part.shape) else -1]
