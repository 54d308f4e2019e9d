"""Fine-tuning: one network learns the answers of all training tasks together, and goes on learning in each new task.

The usual way to a task with few examples, such as a language with few translations (multilingual transfer: Zoph et al.,
EMNLP 2016). It is what meta-learning is to be better than: nothing in training says that fine-tuning will follow.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Annotated, ClassVar, Literal

import numpy as np
import torch
from pydantic import Field
from torch import Tensor

from metarl.base.schedule import Schedule, ScheduledRate
from metarl.base.settings import Count, Positive, Settings
from metarl.base.streams import Streams
from metarl.base.threads import cpu_by_default
from metarl.families.family import TaskFamily
from metarl.trials.agent import TrainableAgent
from metarl.trials.episodes import Trial
from metarl.trials.registered import register_agent

from ..common.adam import SGD, Adam
from ..common.over_ranks import shares
from ..common.policy import Parameters
from ..common.scheduled_adam import ScheduledAdam
from ..common.state import StateDict, load_tensors, require_fitting, restore_on_error
from ..supervised.answered import Answered
from ..supervised.answers import NumberError
from ..supervised.config import NetworkSettings
from ..supervised.make import make_network
from ..supervised.memory import IMAGE_COPIES, input_bytes, itemsize, round_sizes
from ..supervised.reader import Reader
from .fitting import FittedLearner, fit_tasks, join, require_finite


class ByAdam(Settings):
    """Steps of Adam."""

    name: Literal["adam"] = "adam"
    """Adam."""
    learning_rate: Positive = 1e-3
    """Step size."""
    num_steps: Count = 20
    """Steps after each round, each on all right answers so far."""

    def optimizer(self, parameters: list[Tensor]) -> Adam:
        """Return the optimiser of parameters."""
        return Adam(parameters, self.learning_rate)


class BySGD(Settings):
    """Plain gradient steps, as the inner steps of maml are."""

    name: Literal["sgd"] = "sgd"
    """Gradient descent."""
    learning_rate: Positive = 0.1
    """Step size."""
    num_steps: Count = 20
    """Steps after each round, each on all right answers so far."""

    def optimizer(self, parameters: list[Tensor]) -> SGD:
        """Return the optimiser of parameters."""
        return SGD(parameters, self.learning_rate)


class FineTunedConfig(NetworkSettings):
    """Settings of fine-tuning. The network's are those of `maml`."""

    number_error: NumberError = "squared"
    """Loss of answers that are numbers: the squared error, or the absolute one, as where that is the reward."""
    learning_rate: ScheduledRate = Schedule(start=1e-3)
    """Step size of Adam in training: a number, or a mapping with `start`, `end` and `updates`."""
    max_grad_norm: Positive = 10.0
    """Largest norm of the gradient in training; a longer one is scaled down."""
    fine_tuning: Annotated[ByAdam | BySGD, Field(discriminator="name")] = ByAdam()
    """Steps in a task: adam or sgd, by its name or with its settings. An evaluation may set others."""


@register_agent("fine-tuned")
class FineTuned(TrainableAgent):
    """Learns the answers of all training tasks together, then fine-tunes the network on those that a task shows."""

    Config: ClassVar[type[Settings]] = FineTunedConfig
    shaped_by: ClassVar[tuple[str, ...]] = ("network", "activation")
    sums_over_ranks = True
    answers_in_training = False

    @cpu_by_default()
    def __init__(self, config: FineTunedConfig, family: TaskFamily, *, seed: int, device: str) -> None:
        self.config, self.family, self.device = config, family, device
        self.network, self.head = make_network("fine-tuned", config, family, error=config.number_error, device=device)
        generator, dtype = torch.Generator().manual_seed(seed), getattr(torch, config.dtype)
        initial = self.network.initial_parameters(generator, dtype=dtype, device=device)
        self.parameters = {name: value.clone().requires_grad_(True) for name, value in initial.items()}
        self.adam = ScheduledAdam(self.parameters, config.learning_rate, config.max_grad_norm)
        self.reader = Reader(
            self.network.encoder, family, dtype=config.dtype, device=device, related=self.network.related
        )
        encoder = self.network.encoder
        self.num_activations = encoder.num_numbers + encoder.num_activations + self.network.num_activations
        """Floats that a gradient through the network holds of one question."""

    @cpu_by_default()
    def begin(self, streams: Streams) -> FittedLearner:
        """Return a learner with the trained network in every task."""
        return FittedLearner(self, self.start(streams.shape[0]))

    def memory_estimate(self, num_tasks: int, replicas: int, rounds: int) -> int:
        """Return about how many bytes of the machine's memory an update takes."""
        questions, encoder = num_tasks * sum(round_sizes(self.family, replicas, rounds)), self.network.encoder
        inputs = input_bytes(encoder, self.config.dtype, questions)
        if self.device != "cpu":
            return inputs
        held = IMAGE_COPIES * encoder.num_activations + self.network.num_activations
        return inputs + round(itemsize(self.config.dtype) * questions * held)

    def loss(self, parameters: Parameters, *data: Tensor) -> Tensor:
        """Return the mean loss of a task's answers; `data` are `Answered.tensors`."""
        seen = Answered.of(*data)
        return self.head.mean_loss(self.network.taught(parameters, seen), seen.targets, seen.mask)

    @cpu_by_default()
    def update(self, trial: Trial, rng: np.random.Generator) -> dict[str, float]:
        """Take a step of Adam on the loss of all rounds of all tasks, and return what to log.

        Raises MetarlError for a gradient that is not finite. The agent is then unchanged.
        """
        with restore_on_error(self.state_dict, self.load_state_dict):
            rounds = [self.network.cut(data) for data in self.reader.read_all(trial.rounds)]
            outputs = [self.network.taught(self.parameters, data) for data in rounds]
            losses = [
                self.head.mean_loss(each, data.targets, data.mask) for each, data in zip(outputs, rounds, strict=True)
            ]
            own = shares([float(self.head.weight(data.targets, data.mask)) for data in rounds])
            shared = [share * each for share, each in zip(own, losses, strict=True)]
            norm = self.adam.descend_loss(torch.stack(shared).mean(), "agent.learning_rate")
        ends = {"return_before": (trial.rounds[0], outputs[0]), "return_after": (trial.rounds[-1], outputs[-1])}
        scores = {name: self.reader.score(each, self.head.best(out)) for name, (each, out) in ends.items()}
        loss = float(torch.stack(losses).mean().detach())
        return {**({} if trial.answered else scores), "loss": loss, "gradient_norm": norm}

    def fit(self, initial: dict[str, Tensor], rounds: list[Answered]) -> dict[str, Tensor]:
        """Return the parameters of each task after fine-tuning on all rounds, [task, ...], from `initial`.

        Raises MetarlError if one is not finite.
        """
        data = join(rounds)
        tuned = fit_tasks(
            self.loss,
            initial,
            self.network.cut(data).tensors,
            optimizer=self.config.fine_tuning.optimizer,
            num_steps=self.config.fine_tuning.num_steps,
            num_activations=data.mask[0].numel() * self.num_activations,
        )
        require_finite(tuned, "fine-tuning", "fine_tuning.learning_rate")
        return tuned

    def start(self, num_tasks: int) -> dict[str, Tensor]:
        """Return the trained parameters for every task, [task, ...]."""
        return {name: value.detach().expand(num_tasks, *value.shape) for name, value in self.parameters.items()}

    def freeze(self, names: Collection[str]) -> None:
        """Keep these parameters as they are in updates. Raises MetarlError for other names."""
        self.adam.freeze(names)

    @cpu_by_default()
    def state_dict(self) -> StateDict:
        """Return the parameters and the optimiser's state."""
        state = {name: value.detach().clone() for name, value in self.parameters.items()}
        return state | self.adam.state_dict()

    @cpu_by_default()
    def load_state_dict(self, state: StateDict) -> None:
        """Restore the result of `state_dict`. Raises MetarlError where names or shapes differ."""
        require_fitting(self.state_dict(), state)
        load_tensors(self.parameters, state)
        self.adam.load_state_dict(state)
