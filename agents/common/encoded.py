"""Parts of observations that layers with parameters encode, such as images: what each kind has to say."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from metarl.families.layout import Part


class Weights(NamedTuple):
    """Shape and scale of the weights of one layer."""

    shape: tuple[int, ...]
    """Outputs come first. A shape of one axis is a scale, which begins at one."""
    fan_in: int
    """The variance of the first weights is 2 / fan_in, as He et al. (2015) have it for layers before a relu."""
    bias: bool = True
    """Whether the layer has a bias, which begins at zero."""


@dataclass(frozen=True)
class EncodedPart(ABC):
    """A part of an observation, and the layers that turn it into features.

    The layers are a function of their parameters, because meta-learning runs them with another set for each task in
    one vmapped call. Nothing in them depends on the other observations of a batch.
    """

    part: Part
    number: int
    """Its place among the parts of its kind."""
    num_features: int
    """Numbers that stand for the part in the network behind the encoder."""

    @property
    @abstractmethod
    def layers(self) -> dict[str, Weights]:
        """Weights of each layer by its name, in the order in which they are drawn.

        Names have no dots: torch refuses them in the names of parameters.
        """

    @property
    @abstractmethod
    def num_activations(self) -> int:
        """Floats that a gradient through the layers holds of one observation."""

    @abstractmethod
    def encode(self, parameters: Mapping[str, Tensor], values: Tensor) -> Tensor:
        """Return features [n, num_features] of the part in each row of `values` [n, part.size]."""

    @property
    @abstractmethod
    def num_viewed(self) -> int:
        """Numbers of a `view`."""

    @abstractmethod
    def view(self, values: np.ndarray) -> np.ndarray:
        """Return numbers of the size of one for a linear function, float32 [..., num_viewed], of [..., part.size]."""

    def initial_parameters(self, generator: torch.Generator) -> dict[str, Tensor]:
        """Return fresh parameters of the layers in float64, drawn from `generator`."""
        parameters = {}
        for name, weights in self.layers.items():
            if len(weights.shape) == 1:
                parameters[f"{name}-weight"] = torch.ones(weights.shape, dtype=torch.float64)
            else:
                bound = math.sqrt(6 / weights.fan_in)
                drawn = torch.rand(weights.shape, generator=generator, dtype=torch.float64)
                parameters[f"{name}-weight"] = (2 * drawn - 1) * bound
            if weights.bias:
                parameters[f"{name}-bias"] = torch.zeros(weights.shape[0], dtype=torch.float64)
        return parameters
