"""The network of RL^2: a memory with heads for actions, values and the task."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ..common.encoders import ObservationEncoder
from ..common.heads import ActionHead, GaussianHead
from ..memories.contract import Memory
from ..memories.make import make_memory
from ..memories.paired import Paired
from ..supervised.answers import AnswerHead
from .inputs import Inputs

if TYPE_CHECKING:
    from .config import RL2Config


class Insight(nn.Module):
    """Combines memory and task by products, so that each selects what counts of the other."""

    def __init__(self, size: int, num_task_numbers: int) -> None:
        super().__init__()
        self.of_memory = nn.Linear(size, size)
        self.of_task = nn.Linear(num_task_numbers, size)

    def initialize(self, generator: torch.Generator) -> None:
        """Draw all weights from `generator`."""
        for linear in (self.of_memory, self.of_task):
            nn.init.orthogonal_(linear.weight, 1.0, generator=generator)
            nn.init.zeros_(linear.bias)

    def forward(self, features: Tensor, tasks: Tensor) -> Tensor:
        """Return [..., trial, size] for features [..., trial, size] and the numbers of tasks [trial, number]."""
        return F.gelu(self.of_memory(features)) * self.of_task(tasks)


class RecurrentNetwork(nn.Module):
    """An encoder and a memory, with a head for actions, one for values, and one that predicts the task."""

    def __init__(
        self,
        num_numbers: int,
        num_task_numbers: int,
        encoder: ObservationEncoder,
        head: ActionHead | AnswerHead,
        config: RL2Config,
    ) -> None:
        super().__init__()
        self._encoder = encoder
        shapes = encoder.initial_parameters(torch.Generator())
        self.encoder = nn.ParameterDict({name: nn.Parameter(value) for name, value in shapes.items()})
        self.gaussian = isinstance(head, GaussianHead)
        outputs = head.num_outputs // 2 if self.gaussian else head.num_outputs
        self.memory = self._memory(config, num_numbers + encoder.num_encoded)
        size = self._num_features(config)
        self.policy = nn.Linear(size, outputs)
        self.insight = Insight(size, num_task_numbers) if config.critic == "informed" else None
        critic = config.learns_from == "rewards"
        self.value = nn.Linear(size * (1 if self.insight is None else 2), 1) if critic else None
        self.inference = nn.Linear(size, num_task_numbers) if config.inference_coef else None
        if self.gaussian:
            self.log_std = nn.Parameter(torch.full((outputs,), math.log(config.initial_std)))

    def _num_features(self, config: RL2Config) -> int:
        """Return how many features of the memory the heads read."""
        return config.memory.hidden_size

    def _memory(self, config: RL2Config, num_inputs: int) -> Memory:
        """Return the memory. A right answer that is learned from lies beside its question, one step later."""
        if config.learns_from == "rewards":
            return make_memory(config.memory, num_inputs)
        return Paired(make_memory(config.memory, 2 * num_inputs), num_inputs)

    def initialize(self, generator: torch.Generator) -> None:
        """Draw all weights from `generator`: orthogonal heads, a nearly uniform first policy, a zero task head."""
        self.memory.initialize(generator)
        if self.inference is not None:
            nn.init.zeros_(self.inference.weight)
            nn.init.zeros_(self.inference.bias)
        if self.insight is not None:
            self.insight.initialize(generator)
        for head, gain in ((self.policy, 0.01), (self.value, 1.0)):
            if head is not None:
                nn.init.orthogonal_(head.weight, gain, generator=generator)
                nn.init.zeros_(head.bias)
        for name, value in self._encoder.initial_parameters(generator).items():
            self.encoder[name].data.copy_(value)

    def num_bytes(self, steps: int, shards: int) -> int:
        """Return about how many bytes a gradient through `steps` steps holds, in `shards` parts at the same time."""
        weights = list(self.parameters())
        itemsize, size = weights[0].element_size(), self.policy.in_features
        of_images = shards * self._encoder.held(-(-steps // shards)) * self._encoder.num_activations
        # Weights, their gradients of each shard and Adam's two moments; three gates and what they read of each step.
        return itemsize * (sum(w.numel() for w in weights) * (3 + shards) + 8 * size * steps + 2 * of_images)

    def encode(self, inputs: Inputs) -> Tensor:
        """Return the memory's inputs, [..., d]: the numbers, and features of images and sequences."""
        return self._encoder.in_chunks(dict(self.encoder.items()), inputs.numbers, inputs.raw)

    def actions(self, features: Tensor) -> Tensor:
        """Return the outputs of the action head, [..., num_outputs], for features of the memory."""
        outputs = self.policy(features)
        return torch.cat([outputs, self.log_std.expand_as(outputs)], dim=-1) if self.gaussian else outputs

    def values(self, features: Tensor, tasks: Tensor) -> Tensor:
        """Return values in normalized units, [..., trial], for features [..., trial, hidden_size].

        Only an informed critic reads `tasks` [trial, number]. Only for a network that learns from rewards.
        """
        if self.insight is not None:
            features = torch.cat([features, self.insight(features, tasks)], dim=-1)
        return cast(Tensor, cast(nn.Linear, self.value)(features).squeeze(-1))

    def inference_loss(self, features: Tensor, tasks: Tensor) -> Tensor:
        """Return the mean squared error of the predicted task, [..., trial]; `tasks` is [trial, number].

        Knowing the distribution of tasks alone gives one. Only for a network with `inference_coef` above zero.
        """
        return (cast(nn.Linear, self.inference)(features) - tasks).square().mean(-1)
