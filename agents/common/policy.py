"""Networks that the agents share, as functions of parameters."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

from .heads import ActionHead, GaussianHead

Parameters = Mapping[str, Tensor]
"""Parameters of a network by name."""

LOG_STD = "log_std"
"""Name of the parameter that holds the logarithms of the deviations of normal actions, in half-ranges."""
CONTEXT, CONTEXT_WEIGHT = "context", "context.weight"
"""Names of the context vector, and of the weights by which the first layer sees it."""


ACTIVATIONS: Mapping[str, Callable[[Tensor], Tensor]] = {"tanh": torch.tanh, "relu": F.relu}
"""Activations of hidden layers by name."""


class MLP:
    """A network of fully connected layers as a function of its parameters.

    The parameters are an argument, because meta-learning runs it with another set for each task in one vmapped call.
    With a `context_size`, a context vector among the parameters is part of the input, beside every observation.
    """

    def __init__(self, sizes: Sequence[int], context_size: int = 0, activation: str = "tanh") -> None:
        self.sizes, self.context_size = tuple(sizes), context_size
        self.activation = ACTIVATIONS[activation]

    def last_layers(self, count: int) -> tuple[str, ...]:
        """Return the names of the parameters of the last layers, of all where there are fewer; none of a context."""
        last = len(self.sizes) - 1
        numbers = range(max(0, last - count), last)
        return tuple(f"layers.{number}.{kind}" for number in numbers for kind in ("weight", "bias"))

    def initial_parameters(self, generator: torch.Generator, last_scale: float = 1.0) -> dict[str, Tensor]:
        """Return fresh parameters in float64: Glorot-uniform weights, scaled in the last layer, and zero biases."""

        def uniform(fan_out: int, fan_in: int, bound: float) -> Tensor:
            return (2 * torch.rand(fan_out, fan_in, generator=generator, dtype=torch.float64) - 1) * bound

        parameters = {}
        last = len(self.sizes) - 2
        for i, (fan_in, fan_out) in enumerate(zip(self.sizes[:-1], self.sizes[1:], strict=True)):
            seen = fan_in + (self.context_size if i == 0 else 0)
            bound = math.sqrt(6 / (seen + fan_out)) * (last_scale if i == last else 1.0)
            parameters[f"layers.{i}.weight"] = uniform(fan_out, fan_in, bound)
            parameters[f"layers.{i}.bias"] = torch.zeros(fan_out, dtype=torch.float64)
            if i == 0 and self.context_size:
                parameters[CONTEXT_WEIGHT] = uniform(fan_out, self.context_size, bound)
        return parameters

    def __call__(self, parameters: Parameters, inputs: Tensor) -> Tensor:
        """Return the outputs, [..., sizes[-1]], for inputs [..., sizes[0]]."""
        last = len(self.sizes) - 2
        return self._layer(last, parameters, self.before_last(parameters, inputs))

    def before_last(self, parameters: Parameters, inputs: Tensor) -> Tensor:
        """Return what the last layer reads, [..., sizes[-2]]."""
        x = inputs
        for i in range(len(self.sizes) - 2):
            x = self.activation(self._layer(i, parameters, x))
        return x

    def _layer(self, i: int, parameters: Parameters, x: Tensor) -> Tensor:
        bias = parameters[f"layers.{i}.bias"]
        if i == 0 and self.context_size:
            bias = bias + parameters[CONTEXT_WEIGHT] @ parameters[CONTEXT]
        return F.linear(x, parameters[f"layers.{i}.weight"], bias)


class MLPPolicy:
    """A tanh network from numbers of an observation to action distributions, as a function of its parameters."""

    def __init__(self, num_inputs: int, head: ActionHead, hidden_sizes: Sequence[int], context_size: int = 0) -> None:
        self.head = head
        self.gaussian = isinstance(head, GaussianHead)
        outputs = head.num_outputs // 2 if self.gaussian else head.num_outputs
        self.network = MLP((num_inputs, *hidden_sizes, outputs), context_size)
        self.sizes, self.last_layers = self.network.sizes, self.network.last_layers

    def initial_parameters(
        self, generator: torch.Generator, *, initial_std: float, dtype: torch.dtype, device: str
    ) -> dict[str, Tensor]:
        """Return fresh parameters of a nearly uniform first policy."""
        parameters = self.network.initial_parameters(generator, last_scale=0.01)
        if self.gaussian:
            parameters[LOG_STD] = torch.full((self.sizes[-1],), math.log(initial_std), dtype=torch.float64)
        return {name: value.to(device=device, dtype=dtype) for name, value in parameters.items()}

    def __call__(self, parameters: Parameters, observations: Tensor) -> Tensor:
        """Return the outputs of the head, [..., num_outputs], for observations [..., d]."""
        x = self.network(parameters, observations)
        if not self.gaussian:
            return x
        return torch.cat([x, parameters[LOG_STD].expand_as(x)], dim=-1)
