"""The network of supervised agents: an encoder of observations and fully connected layers, as one function."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from ..common.encoders import ObservationEncoder
from ..common.policy import MLP, Parameters
from ..maml.policy import ENCODER


class EncodedNetwork:
    """Outputs for observations of any space, as a function of the parameters of encoder and network."""

    def __init__(
        self,
        encoder: ObservationEncoder,
        num_outputs: int,
        hidden_sizes: Sequence[int],
        context_size: int = 0,
        activation: str = "relu",
    ) -> None:
        self.encoder = encoder
        self.network = MLP((encoder.num_features, *hidden_sizes, num_outputs), context_size, activation)
        self.last_layers = self.network.last_layers

    @property
    def num_activations(self) -> int:
        """Floats that a gradient through the layers holds of one question."""
        return 2 * self.encoder.num_cells * sum(self.network.sizes[1:])

    def initial_parameters(self, generator: torch.Generator, *, dtype: torch.dtype, device: str) -> dict[str, Tensor]:
        """Return fresh parameters of the network, and of the encoder under names that begin with `ENCODER`."""
        network, encoder = self.network.initial_parameters(generator), self.encoder.initial_parameters(generator)
        parameters = network | {f"{ENCODER}{name}": value for name, value in encoder.items()}
        return {name: value.to(device=device, dtype=dtype) for name, value in parameters.items()}

    def __call__(self, parameters: Parameters, numbers: Tensor, raw: Tensor) -> Tensor:
        """Return the outputs, [..., num_outputs], for numbers [..., num_numbers] and raw [..., num_raw].

        Of maps, the layers give outputs of each cell, [..., cell, num_outputs].
        """
        own = {name.removeprefix(ENCODER): value for name, value in parameters.items() if name.startswith(ENCODER)}
        return self.network(parameters, self.encoder(own, numbers, raw))
