"""Training from scratch on the examples of each task: what the examples alone teach a network."""

from __future__ import annotations

from typing import ClassVar, Literal

import numpy as np
import torch
from torch import Tensor

from metarl.base.errors import MetarlError
from metarl.base.settings import Count, Positive, Settings, Widths
from metarl.base.streams import Streams
from metarl.base.threads import acting, cpu_by_default
from metarl.families.family import TaskFamily
from metarl.trials.agent import Agent, AnsweringLearner
from metarl.trials.episodes import Episodes
from metarl.trials.registered import register_agent

from ..common.encoders import AutoEncoder, EncoderSettings, ObservationEncoder
from ..common.policy import Parameters
from ..common.ppo import masked_mean
from ..supervised.answers import answer_head, finds_boxes, question_first
from ..supervised.network import EncodedNetwork
from ..supervised.objective import Answered
from ..supervised.reader import Reader
from .fitting import chunk_size, fit_tasks, join


class FromScratchConfig(Settings):
    """Settings of training from scratch. The network's are those of `maml`."""

    encoder: EncoderSettings = AutoEncoder()
    """How observations become numbers, by its name or with its settings, as for maml."""
    hidden_sizes: Widths = (40, 40)
    """Units of each hidden layer; an empty list makes the network linear behind the encoder."""
    activation: Literal["relu", "tanh"] = "relu"
    """Activation of the hidden layers."""
    dtype: Literal["float32", "float64"] = "float32"
    """Floating-point type of the network."""
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
        encoder = ObservationEncoder(config.encoder, family.observation_space, maps=finds_boxes(family))
        self.head = answer_head("from-scratch", family, grid=encoder.grid, device=device)
        self.network = EncodedNetwork(encoder, self.head.num_outputs, config.hidden_sizes, activation=config.activation)
        self.num_activations = encoder.num_numbers + encoder.num_activations + self.network.num_activations
        """Floats that a gradient through the network holds of one observation."""
        self.reader = Reader(encoder, family, dtype=config.dtype, device=device)

    @cpu_by_default()
    def begin(self, streams: Streams) -> FromScratchLearner:
        """Return a learner with a new network for each task."""
        return FromScratchLearner(self, self._draw(streams))

    def _draw(self, streams: Streams) -> dict[str, Tensor]:
        """Return initial parameters [task, ...], those of a task drawn from its own stream."""
        dtype, drawn = getattr(torch, self.config.dtype), []
        for number in streams.integers(2**53)[:, 0].tolist():
            generator = torch.Generator().manual_seed(number)
            drawn.append(self.network.initial_parameters(generator, dtype=dtype, device=self.device))
        return {name: torch.stack([each[name] for each in drawn]) for name in drawn[0]}

    def loss(self, parameters: Parameters, *data: Tensor) -> Tensor:
        """Return the mean loss of a task's answers; `data` are the fields of `Answered`."""
        seen = Answered(*data)
        outputs = self.network(parameters, seen.observations, seen.raw)
        return masked_mean(self.head.loss(outputs, seen.targets), seen.mask)

    def train(self, initial: Parameters, rounds: list[Answered]) -> dict[str, Tensor]:
        """Return the parameters of each task after training on all rounds, [task, ...].

        Raises MetarlError if one is not finite.
        """
        data = join(rounds)
        trained = fit_tasks(
            self.loss,
            initial,
            tuple(data),
            learning_rate=self.config.learning_rate,
            num_steps=self.config.num_steps,
            num_activations=data.mask[0].numel() * self.num_activations,
        )
        wrong = ~torch.stack([value.isfinite().flatten(1).all(1) for value in trained.values()]).all(0)
        if wrong.any():
            raise MetarlError(
                f"training from scratch is not finite in {int(wrong.sum())} of {len(wrong)} tasks; take a lower "
                "agent.learning_rate"
            )
        return trained


class FromScratchLearner(AnsweringLearner):
    """A network for each task, trained anew from where it began after each round."""

    def __init__(self, agent: FromScratch, initial: dict[str, Tensor]) -> None:
        self.agent, self.initial, self.parameters = agent, initial, initial
        self.rounds: list[Answered] = []

    def answer(self, observations: np.ndarray, *, deterministic: bool) -> np.ndarray:
        """Return the best answers of each task's own network, [question, task, replica, *action]."""
        agent = self.agent
        with acting():
            numbers, raw = agent.reader.observe(observations)
            size = chunk_size(self.parameters, len(observations) * observations.shape[2] * agent.num_activations)
            outputs = torch.vmap(agent.network, chunk_size=size)(self.parameters, numbers, raw)
            self.confidences = question_first(agent.head.confidence(outputs))
            return np.moveaxis(agent.head.best(outputs), 0, 1)

    @cpu_by_default()
    def adapt(self, episodes: Episodes) -> None:
        """Train the networks. Raises MetarlError for one that is not finite."""
        self.rounds.append(self.agent.reader.read(episodes))
        self.parameters = self.agent.train(self.initial, self.rounds)
