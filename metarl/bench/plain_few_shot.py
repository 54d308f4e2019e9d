"""Few-shot learning as a plain script of PyTorch has it: gradients and a step of Adam on tensors that are ready.

It shares no code with the agents. Nothing here samples, reads or logs: it is what training costs at least as people
write it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

WAYS, SHOTS, QUERIES, SIDE = 5, 1, 15, 28
FILTERS, BLOCKS = 64, 4
FEATURES = FILTERS * 2 * 2
"""Numbers behind four strides of 2 on an image of 28 by 28."""
INNER_LR, LEARNING_RATE = 0.4, 1e-3


class Ready(NamedTuple):
    """Images and labels of a batch of tasks."""

    support: Tensor
    """[task, example, 1, SIDE, SIDE]"""
    labels: Tensor
    """[task, example]"""
    queries: Tensor
    """[task, query, 1, SIDE, SIDE]"""
    asked: Tensor
    """Labels of the queries. [task, query]"""


Parameters = dict[str, Tensor]


def ready(num_tasks: int) -> Ready:
    """Return noise in the shape of images; what they show takes no other time."""
    generator = torch.Generator().manual_seed(0)
    images = torch.rand(num_tasks, WAYS * (SHOTS + QUERIES), 1, SIDE, SIDE, generator=generator)
    support, queries = images.split([WAYS * SHOTS, WAYS * QUERIES], dim=1)
    labels, asked = (torch.arange(WAYS).repeat(num_tasks, each) for each in (SHOTS, QUERIES))
    return Ready(support.contiguous(), labels, queries.contiguous(), asked)


def convolutions() -> Parameters:
    """Return fresh parameters of four convolutions of 64 filters."""
    generator, parameters = torch.Generator().manual_seed(0), {}
    for block in range(BLOCKS):
        inputs = FILTERS if block else 1
        drawn = torch.randn(FILTERS, inputs, 3, 3, generator=generator) * (2 / (9 * inputs)) ** 0.5
        parameters[f"weight{block}"] = drawn.requires_grad_(True)
        parameters[f"bias{block}"] = torch.zeros(FILTERS, requires_grad=True)
    return parameters


def classifier() -> Parameters:
    """Return fresh parameters of the convolutions and of a linear layer behind them."""
    weight = torch.randn(WAYS, FEATURES, generator=torch.Generator().manual_seed(1)) * 0.1
    return {**convolutions(), "weight": weight.requires_grad_(True), "bias": torch.zeros(WAYS, requires_grad=True)}


def features(parameters: Parameters, images: Tensor) -> Tensor:
    """Return features [image, FEATURES] of images [image, 1, SIDE, SIDE]."""
    x = images
    for block in range(BLOCKS):
        x = F.relu(F.conv2d(x, parameters[f"weight{block}"], parameters[f"bias{block}"], stride=2, padding=1))
    return x.flatten(1)


def logits(parameters: Parameters, images: Tensor) -> Tensor:
    """Return logits [image, WAYS]."""
    return F.linear(features(parameters, images), parameters["weight"], parameters["bias"])


def prototypes_loss(parameters: Parameters, data: Ready) -> Tensor:
    """Return the loss of Prototypical Networks: minus the squared distance over the number of features as logits."""
    tasks = len(data.support)
    points = features(parameters, torch.cat([data.support, data.queries], dim=1).flatten(0, 1)).view(
        tasks, -1, FEATURES
    )
    support, queries = points.split([WAYS * SHOTS, WAYS * QUERIES], dim=1)
    # Examples come class after class, one shot after the other.
    prototypes = support.view(tasks, SHOTS, WAYS, FEATURES).mean(1)
    distances = torch.cdist(queries, prototypes).square() / FEATURES
    return F.cross_entropy(-distances.flatten(0, 1), data.asked.flatten())


def adapted_loss(parameters: Parameters, support: Tensor, labels: Tensor, queries: Tensor, asked: Tensor) -> Tensor:
    """Return the loss of a task's queries after a step on its examples, for transforms of torch.func."""
    inner = torch.func.grad(lambda values: F.cross_entropy(logits(values, support), labels))(parameters)
    adapted = {name: value - INNER_LR * inner[name] for name, value in parameters.items()}
    return F.cross_entropy(logits(adapted, queries), asked)


def looped_loss(parameters: Parameters, support: Tensor, labels: Tensor, queries: Tensor, asked: Tensor) -> Tensor:
    """Return the same with autograd's own graph."""
    inner = F.cross_entropy(logits(parameters, support), labels)
    gradients = torch.autograd.grad(inner, list(parameters.values()), create_graph=True)
    adapted = {name: v - INNER_LR * g for (name, v), g in zip(parameters.items(), gradients, strict=True)}
    return F.cross_entropy(logits(adapted, queries), asked)


def prototypes_gradient(parameters: Parameters, data: Ready) -> None:
    """Add the gradient of Prototypical Networks to that of the parameters."""
    prototypes_loss(parameters, data).backward()


def maml_gradient(parameters: Parameters, data: Ready) -> None:
    """Add the second-order gradient of MAML, with all tasks in one vmapped call, as the documentation of torch.func."""
    torch.vmap(adapted_loss, in_dims=(None, 0, 0, 0, 0))(parameters, *data).mean().backward()


def looped_maml_gradient(parameters: Parameters, data: Ready) -> None:
    """Add the second-order gradient of MAML, one task after the other."""
    for task in zip(*data, strict=True):
        (looped_loss(parameters, *task) / len(data.support)).backward()


def steps(gradient: Callable[[], object], parameters: list[Tensor]) -> Callable[[int], None]:
    """Return a function of the step's number that takes a step of Adam on what `gradient` adds to the parameters."""
    adam = torch.optim.Adam(parameters, lr=LEARNING_RATE)

    def step(number: int) -> None:
        adam.zero_grad()
        gradient()
        adam.step()

    return step
