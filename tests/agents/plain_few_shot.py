"""Prototypical Networks and MAML on images, written again as plainly as they can be, for tests to compare with.

It shares no code with the agents: a sampler of its own, networks of `nn.Module`, loops over tasks, and autograd.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn import functional as F


class Episode(NamedTuple):
    """A task: examples and queries with their labels. Images are [image, 1, side, side] from 0 to 1."""

    support: Tensor
    support_labels: Tensor
    queries: Tensor
    query_labels: Tensor


def draw_episode(
    classes: Sequence[np.ndarray], rng: np.random.Generator, ways: int, shots: int, queries: int
) -> Episode:
    """Return a task of `ways` of the classes, each of which is an array uint8 [image, side, side]."""
    support, asked = [], []
    for place in rng.choice(len(classes), ways, replace=False):
        images = classes[place]
        chosen = images[rng.choice(len(images), shots + queries, replace=False)]
        scaled = torch.as_tensor(chosen, dtype=torch.get_default_dtype())[:, None] / 255
        support.append(scaled[:shots])
        asked.append(scaled[shots:])
    labels = torch.arange(ways)
    return Episode(
        torch.cat(support), labels.repeat_interleave(shots), torch.cat(asked), labels.repeat_interleave(queries)
    )


class Convolutions(nn.Module):
    """Four convolutions of 3 by 3 with strides of 2, each with a relu, and a linear layer if there are outputs."""

    def __init__(self, filters: int, side: int, outputs: int = 0) -> None:
        super().__init__()
        inputs, layers = 1, list[nn.Module]()
        for _ in range(4):
            convolution = nn.Conv2d(inputs, filters, 3, stride=2, padding=1)
            nn.init.kaiming_uniform_(convolution.weight, nonlinearity="relu")
            nn.init.zeros_(convolution.bias)
            layers += [convolution, nn.ReLU()]
            inputs, side = filters, (side + 1) // 2
        self.features = filters * side * side
        layers.append(nn.Flatten())
        if outputs:
            layers.append(nn.Linear(self.features, outputs))
            nn.init.xavier_uniform_(layers[-1].weight)
            nn.init.zeros_(layers[-1].bias)
        self.layers = nn.Sequential(*layers)

    def forward(self, images: Tensor) -> Tensor:
        return self.layers(images)


class PrototypeNetwork(nn.Module):
    """Classes by the nearest mean of their examples (Snell et al., 2017), with a learned scale of the distance."""

    def __init__(self, filters: int, side: int) -> None:
        super().__init__()
        self.embedding = Convolutions(filters, side)
        self.log_scale = nn.Parameter(torch.tensor(-math.log(self.embedding.features)))

    def logits(self, episode: Episode) -> Tensor:
        points = self.embedding(episode.support)
        classes = range(int(episode.support_labels.max()) + 1)
        means = torch.stack([points[episode.support_labels == label].mean(dim=0) for label in classes])
        queries = self.embedding(episode.queries)
        squares = ((queries[:, None] - means[None]) ** 2).sum(dim=-1)
        return -self.log_scale.exp() * squares


class MAMLNetwork(nn.Module):
    """One gradient step on the examples, and answers after it (Finn et al., 2017), with gradients of second order."""

    def __init__(self, filters: int, side: int, ways: int, inner_lr: float) -> None:
        super().__init__()
        self.network, self.inner_lr = Convolutions(filters, side, ways), inner_lr

    def logits(self, episode: Episode) -> Tensor:
        weights = dict(self.network.named_parameters())
        with torch.enable_grad():
            loss = F.cross_entropy(functional_call(self.network, weights, episode.support), episode.support_labels)
            gradients = torch.autograd.grad(loss, list(weights.values()), create_graph=True)
        moved = {
            name: weight - self.inner_lr * gradient
            for (name, weight), gradient in zip(weights.items(), gradients, strict=True)
        }
        return functional_call(self.network, moved, episode.queries)


Learner = PrototypeNetwork | MAMLNetwork


def loss_of(model: Learner, episodes: Sequence[Episode]) -> Tensor:
    """Return the mean cross-entropy of the queries, over tasks."""
    return torch.stack([F.cross_entropy(model.logits(each), each.query_labels) for each in episodes]).mean()


def train(
    model: Learner, draw: Callable[[], Episode], num_updates: int, meta_batch_size: int, learning_rate: float = 1e-3
) -> None:
    """Take steps of Adam, each on the mean loss of a meta-batch."""
    optimizer = torch.optim.Adam(model.parameters(), lr=learning_rate)
    for _ in range(num_updates):
        loss = loss_of(model, [draw() for _ in range(meta_batch_size)])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()


def accuracies(model: Learner, episodes: Sequence[Episode]) -> np.ndarray:
    """Return the share of right answers in each task."""
    found = []
    with torch.no_grad():
        for each in episodes:
            found.append(float((model.logits(each).argmax(dim=-1) == each.query_labels).double().mean()))
    return np.array(found)
