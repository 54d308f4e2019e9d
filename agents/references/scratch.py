"""Training from scratch on the examples of each task: what the examples alone teach a network."""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor

from metarl.base.settings import Count, Positive, Settings
from metarl.base.streams import Streams
from metarl.base.threads import cpu_by_default
from metarl.families.family import TaskFamily
from metarl.trials.agent import Agent
from metarl.trials.registered import register_agent

from ..common.adam import Adam
from ..common.policy import Parameters
from ..supervised.answered import Answered
from ..supervised.config import NetworkSettings
from ..supervised.make import make_network
from ..supervised.reader import Reader
from .fitting import FittedLearner, fit_tasks, join, require_finite


class FromScratchConfig(NetworkSettings):
    """Settings of training from scratch. The network's are those of `maml`."""

    learning_rate: Positive = 1e-3
    """Step size of Adam."""
    num_steps: Count = 100
    """Steps of Adam after each round, each on all examples so far."""


@register_agent("from-scratch")
class FromScratch(Agent):
    """Trains a new network in each task on the right answers that the task has shown, from random parameters."""

    Config: ClassVar[type[Settings]] = FromScratchConfig

    @cpu_by_default()
    def __init__(self, config: FromScratchConfig, family: TaskFamily, *, seed: int, device: str) -> None:
        self.config, self.device = config, device
        self.network, self.head = make_network("from-scratch", config, family, device=device)
        encoder = self.network.encoder
        self.num_activations = encoder.num_numbers + encoder.num_activations + self.network.num_activations
        """Floats that a gradient through the network holds of one observation."""
        self.reader = Reader(encoder, family, dtype=config.dtype, device=device, related=self.network.related)

    @cpu_by_default()
    def begin(self, streams: Streams) -> FittedLearner:
        """Return a learner with a new network for each task."""
        return FittedLearner(self, self._draw(streams))

    def _draw(self, streams: Streams) -> dict[str, Tensor]:
        """Return initial parameters [task, ...], those of a task drawn from its own stream."""
        dtype, drawn = getattr(torch, self.config.dtype), []
        for number in streams.integers(2**53)[:, 0].tolist():
            generator = torch.Generator().manual_seed(number)
            drawn.append(self.network.initial_parameters(generator, dtype=dtype, device=self.device))
        return {name: torch.stack([each[name] for each in drawn]) for name in drawn[0]}

    def loss(self, parameters: Parameters, *data: Tensor) -> Tensor:
        """Return the mean loss of a task's answers; `data` are `Answered.tensors`."""
        seen = Answered.of(*data)
        return self.head.mean_loss(self.network.taught(parameters, seen), seen.targets, seen.mask)

    def fit(self, initial: dict[str, Tensor], rounds: list[Answered]) -> dict[str, Tensor]:
        """Return the parameters of each task after training on all rounds, [task, ...].

        Raises MetarlError if one is not finite.
        """
        data = join(rounds)
        trained = fit_tasks(
            self.loss,
            initial,
            self.network.cut(data).tensors,
            optimizer=lambda parameters: Adam(parameters, self.config.learning_rate),
            num_steps=self.config.num_steps,
            num_activations=data.mask[0].numel() * self.num_activations,
        )
        require_finite(trained, "training from scratch", "learning_rate")
        return trained
