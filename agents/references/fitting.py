"""Fitting the network of each task to its own examples, all tasks in one vmapped call."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor

from metarl.base.errors import MetarlError
from metarl.base.threads import acting, cpu_by_default
from metarl.trials.agent import AnsweringLearner
from metarl.trials.episodes import Episodes

from ..common.adam import SGD, Adam
from ..common.policy import Parameters
from ..supervised.answered import Answered
from ..supervised.answers import Scoring, question_first
from ..supervised.network import AnsweringNetwork
from ..supervised.reader import Reader

CHUNK_FLOATS = 2**24
"""Numbers that the tasks of one chunk may hold at a time."""
COPIES = 5
"""Numbers held of each parameter: itself, where it began, its gradient, and Adam's two moments."""


def join(rounds: Sequence[Answered]) -> Answered:
    """Return several rounds as one, in their order in time."""
    return Answered.of(*(torch.cat(parts, dim=1) for parts in zip(*(each.tensors for each in rounds), strict=True)))


def chunk_size(parameters: Parameters, num_activations: int) -> int:
    """Return the tasks of a chunk, given parameters [task, ...] and the floats that a gradient holds of one task."""
    return max(1, CHUNK_FLOATS // (num_activations + COPIES * sum(value[0].numel() for value in parameters.values())))


def fit_tasks(
    loss: Callable[..., Tensor],
    initial: Parameters,
    data: tuple[Tensor, ...],
    *,
    optimizer: Callable[[list[Tensor]], Adam | SGD],
    num_steps: int,
    num_activations: int,
) -> dict[str, Tensor]:
    """Return the parameters of each task after `num_steps` steps on its own loss, [task, ...].

    `loss(parameters, *data)` is that of one task. `initial` and `data` have the axis of tasks in front. Tasks go in
    chunks; `num_activations` are the floats that a gradient holds of one task, beside its parameters. `optimizer`
    makes an optimiser such as Adam, whose step is one of each number by itself, so that one for many tasks is one for
    each of them.
    """
    count, size = len(data[0]), chunk_size(initial, num_activations)
    fitted: dict[str, list[Tensor]] = {name: [] for name in initial}
    for start in range(0, count, size):
        chunk = slice(start, start + size)
        parameters = {name: value[chunk].detach().clone().requires_grad_(True) for name, value in initial.items()}
        own = tuple(each[chunk] for each in data)
        _descend(loss, parameters, own, optimizer(list(parameters.values())), num_steps)
        for name, value in parameters.items():
            fitted[name].append(value.detach())
    return {name: torch.cat(parts) for name, parts in fitted.items()}


def _descend(
    loss: Callable[..., Tensor],
    parameters: dict[str, Tensor],
    data: tuple[Tensor, ...],
    optimizer: Adam | SGD,
    num_steps: int,
) -> None:
    """Move the parameters of a chunk of tasks, in place."""
    with torch.enable_grad():
        for _ in range(num_steps):
            losses = torch.vmap(loss)(parameters, *data)
            gradients = torch.autograd.grad(losses.sum(), list(parameters.values()))
            for parameter, gradient in zip(parameters.values(), gradients, strict=True):
                parameter.grad = gradient
            optimizer.step()


def require_finite(trained: Parameters, what: str, setting: str) -> None:
    """Raise MetarlError, which names a `setting` to lower, where a parameter [task, ...] is not finite."""
    wrong = ~torch.stack([value.isfinite().flatten(1).all(1) for value in trained.values()]).all(0)
    if wrong.any():
        raise MetarlError(
            f"{what} is not finite in {int(wrong.sum())} of {len(wrong)} tasks; take a lower agent.{setting}"
        )


class TrainedTasks:
    """A network with parameters [task, ...] of every task, `chunk_size` tasks at a time."""

    def __init__(self, network: AnsweringNetwork, parameters: Parameters, chunk_size: int) -> None:
        self.network, self.parameters, self.chunk_size = network, parameters, chunk_size

    def outputs(self, numbers: Tensor, raw: Tensor) -> Tensor:
        """Return the outputs [task, time, ..., n] of one pass."""
        found: Tensor = self.run(self.network, numbers, raw)
        return found

    def run(self, function: Callable[..., Any], *arguments: Any) -> Any:
        """Return `function(parameters, *arguments)` of every task."""
        return torch.vmap(function, chunk_size=self.chunk_size)(self.parameters, *arguments)


class Fitting(Protocol):
    """An agent that fits a network to each task."""

    network: AnsweringNetwork
    head: Scoring
    reader: Reader
    num_activations: int

    def fit(self, initial: dict[str, Tensor], rounds: list[Answered]) -> dict[str, Tensor]:
        """Return the parameters of each task, fitted to all rounds from `initial`, [task, ...]."""
        ...


class FittedLearner(AnsweringLearner):
    """A network for each task, fitted anew from where it began to all right answers after each round."""

    def __init__(self, agent: Fitting, initial: dict[str, Tensor]) -> None:
        self.agent, self.initial, self.parameters = agent, initial, initial
        self.shown: list[Episodes] = []
        self.rounds: list[Answered] = []

    def answer(self, observations: np.ndarray, *, deterministic: bool) -> np.ndarray:
        """Return the best answers of each task's own network, [question, task, replica, *action]."""
        agent = self.agent
        with acting():
            numbers, raw = agent.reader.observe(observations, self.shown)
            size = chunk_size(self.parameters, len(observations) * observations.shape[2] * agent.num_activations)
            outputs = agent.network.free(TrainedTasks(agent.network, self.parameters, size), numbers, raw)
            self.confidences = question_first(agent.head.confidence(outputs))
            return np.moveaxis(agent.head.best(outputs), 0, 1)

    @cpu_by_default()
    def adapt(self, episodes: Episodes) -> None:
        """Fit the networks. Raises MetarlError for one that is not finite."""
        self.shown.append(episodes)
        self.rounds.append(self.agent.reader.read(episodes, self.shown))
        self.parameters = self.agent.fit(self.initial, self.rounds)
