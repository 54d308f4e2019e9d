"""What adapts to a task, and how far a step goes: each a small object that a gradient-based agent is composed of.

Parameters come as dicts of tensors by name. *Meta-parameters* are what meta-training improves; *fast* ones are what an
inner step moves, one set for each task; from both follow the parameters that the policy runs with.
"""

from __future__ import annotations

from typing import Protocol

import torch
from torch import Tensor

from ..common.policy import CONTEXT, MLPPolicy, Parameters

LEARNED_RATE = "inner_lr."
"""Begins the names of learned step sizes among the meta-parameters."""


class Adaptation(Protocol):
    """What an inner step changes."""

    def meta_parameters(self, policy: dict[str, Tensor], generator: torch.Generator) -> dict[str, Tensor]:
        """Return the initial meta-parameters, given those of the policy."""
        ...

    def start(self, meta: Parameters) -> dict[str, Tensor]:
        """Return the fast parameters that every task begins with."""
        ...

    def policy(self, meta: Parameters, fast: Parameters) -> Parameters:
        """Return what the policy runs with."""
        ...


class Subset:
    """Some of the policy's own parameters adapt from where meta-training left them.

    All of them: MAML (Finn et al., 2017). The last layer: ANIL (Raghu et al., ICLR 2020). None: a policy that does not
    adapt.
    """

    def __init__(self, names: tuple[str, ...]) -> None:
        self.names = names

    def meta_parameters(self, policy: dict[str, Tensor], generator: torch.Generator) -> dict[str, Tensor]:
        """Return the policy's parameters."""
        return policy

    def start(self, meta: Parameters) -> dict[str, Tensor]:
        """Return those that adapt."""
        return {name: meta[name] for name in self.names}

    def policy(self, meta: Parameters, fast: Parameters) -> Parameters:
        """Return all parameters, the adapted ones in their place."""
        return {**meta, **fast}


class Context:
    """A context vector beside the observations adapts, from zero; the network is shared (CAVIA, Zintgraf et al., 2019)."""

    def __init__(self, size: int) -> None:
        self.size = size

    def meta_parameters(self, policy: dict[str, Tensor], generator: torch.Generator) -> dict[str, Tensor]:
        """Return the policy's parameters: the vector itself is not meta-learned."""
        return policy

    def start(self, meta: Parameters) -> dict[str, Tensor]:
        """Return zeros, [size]."""
        return {CONTEXT: next(iter(meta.values())).new_zeros(self.size)}

    def policy(self, meta: Parameters, fast: Parameters) -> Parameters:
        """Return the network and the context."""
        return {**meta, **fast}


START, DECODER = "latent.start", "latent.decoder."


class Latent:
    """A vector of few numbers adapts, decoded linearly into an offset of every parameter of the policy.

    After LEO (Rusu et al., ICLR 2019), of which it has the low-dimensional space that adaptation moves in and the
    learned decoder. Not its encoder: the vector begins at a learned place, and the first round's gradient moves it.
    """

    def __init__(self, size: int) -> None:
        self.size = size

    def meta_parameters(self, policy: dict[str, Tensor], generator: torch.Generator) -> dict[str, Tensor]:
        """Return the policy's parameters, the decoder and the vector's start, zero."""
        total = sum(value.numel() for value in policy.values())
        # So that a step is as long as one on the parameters themselves: |D D^T g| is about scale^2 sqrt(size total) |g|.
        scale = (self.size * total) ** -0.25
        decoder = {
            f"{DECODER}{name}": scale
            * torch.randn(*value.shape, self.size, generator=generator, dtype=torch.float64).to(value)
            for name, value in policy.items()
        }
        return {**policy, **decoder, START: next(iter(policy.values())).new_zeros(self.size)}

    def start(self, meta: Parameters) -> dict[str, Tensor]:
        """Return the learned start, [size]."""
        return {START: meta[START]}

    def policy(self, meta: Parameters, fast: Parameters) -> Parameters:
        """Return the policy's parameters, moved by what the vector decodes to."""
        return {
            name.removeprefix(DECODER): meta[name.removeprefix(DECODER)] + decoder @ fast[START]
            for name, decoder in meta.items()
            if name.startswith(DECODER)
        }


def adaptation(what: str, policy: MLPPolicy, names: tuple[str, ...], latent_size: int) -> Adaptation:
    """Return what adapts by its name in a config; `names` are those of the policy's parameters."""
    made: dict[str, Adaptation] = {
        "all": Subset(names),
        "last-layer": Subset(policy.last_layer),
        "nothing": Subset(()),
        "context": Context(policy.context_size),
        "latent": Latent(latent_size),
    }
    return made[what]


class StepSize(Protocol):
    """How far an inner step goes."""

    def meta_parameters(self, fast: Parameters) -> dict[str, Tensor]:
        """Return the initial step sizes that are learned, by name."""
        ...

    def step(self, meta: Parameters, fast: Parameters, gradients: Parameters) -> dict[str, Tensor]:
        """Return the fast parameters after a step down their gradients."""
        ...


class Fixed:
    """One step size for everything, never learned."""

    def __init__(self, rate: float) -> None:
        self.rate = rate

    def meta_parameters(self, fast: Parameters) -> dict[str, Tensor]:
        """Return nothing."""
        return {}

    def step(self, meta: Parameters, fast: Parameters, gradients: Parameters) -> dict[str, Tensor]:
        """Return fast - rate * gradient."""
        return {name: value - self.rate * gradients[name] for name, value in fast.items()}


class Learned:
    """Step sizes among the meta-parameters: one for each tensor, or for each of its elements.

    For each element it is Meta-SGD (Li et al., 2017). They are free to turn negative, as there.
    """

    def __init__(self, rate: float, *, elementwise: bool) -> None:
        self.rate, self.elementwise = rate, elementwise

    def meta_parameters(self, fast: Parameters) -> dict[str, Tensor]:
        """Return the same step size everywhere."""
        return {
            f"{LEARNED_RATE}{name}": value.new_full(value.shape if self.elementwise else (), self.rate)
            for name, value in fast.items()
        }

    def step(self, meta: Parameters, fast: Parameters, gradients: Parameters) -> dict[str, Tensor]:
        """Return fast - rates * gradient."""
        return {name: value - meta[f"{LEARNED_RATE}{name}"] * gradients[name] for name, value in fast.items()}


def step_size(kind: str, rate: float) -> StepSize:
    """Return the step size by its name in a config."""
    return Fixed(rate) if kind == "fixed" else Learned(rate, elementwise=kind == "per-parameter")


def norm_of(tensors: Parameters) -> Tensor:
    """Return the Euclidean norm of all tensors together."""
    if not tensors:
        return torch.zeros(())
    return torch.stack([value.square().sum() for value in tensors.values()]).sum().sqrt()
