"""The network of RL^2: a memory and what is read out of it."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ..common.policy import ActionHead, GaussianHead
from ..memories.make import make_memory

if TYPE_CHECKING:
    from .config import RL2Config


class Insight(nn.Module):
    """What the task makes of what is remembered: products of both, so that one chooses what counts of the other."""

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
    """A memory with a head for actions, one for values, and perhaps one for what the task is."""

    def __init__(self, num_inputs: int, num_task_numbers: int, head: ActionHead, config: RL2Config) -> None:
        super().__init__()
        self.gaussian = isinstance(head, GaussianHead)
        outputs = head.num_outputs // 2 if self.gaussian else head.num_outputs
        self.memory = make_memory(
            config.memory,
            num_inputs,
            config.hidden_size,
            config.num_layers,
            num_heads=config.num_heads,
            key_size=config.key_size,
            conv_width=config.conv_width,
        )
        self.policy = nn.Linear(config.hidden_size, outputs)
        self.insight = Insight(config.hidden_size, num_task_numbers) if config.critic == "informed" else None
        self.value = nn.Linear(config.hidden_size * (1 if self.insight is None else 2), 1)
        self.inference = nn.Linear(config.hidden_size, num_task_numbers) if config.infer_task else None
        if self.gaussian:
            self.log_std = nn.Parameter(torch.full((outputs,), math.log(config.initial_std)))

    def initialize(self, generator: torch.Generator) -> None:
        """Draw all weights from `generator`: heads are orthogonal, with a nearly uniform first policy; nothing is inferred yet."""
        self.memory.initialize(generator)
        if self.inference is not None:
            nn.init.zeros_(self.inference.weight)
            nn.init.zeros_(self.inference.bias)
        if self.insight is not None:
            self.insight.initialize(generator)
        for head, gain in ((self.policy, 0.01), (self.value, 1.0)):
            nn.init.orthogonal_(head.weight, gain, generator=generator)
            nn.init.zeros_(head.bias)

    def actions(self, features: Tensor) -> Tensor:
        """Return the outputs of the action head, [..., num_outputs], for features of the memory."""
        outputs = self.policy(features)
        return torch.cat([outputs, self.log_std.expand_as(outputs)], dim=-1) if self.gaussian else outputs

    def values(self, features: Tensor, tasks: Tensor) -> Tensor:
        """Return values in normalized units, [..., trial], for features [..., trial, hidden_size].

        `tasks` [trial, number] is looked at by an informed critic only.
        """
        if self.insight is not None:
            features = torch.cat([features, self.insight(features, tasks)], dim=-1)
        return cast(Tensor, self.value(features).squeeze(-1))

    def inference_loss(self, features: Tensor, tasks: Tensor) -> Tensor:
        """Return how far the task inferred is off, [..., trial]: the mean square over its numbers, `tasks` [trial, number].

        One is as good as knowing nothing but the distribution of tasks. Only for a network that infers.
        """
        return (cast(nn.Linear, self.inference)(features) - tasks).square().mean(-1)
