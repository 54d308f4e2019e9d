"""Networks of supervised agents as functions of their parameters: what each has to say, and the plain one.

The plain one is an encoder of observations and fully connected layers.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Protocol

import torch
from torch import Tensor

from metarl.trials.export import ExportedStep

from ..common.encoders import ObservationEncoder
from ..common.policy import MLP, Parameters
from ..maml.exported import Outputs, exported_step
from ..maml.policy import ENCODER
from ..sequences.related import Related
from .answered import Answered, Encoded


class EachTask(Protocol):
    """A network with the parameters of every task of a batch."""

    def outputs(self, numbers: Tensor, raw: Tensor) -> Tensor:
        """Return the network's own outputs [task, time, ..., n] of questions [task, time, ...], in chunks of time."""
        ...

    def run(self, function: Callable[..., Any], *arguments: Any) -> Any:
        """Return `function(parameters, *arguments)` of every task; arguments and results are [task, ...]."""
        ...


class AnsweringNetwork(Protocol):
    """A network that answers questions, as a function of parameters. vmap maps it over tasks."""

    @property
    def encoder(self) -> ObservationEncoder:
        """What takes observations apart."""
        ...

    @property
    def related(self) -> Related | None:
        """What looks questions up in training languages before the network reads them; None leaves them alone."""
        ...

    @property
    def num_activations(self) -> int:
        """Floats that a gradient through the answer to one question holds, but for those of an encoder's layers."""
        ...

    def initial_parameters(self, generator: torch.Generator, *, dtype: torch.dtype, device: str) -> dict[str, Tensor]:
        """Return fresh parameters."""
        ...

    def last_layers(self, count: int) -> tuple[str, ...]:
        """Return the names of the parameters of the last `count` layers, all if there are fewer."""
        ...

    def cut(self, data: Answered) -> Answered:
        """Return a round of all tasks without room that none of its questions and answers needs."""
        ...

    def read(self, parameters: Parameters, rounds: Sequence[Answered]) -> Sequence[Answered | Encoded]:
        """Return rounds of one task, read by an encoder that inner steps do not move: once, and not in each step.

        A network whose encoder also sees answers returns the rounds as they are.
        """
        ...

    def taught(self, parameters: Parameters, data: Any) -> Tensor:
        """Return the outputs [..., n] of a round [...], which `read` may have read, to compare with its answers."""
        ...

    def free(self, tasks: EachTask, numbers: Tensor, raw: Tensor) -> Tensor:
        """Return the outputs [task, time, replica, n] of questions whose right answers are not known."""
        ...

    def exported(self, outputs: Outputs, parameters: Parameters) -> ExportedStep:
        """Return the network with `parameters` as a step that can be exported. Raises MetarlError where it has none.

        `outputs` are what the step returns of the network's.
        """
        ...

    def __call__(self, parameters: Parameters, numbers: Tensor, raw: Tensor) -> Tensor:
        """Return outputs in one pass, [..., n]. Raises MetarlError for a network that needs several."""
        ...


class EncodedNetwork:
    """Outputs for observations of any space, as a function of the parameters of encoder and network."""

    related = None

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
        return self.network(parameters, self._features(parameters, numbers, raw))

    def _features(self, parameters: Parameters, numbers: Tensor, raw: Tensor) -> Tensor:
        own = {name.removeprefix(ENCODER): value for name, value in parameters.items() if name.startswith(ENCODER)}
        return self.encoder(own, numbers, raw)

    def cut(self, data: Answered) -> Answered:
        """Return the round: all of it is needed."""
        return data

    def read(self, parameters: Parameters, rounds: Sequence[Answered]) -> Sequence[Answered | Encoded]:
        """Return the features of the rounds of one task, from one pass of the encoder over all of them."""
        features = self._features(
            parameters, torch.cat([data.observations for data in rounds]), torch.cat([data.raw for data in rounds])
        )
        parts = features.split([len(data.mask) for data in rounds])
        return [Encoded(part, data.targets, data.mask, data.advice) for part, data in zip(parts, rounds, strict=True)]

    def taught(self, parameters: Parameters, data: Answered | Encoded) -> Tensor:
        """Return the outputs [..., num_outputs] of a round [...]. Right answers change nothing of them."""
        if isinstance(data, Encoded):
            return self.network(parameters, data.features)
        return self(parameters, data.observations, data.raw)

    def features_before_last(self, parameters: Parameters, data: Answered | Encoded) -> Tensor:
        """Return what the last layer reads of a round [...], [..., size]."""
        if isinstance(data, Encoded):
            return self.network.before_last(parameters, data.features)
        return self.network.before_last(parameters, self._features(parameters, data.observations, data.raw))

    def free(self, tasks: EachTask, numbers: Tensor, raw: Tensor) -> Tensor:
        """Return the outputs [task, time, replica, num_outputs] of questions."""
        return tasks.outputs(numbers, raw)

    def exported(self, outputs: Outputs, parameters: Parameters) -> ExportedStep:
        """Return the network with `parameters` as a step that can be exported."""
        return exported_step(self, outputs, parameters)
