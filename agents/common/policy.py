"""Action distributions and networks that the agents share, as functions of parameters."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Protocol

import numpy as np
import torch
from gymnasium import spaces
from torch import Tensor
from torch.nn import functional as F

from metarl.base.errors import MetarlError
from metarl.base.streams import Streams

Parameters = Mapping[str, Tensor]
"""Parameters of a network by name."""


class ActionHead(Protocol):
    """A kind of action distribution; a network computes the `num_outputs` numbers that define one."""

    num_outputs: int
    """Numbers that define one distribution."""
    num_features: int
    """Numbers that stand for one action in a network's input."""

    def log_prob(self, outputs: Tensor, actions: Tensor) -> Tensor:
        """Return the log-probability of `actions` [..., *action], summed over action dimensions, [...]."""
        ...

    def entropy(self, outputs: Tensor) -> Tensor:
        """Return the entropy in nats, [...]."""
        ...

    def kl(self, outputs: Tensor, others: Tensor) -> Tensor:
        """Return KL(distribution of `outputs` || distribution of `others`) in nats, [...]."""
        ...

    def sample(self, outputs: Tensor, streams: Streams) -> np.ndarray:
        """Return one action for each of the streams, [*streams.shape, *action]."""
        ...

    def mode(self, outputs: Tensor) -> np.ndarray:
        """Return the most likely actions."""
        ...

    def uniform(self, streams: Streams) -> np.ndarray:
        """Return one uniformly random action for each of the streams, [*streams.shape, *action]."""
        ...

    def features(self, actions: np.ndarray) -> np.ndarray:
        """Return the features of `actions` [..., *action] for a network's input, [..., num_features]."""
        ...


def require_scalable(space: spaces.Box) -> None:
    """Raise MetarlError unless actions of the box can be scaled to [-1, 1]."""
    if not space.is_bounded():
        raise MetarlError(f"action space {space} has no bounds; give the family finite ones, to scale actions by")
    if not np.issubdtype(space.dtype, np.floating):
        raise MetarlError(f"action space {space} holds whole numbers; a policy of normal actions needs a float dtype")
    if not (space.high > space.low).all():
        raise MetarlError(f"action space {space} has a dimension without width; leave that dimension out")


class GaussianHead:
    """Independent normal actions in the box scaled to [-1, 1]; outputs are means, then logarithms of deviations.

    Log-probabilities are densities in the scaled box. Samples are not clipped: the rollout clips what the environment
    gets, and the density stays that of the sample, as in stable-baselines3.
    """

    def __init__(self, space: spaces.Box) -> None:
        require_scalable(space)
        self.dim = int(np.prod(space.shape))
        self.shape = space.shape
        self.num_outputs, self.num_features = 2 * self.dim, self.dim
        self.centre = ((space.high + space.low) / 2).astype(np.float64).reshape(-1)
        self.half = ((space.high - space.low) / 2).astype(np.float64).reshape(-1)

    def _to_unit_box(self, actions: Tensor) -> Tensor:
        flat = actions.reshape(*actions.shape[: actions.dim() - len(self.shape)], self.dim)
        return (flat - flat.new_tensor(self.centre)) / flat.new_tensor(self.half)

    def log_prob(self, outputs: Tensor, actions: Tensor) -> Tensor:
        """Return the log-density, summed over action dimensions, [...]."""
        mean, log_std = outputs.chunk(2, dim=-1)
        z = (self._to_unit_box(actions) - mean) * torch.exp(-log_std)
        return (-0.5 * z.square() - log_std - 0.5 * math.log(2 * math.pi)).sum(-1)

    def entropy(self, outputs: Tensor) -> Tensor:
        """Return the differential entropy in nats, [...]."""
        return (outputs.chunk(2, dim=-1)[1] + 0.5 * math.log(2 * math.pi * math.e)).sum(-1)

    def kl(self, outputs: Tensor, others: Tensor) -> Tensor:
        """Return KL(outputs || others) in nats, summed over action dimensions, [...]."""
        (mean, log_std), (other_mean, other_log_std) = outputs.chunk(2, dim=-1), others.chunk(2, dim=-1)
        moved = (mean - other_mean).square() + torch.exp(2 * log_std)
        return (other_log_std - log_std + 0.5 * moved * torch.exp(-2 * other_log_std) - 0.5).sum(-1)

    def sample(self, outputs: Tensor, streams: Streams) -> np.ndarray:
        """Return one action for each of the streams."""
        mean, log_std = np.split(outputs.cpu().numpy(), 2, axis=-1)
        return self._from_unit_box(mean + streams.normal((self.dim,)) * np.exp(log_std))

    def mode(self, outputs: Tensor) -> np.ndarray:
        """Return the means."""
        return self._from_unit_box(outputs.chunk(2, dim=-1)[0].cpu().numpy())

    def uniform(self, streams: Streams) -> np.ndarray:
        """Return actions drawn uniformly from the box."""
        return self._from_unit_box(2 * streams.uniform((self.dim,)) - 1)

    def _from_unit_box(self, scaled: np.ndarray) -> np.ndarray:
        actions = scaled * self.half + self.centre
        return actions.reshape(*actions.shape[:-1], *self.shape).astype(np.float32)

    def features(self, actions: np.ndarray) -> np.ndarray:
        """Return the actions scaled to [-1, 1] and clipped, as the environment clips them."""
        flat = actions.reshape(*actions.shape[: actions.ndim - len(self.shape)], self.dim)
        return np.clip((flat - self.centre) / self.half, -1.0, 1.0)


class CategoricalHead:
    """One of n actions; outputs are logits."""

    def __init__(self, space: spaces.Discrete) -> None:
        self.num_outputs = self.num_features = int(space.n)
        self.start = int(space.start)

    def log_prob(self, outputs: Tensor, actions: Tensor) -> Tensor:
        """Return the log-probability, [...]."""
        index = (actions.long() - self.start).unsqueeze(-1)
        return outputs.log_softmax(-1).gather(-1, index).squeeze(-1)

    def entropy(self, outputs: Tensor) -> Tensor:
        """Return the entropy in nats, [...]."""
        log_p = outputs.log_softmax(-1)
        return -(log_p.exp() * log_p).sum(-1)

    def kl(self, outputs: Tensor, others: Tensor) -> Tensor:
        """Return KL(outputs || others) in nats, [...]."""
        log_p = outputs.log_softmax(-1)
        return (log_p.exp() * (log_p - others.log_softmax(-1))).sum(-1)

    def sample(self, outputs: Tensor, streams: Streams) -> np.ndarray:
        """Return one action for each of the streams, by inversion of the distribution function."""
        threshold = torch.as_tensor(streams.uniform()[..., None], dtype=torch.float64, device=outputs.device)
        below = (outputs.double().softmax(-1).cumsum(-1) <= threshold).sum(-1)
        return below.clamp(max=self.num_outputs - 1).cpu().numpy() + self.start

    def mode(self, outputs: Tensor) -> np.ndarray:
        """Return the likeliest actions."""
        return outputs.argmax(-1).cpu().numpy() + self.start

    def uniform(self, streams: Streams) -> np.ndarray:
        """Return actions drawn uniformly."""
        return streams.integers(self.num_outputs) + self.start

    def features(self, actions: np.ndarray) -> np.ndarray:
        """Return the actions as one-hot vectors; a value outside the space counts as the nearest action."""
        index = np.clip(actions - self.start, 0, self.num_features - 1)
        return index[..., None] == np.arange(self.num_features)


def action_head(space: spaces.Box | spaces.Discrete) -> ActionHead:
    """Return the distributions for an action space: normal for a box, categorical for a discrete one."""
    return CategoricalHead(space) if isinstance(space, spaces.Discrete) else GaussianHead(space)


LOG_STD = "log_std"
"""Name of the parameter that holds the logarithms of the deviations of normal actions, in half-ranges."""
CONTEXT, CONTEXT_WEIGHT = "context", "context.weight"
"""Names of the context vector, and of the weights by which the first layer sees it."""


class MLPPolicy:
    """A tanh network from observations to action distributions, as a function of its parameters.

    The parameters are an argument, because meta-learning runs it with another set for each task in one vmapped call.
    With a `context_size`, a context vector among the parameters is part of the input, beside every observation.
    """

    def __init__(
        self, observation_space: spaces.Box, head: ActionHead, hidden_sizes: Sequence[int], context_size: int = 0
    ) -> None:
        self.head = head
        self.gaussian = isinstance(head, GaussianHead)
        outputs = head.num_outputs // 2 if self.gaussian else head.num_outputs
        self.sizes = (int(np.prod(observation_space.shape)), *hidden_sizes, outputs)
        self.context_size = context_size

    @property
    def last_layer(self) -> tuple[str, str]:
        """Names of the last layer's parameters."""
        last = len(self.sizes) - 2
        return f"layers.{last}.weight", f"layers.{last}.bias"

    def initial_parameters(
        self, generator: torch.Generator, *, initial_std: float, dtype: torch.dtype, device: str
    ) -> dict[str, Tensor]:
        """Return fresh parameters: Glorot-uniform weights, zero biases, and a nearly uniform first policy."""

        def uniform(fan_out: int, fan_in: int, bound: float) -> Tensor:
            return (2 * torch.rand(fan_out, fan_in, generator=generator, dtype=torch.float64) - 1) * bound

        parameters = {}
        last = len(self.sizes) - 2
        for i, (fan_in, fan_out) in enumerate(zip(self.sizes[:-1], self.sizes[1:], strict=True)):
            seen = fan_in + (self.context_size if i == 0 else 0)
            bound = math.sqrt(6 / (seen + fan_out)) * (0.01 if i == last else 1.0)
            parameters[f"layers.{i}.weight"] = uniform(fan_out, fan_in, bound)
            parameters[f"layers.{i}.bias"] = torch.zeros(fan_out, dtype=torch.float64)
            if i == 0 and self.context_size:
                parameters[CONTEXT_WEIGHT] = uniform(fan_out, self.context_size, bound)
        if self.gaussian:
            parameters[LOG_STD] = torch.full((self.sizes[-1],), math.log(initial_std), dtype=torch.float64)
        return {name: value.to(device=device, dtype=dtype) for name, value in parameters.items()}

    def __call__(self, parameters: Parameters, observations: Tensor) -> Tensor:
        """Return the outputs of the head, [..., num_outputs], for observations [..., d]."""
        x = observations
        last = len(self.sizes) - 2
        for i in range(last + 1):
            bias = parameters[f"layers.{i}.bias"]
            if i == 0 and self.context_size:
                bias = bias + parameters[CONTEXT_WEIGHT] @ parameters[CONTEXT]
            x = F.linear(x, parameters[f"layers.{i}.weight"], bias)
            x = torch.tanh(x) if i < last else x
        if not self.gaussian:
            return x
        return torch.cat([x, parameters[LOG_STD].expand_as(x)], dim=-1)
