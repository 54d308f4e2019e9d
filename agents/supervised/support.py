"""What a head is made from: the features and right answers that a task has shown so far."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple, Protocol

import torch
from torch import Tensor

from ..common.over_ranks import TaskNoise
from ..common.policy import Parameters


class Support(NamedTuple):
    """Answered questions of a batch of tasks, those of all replicas and of all rounds so far."""

    features: Tensor
    """[task, question, size]; [task, question, cell, size] of maps"""
    focus: Tensor
    """Features of what the right answer is about: all of them, or of a map their mean in the box.
    [task, question, size]"""
    answers: Tensor
    """Right answers as numbers: one-hot vectors of classes. [task, question, num_own]"""
    targets: Tensor
    """Right answers. [task, question, *target]"""
    mask: Tensor
    """One for a question that was asked, else zero. [task, question]"""


class Fitted(NamedTuple):
    """A head for each task."""

    weights: Tensor
    """[task, num_own, size] of linear heads; what else a head is made of, [task, ...]."""
    penalty: Tensor
    """What is added to the loss of an update."""
    metrics: dict[str, Tensor]
    """What to log of an update."""


class TaskHead(Protocol):
    """Makes a head from the support of a task."""

    def initial_parameters(self, generator: torch.Generator) -> dict[str, Tensor]:
        """Return fresh meta-parameters of the head in float64."""
        ...

    def fit(self, parameters: Parameters, support: Support, noise: TaskNoise | None) -> Fitted:
        """Return the head of each task. `noise` draws what an update samples; None samples nothing."""
        ...

    def num_held(self, known: int, asked: int) -> int:
        """Return about how many numbers an update holds of a task: of a head made from `known`, put to `asked`."""
        ...

    def outputs(self, parameters: Parameters, weights: Tensor, features: Tensor) -> Tensor:
        """Return outputs [task, question, num_outputs] of features [task, question, size]; cell by cell of maps."""
        ...


def linear(features: Tensor, weights: Tensor) -> Tensor:
    """Return features [task, ..., size] times the heads of their tasks [task, n, size], [task, ..., n]."""
    flat = features.flatten(1, -2) @ weights.transpose(1, 2)
    return flat.unflatten(1, features.shape[1:-1])


def join(supports: Sequence[Support]) -> Support:
    """Return several rounds as one."""
    return Support(*(torch.cat(parts, dim=1) for parts in zip(*supports, strict=True)))


def means(metrics: Mapping[str, Tensor]) -> dict[str, float]:
    """Return metrics as numbers."""
    return {name: float(value.detach().mean()) for name, value in metrics.items()}
