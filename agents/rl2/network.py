"""The network of RL^2: a memory with heads for actions, values and the task."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ..common.heads import ActionHead, GaussianHead
from ..memories.make import make_memory

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
    """A memory with a head for actions, one for values, and one that predicts the task if asked for."""

    def __init__(self, num_inputs: int, num_task_numbers: int, head: ActionHead, config: RL2Config) -> None:
        super().__init__()
        self.gaussian = isinstance(head, GaussianHead)
        outputs = head.num_outputs // 2 if self.gaussian else head.num_outputs
        size = config.memory.hidden_size
        self.memory = make_memory(config.memory, num_inputs)
        self.policy = nn.Linear(size, outputs)
        self.insight = Insight(size, num_task_numbers) if config.critic == "informed" else None
        self.value = nn.Linear(size * (1 if self.insight is None else 2), 1)
        self.inference = nn.Linear(size, num_task_numbers) if config.inference_coef else None
        if self.gaussian:
            self.log_std = nn.Parameter(torch.full((outputs,), math.log(config.initial_std)))

    def initialize(self, generator: torch.Generator) -> None:
        """Draw all weights from `generator`: orthogonal heads, a nearly uniform first policy, a zero task head."""
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

        Only an informed critic reads `tasks` [trial, number].
        """
        if self.insight is not None:
            features = torch.cat([features, self.insight(features, tasks)], dim=-1)
        return cast(Tensor, self.value(features).squeeze(-1))

    def inference_loss(self, features: Tensor, tasks: Tensor) -> Tensor:
        """Return the mean squared error of the predicted task, [..., trial]; `tasks` is [trial, number].

        Knowing the distribution of tasks alone gives one. Only for a network with `inference_coef` above zero.
        """
        return (cast(nn.Linear, self.inference)(features) - tasks).square().mean(-1)
