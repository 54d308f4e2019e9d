"""Functions of a task, computed for one task after the other, on several threads at a time; and their gradients."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import torch
from torch import Tensor

from metarl.base.threads import cpu_by_default, one_thread

from ..common.policy import Parameters

Loss = Callable[..., tuple[Tensor, Any]]
"""A function of parameters and more, which returns a loss and what else is wanted."""
GradientOf = Callable[[Loss], Callable[..., tuple[dict[str, Tensor], Any]]]
"""Makes a loss a function that returns its gradient by the parameters, and what else the loss returns."""


def map_one_by_one(
    function: Callable[..., Any], shared: Sequence[bool], arguments: Sequence[Any], at_once: Callable[[int], int]
) -> Any:
    """Return what torch.vmap gives of a function of one task, without gradients.

    Arguments and results are tensors, in mappings and tuples of any depth. All have an axis of tasks in front but the
    arguments that are `shared`; the last is not. `at_once` says for a number of tasks how many threads compute them,
    each a task at a time. Their number changes no result.
    """
    num_tasks = len(_first_tensor(arguments[-1]))

    def of_task(task: int) -> Any:
        given = zip(arguments, shared, strict=True)
        own = [each if same else _over_tensors(lambda values: values[task], each) for each, same in given]
        with cpu_by_default(), torch.no_grad():  # settings of a thread
            return function(*own)

    threads = at_once(num_tasks)
    with one_thread():
        if threads == 1:
            results = [of_task(task) for task in range(num_tasks)]
        else:
            with ThreadPoolExecutor(threads) as pool:
                results = list(pool.map(of_task, range(num_tasks)))
    return _over_tensors(lambda *each: torch.stack(each), *results)


def functional_gradient(loss: Loss) -> Callable[..., tuple[dict[str, Tensor], Any]]:
    """Return torch.func.grad of a loss, which works within vmap and within another gradient."""
    gradient: Callable[..., tuple[dict[str, Tensor], Any]] = torch.func.grad(loss, has_aux=True)
    return gradient


def gradient_of_one(loss: Loss) -> Callable[..., tuple[dict[str, Tensor], Any]]:
    """Return what torch.func.grad gives with `has_aux`: the gradient of a loss by the parameters, and the rest.

    It is autograd's own, which takes less time for what is not within vmap or another gradient.
    """

    def gradient(parameters: Parameters, *given: Any) -> tuple[dict[str, Tensor], Any]:
        with torch.enable_grad():
            own = {name: value.detach().requires_grad_(True) for name, value in parameters.items()}
            value, rest = loss(own, *given)
            found = torch.autograd.grad(value, list(own.values()), allow_unused=True, materialize_grads=True)
        # The graph goes with the task: as many as are computed at once are held.
        return dict(zip(own, found, strict=True)), _over_tensors(torch.detach, rest)

    return gradient


def _first_tensor(tree: Any) -> Tensor:
    while not isinstance(tree, Tensor):
        tree = next(iter(tree.values() if isinstance(tree, Mapping) else tree))
    return tree


def _over_tensors(function: Callable[..., Tensor], *trees: Any) -> Any:
    """Return a tree like the first, with `function` of the tensors at the same place of all."""
    first = trees[0]
    if isinstance(first, Tensor):
        return function(*trees)
    if isinstance(first, Mapping):
        return {name: _over_tensors(function, *(tree[name] for tree in trees)) for name in first}
    parts = [_over_tensors(function, *each) for each in zip(*trees, strict=True)]
    return type(first)(*parts) if hasattr(first, "_fields") else tuple(parts)
