"""Step sizes of the inner step: fixed, or learned among the meta-parameters."""

from __future__ import annotations

from typing import Literal, Protocol

from torch import Tensor

from ..common.policy import Parameters

LEARNED_RATE = "inner_lr."
"""Prefix of the names of learned step sizes among the meta-parameters."""

StepSizeKind = Literal["fixed", "learned", "per-parameter"]
"""One fixed step size; one learned for each tensor of parameters; or one learned for each parameter."""


class StepSize(Protocol):
    """Scales the gradient of an inner step."""

    def meta_parameters(self, fast: Parameters) -> dict[str, Tensor]:
        """Return the initial values of the learned step sizes, by name."""
        ...

    def step(self, meta: Parameters, fast: Parameters, gradients: Parameters) -> dict[str, Tensor]:
        """Return the fast parameters after one step down their gradients."""
        ...


class Fixed:
    """One step size for all parameters, never learned."""

    def __init__(self, rate: float) -> None:
        self.rate = rate

    def meta_parameters(self, fast: Parameters) -> dict[str, Tensor]:
        """Return nothing."""
        return {}

    def step(self, meta: Parameters, fast: Parameters, gradients: Parameters) -> dict[str, Tensor]:
        """Return fast - rate * gradient."""
        return {name: value - self.rate * gradients[name] for name, value in fast.items()}


class Learned:
    """Step sizes among the meta-parameters: one for each tensor, or one for each element of each tensor.

    One for each element is Meta-SGD (Li et al., 2017). As there, they may turn negative.
    """

    def __init__(self, rate: float, *, elementwise: bool) -> None:
        self.rate, self.elementwise = rate, elementwise

    def meta_parameters(self, fast: Parameters) -> dict[str, Tensor]:
        """Return the same initial step size for every parameter."""
        return {
            f"{LEARNED_RATE}{name}": value.new_full(value.shape if self.elementwise else (), self.rate)
            for name, value in fast.items()
        }

    def step(self, meta: Parameters, fast: Parameters, gradients: Parameters) -> dict[str, Tensor]:
        """Return fast - rates * gradient."""
        return {name: value - meta[f"{LEARNED_RATE}{name}"] * gradients[name] for name, value in fast.items()}


def make_step_size(kind: StepSizeKind, rate: float) -> StepSize:
    """Return the step size of a kind; `rate` is its value, or its initial value if it is learned."""
    return Fixed(rate) if kind == "fixed" else Learned(rate, elementwise=kind == "per-parameter")
