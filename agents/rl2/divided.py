"""An RL^2 network that processes divide among them: its state, its gradient and its optimiser."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from torch import Tensor

from metarl.base.errors import MetarlError
from metarl.base.ranks import TENSOR

from ..common.adam import MOMENTS, Adam
from ..common.over_ranks import sum_over_ranks
from ..common.state import StateDict
from ..memories.sharding import Sharding, require_divisible

if TYPE_CHECKING:
    from torch.distributed.device_mesh import DeviceMesh

    from .network import RecurrentNetwork


def divide(network: RecurrentNetwork, memory: str, optimizer: Adam, mesh: DeviceMesh) -> tuple[Sharding, Adam]:
    """Divide the layers of a network's memory, called `memory`, and their part of the optimiser.

    Raises MetarlError where they cannot be.
    """
    layers = network.memory.divisible
    if not layers:
        raise MetarlError(f"the memory {memory!r} cannot be divided; take transformer, linear or associative")
    require_divisible(layers, mesh[TENSOR].size())
    slots = {name: optimizer.state.pop(parameter, {}) for name, parameter in network.named_parameters()}
    sharding = Sharding(network, layers, mesh)
    # Parameters lie on several meshes, which torch's joint loops over them refuse.
    own = Adam(sharding.parameters.values(), optimizer.learning_rate, foreach=False)
    for name, parameter in sharding.parameters.items():
        if whole := slots.pop(name):
            moments = {slot: sharding.part(f"optimizer.{name}.{slot}", whole[slot], parameter) for slot in MOMENTS}
            own.state[parameter] = {**moments, "step": whole["step"]}
    return sharding, own


def whole_state(sharding: Sharding, held: Mapping[str, Tensor]) -> StateDict:
    """Return the state of all processes together."""
    return {name: sharding.whole(name, value) for name, value in held.items()}


def own_state(sharding: Sharding, state: Mapping[str, Tensor], held: Mapping[str, Tensor]) -> StateDict:
    """Return this process's part of a whole state; `held` is the one to take the place of."""
    return {name: sharding.part(name, value, held[name]) for name, value in state.items()}


def descend(sharding: Sharding, optimizer: Adam, loss: Tensor, max_norm: float) -> float:
    """Take a step on a loss that is summed over processes with other tasks, and return the gradient's norm.

    The step is not taken where the norm is not finite.
    """
    optimizer.zero_grad()
    loss.backward()
    parameters = list(sharding.parameters.values())
    apart = [parameter for parameter in parameters if not sharding.is_summed(parameter)]
    sums = sum_over_ranks([gradient for parameter in apart if (gradient := parameter.grad) is not None])
    for parameter, gradient in zip(apart, sums, strict=True):
        parameter.grad = gradient
    gradients = [gradient for parameter in parameters if (gradient := parameter.grad) is not None]
    norm = sharding.norm(gradients)
    # As nn.utils.clip_grad_norm_, which refuses gradients of several meshes.
    for gradient in gradients:
        gradient.mul_(min(1.0, max_norm / (norm + 1e-6)))
    if norm < float("inf"):
        optimizer.step()
    return norm
