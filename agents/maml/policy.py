"""The policy of gradient-based agents: an encoder and a tanh network behind it, as one function of their parameters."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from ..common.encoders import ObservationEncoder
from ..common.heads import ActionHead
from ..common.policy import MLPPolicy, Parameters

ENCODER = "encoder."
"""Prefix of the names of the encoder's parameters among those of the policy."""


class EncodedPolicy:
    """Action distributions of observations of any space.

    Images and sequences of tokens go through the layers of the encoder, and the network reads their features beside
    the numbers. Without them there is no encoder, and the network reads the numbers alone.
    """

    def __init__(
        self, encoder: ObservationEncoder, head: ActionHead, hidden_sizes: Sequence[int], context_size: int = 0
    ) -> None:
        self.encoder, self.head = encoder, head
        self.network = MLPPolicy(encoder.num_features, head, hidden_sizes, context_size)
        self.last_layers = self.network.last_layers

    def initial_parameters(
        self, generator: torch.Generator, *, initial_std: float, dtype: torch.dtype, device: str
    ) -> dict[str, Tensor]:
        """Return fresh parameters of the network, and of the encoder under names that begin with `ENCODER`."""
        network = self.network.initial_parameters(generator, initial_std=initial_std, dtype=dtype, device=device)
        encoder = self.encoder.initial_parameters(generator)
        return network | {f"{ENCODER}{name}": value.to(device=device, dtype=dtype) for name, value in encoder.items()}

    def __call__(self, parameters: Parameters, observations: Tensor, raw: Tensor) -> Tensor:
        """Return the outputs of the head, [..., num_outputs].

        `observations` [..., num_numbers] are numbers, and `raw` [..., num_raw] images and sequences of tokens.
        """
        own = {name.removeprefix(ENCODER): value for name, value in parameters.items() if name.startswith(ENCODER)}
        return self.network(parameters, self.encoder(own, observations, raw))

    @property
    def num_units(self) -> int:
        """Outputs of all layers of the network together."""
        return sum(self.network.sizes[1:])
