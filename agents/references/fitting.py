"""Fitting the network of each task to its own examples by Adam, all tasks in one vmapped call."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from ..common.policy import Parameters
from ..supervised.objective import Answered

CHUNK_FLOATS = 2**24
"""Numbers that the tasks of one chunk may hold at a time."""
COPIES = 5
"""Numbers held of each parameter: itself, where it began, its gradient, and Adam's two moments."""


def join(rounds: Sequence[Answered]) -> Answered:
    """Return several rounds as one, in their order in time."""
    return Answered(*(torch.cat(parts, dim=1) for parts in zip(*rounds, strict=True)))


def chunk_size(parameters: Parameters, num_activations: int) -> int:
    """Return the tasks of a chunk, given parameters [task, ...] and the floats that a gradient holds of one task."""
    return max(1, CHUNK_FLOATS // (num_activations + COPIES * sum(value[0].numel() for value in parameters.values())))


def fit_tasks(
    loss: Callable[..., Tensor],
    initial: Parameters,
    data: tuple[Tensor, ...],
    *,
    learning_rate: float,
    num_steps: int,
    num_activations: int,
) -> dict[str, Tensor]:
    """Return the parameters of each task after `num_steps` steps of Adam on its own loss, [task, ...].

    `loss(parameters, *data)` is that of one task. `initial` and `data` have the axis of tasks in front. Tasks go in
    chunks; `num_activations` are the floats that a gradient holds of one task, beside its parameters. Adam's step is
    one of each number by itself, so that one optimiser for many tasks is one for each of them.
    """
    count, size = len(data[0]), chunk_size(initial, num_activations)
    fitted: dict[str, list[Tensor]] = {name: [] for name in initial}
    for start in range(0, count, size):
        chunk = slice(start, start + size)
        parameters = {name: value[chunk].detach().clone().requires_grad_(True) for name, value in initial.items()}
        _descend(loss, parameters, tuple(each[chunk] for each in data), learning_rate, num_steps)
        for name, value in parameters.items():
            fitted[name].append(value.detach())
    return {name: torch.cat(parts) for name, parts in fitted.items()}


def _descend(
    loss: Callable[..., Tensor],
    parameters: dict[str, Tensor],
    data: tuple[Tensor, ...],
    learning_rate: float,
    num_steps: int,
) -> None:
    """Move the parameters of a chunk of tasks, in place."""
    optimizer = torch.optim.Adam(list(parameters.values()), lr=learning_rate)
    with torch.enable_grad():
        for _ in range(num_steps):
            losses = torch.vmap(loss)(parameters, *data)
            gradients = torch.autograd.grad(losses.sum(), list(parameters.values()))
            for parameter, gradient in zip(parameters.values(), gradients, strict=True):
                parameter.grad = gradient
            optimizer.step()
