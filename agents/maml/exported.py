"""A network with the parameters of one task, as a module that can be exported."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

import torch
from torch import Tensor, nn

from metarl.trials.export import ExportedStep

from ..common.encoders import ObservationEncoder
from ..common.exported import Inputs, ObservationInputs, Scaling
from ..common.moments import RunningMoments
from ..common.policy import Parameters

Outputs = Callable[[Tensor], dict[str, Tensor]]
"""What a step returns, by name, of a network's outputs [batch, num_outputs]."""


class Network(Protocol):
    """Outputs for observations, as a function of parameters."""

    @property
    def encoder(self) -> ObservationEncoder:
        """What takes observations apart."""
        ...

    def __call__(self, parameters: Parameters, numbers: Tensor, raw: Tensor, /) -> Tensor:
        """Return the outputs, [batch, num_outputs]."""
        ...


def exported_step(
    network: Network, outputs: Outputs, parameters: Parameters, moments: RunningMoments | None = None
) -> ExportedStep:
    """Return the step of a network with `parameters` of its own, which scales vectors by `moments`."""
    observations = ObservationInputs(network.encoder.layout)
    return ExportedStep(_Step(network, outputs, parameters, observations, Scaling(moments)), observations.examples())


class _Step(nn.Module):
    """From an observation to actions."""

    def __init__(
        self,
        network: Network,
        outputs: Outputs,
        parameters: Parameters,
        observations: ObservationInputs,
        scaling: Scaling,
    ) -> None:
        super().__init__()
        self.network, self.outputs, self.observations, self.scaling = network, outputs, observations, scaling
        # torch refuses dots in the names of buffers.
        self.names = {name: name.replace(".", "-") for name in parameters}
        for name, value in parameters.items():
            self.register_buffer(self.names[name], value.detach().cpu().clone())

    def forward(self, inputs: Inputs) -> dict[str, Tensor]:
        parameters = {name: self.get_buffer(buffer) for name, buffer in self.names.items()}
        dtype = next(iter(parameters.values())).dtype
        return self.outputs(self.network(parameters, self._numbers(inputs).to(dtype), self._raw(inputs)))

    def _numbers(self, inputs: Inputs) -> Tensor:
        """Return the vectors, scaled, and the one-hot vectors, float64 [batch, num_numbers]."""
        encoder = self.network.encoder
        vectors = [self.scaling(self.observations.numbers(inputs, encoder.vectors))] if encoder.vectors else []
        choices = [encoder.one_hot_of(part, self.observations.rows(inputs, part)).double() for part in encoder.choices]
        if not (vectors or choices):
            return next(iter(inputs.values())).flatten(1)[:, :0].double()
        return torch.cat([*vectors, *choices], dim=-1)

    def _raw(self, inputs: Inputs) -> Tensor:
        """Return the images and sequences, flattened, [batch, num_raw]; anything where there are none."""
        rows = [self.observations.rows(inputs, each.part).double() for each in self.network.encoder.encoded]
        return torch.cat(rows, dim=-1) if rows else next(iter(inputs.values()))
