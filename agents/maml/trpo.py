"""TRPO as the meta-step of MAML: a natural-gradient step on the unclipped surrogate after adaptation."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection
from typing import Annotated, ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor

from metarl.base.errors import MetarlError
from metarl.base.settings import Count, Positive

from ..common.policy import Parameters
from ..common.state import StateDict
from .meta_step import AGREEMENT, MetaGradientConfig, Problem, mean_gradient, mean_values, require_finite
from .outer_objectives import OuterObjective, ratio_objective
from .records import Round


class TRPOConfig(MetaGradientConfig):
    """One natural-gradient step per trial, with a bound on the KL."""

    name: Literal["trpo"] = "trpo"
    """Trust region policy optimization."""
    max_kl: Positive = 0.01
    """Largest outer KL of a step, in nats."""
    cg_iterations: Count = 10
    """Iterations of conjugate gradient."""
    cg_damping: Annotated[float, Field(ge=0)] = 1e-2
    """Multiple of the identity added to the Hessian of the KL."""
    line_search_steps: Count = 15
    """Step lengths to try, each 0.8 times the one before."""

    inner_kl_coef: ClassVar[float] = 0.0
    ent_coef: ClassVar[float] = 0.0


class TRPOStep:
    """Takes one natural-gradient step, shortened until the loss is lower and the KL within its bound.

    Schulman et al., ICML 2015. As in MAML's own code, the KL is that of the adapted policies, and its Hessian is taken
    through the adaptation.
    """

    length_setting: ClassVar[str] = "max_kl"

    def __init__(self, config: TRPOConfig) -> None:
        self.objective: OuterObjective = ratio_objective
        self.config = config

    def __call__(self, problem: Problem, rounds: tuple[Round, ...]) -> dict[str, float]:
        """Take the step, or none if no length helps: `step_fraction` is then 0."""
        gradients, before = problem.task_gradients(rounds)
        require_finite(before, gradients, "TRPO", self.length_setting)
        gradient, seen = mean_gradient(gradients, loss=before.loss, deviation=before.ratio_deviation)
        product = problem.kl_products(rounds, self.config.cg_damping)
        direction = conjugate_gradient(product, gradient, self.config.cg_iterations)
        curvature = _dot(direction, product(direction))
        if not math.isfinite(curvature + _dot(gradient, product(gradient))):
            raise MetarlError(
                f"TRPO: the curvature of the KL is {curvature}; take a lower agent.inner_lr, or a higher "
                "agent.outer.cg_damping"
            )
        length = math.sqrt(2 * self.config.max_kl / curvature) if curvature > 0 else 0.0
        fraction = self._line_search(problem, rounds, direction, length, seen["loss"]) if length > 0 else 0.0
        return {
            "loss": seen["loss"],
            "gradient_norm": math.sqrt(_dot(gradient, gradient)),
            "first_ratio_deviation": seen["deviation"],
            AGREEMENT: seen[AGREEMENT],
            "step_fraction": fraction,
        }

    def _line_search(
        self, problem: Problem, rounds: tuple[Round, ...], direction: Parameters, length: float, loss: float
    ) -> float:
        """Move the parameters as far as the loss and the bound allow, and return the fraction of the full step."""
        for cut in range(self.config.line_search_steps):
            fraction = 0.8**cut
            candidate = {
                name: parameter.detach() - fraction * length * direction[name]
                for name, parameter in problem.parameters.items()
            }
            outcome = problem.outcomes(candidate, rounds)
            found = mean_values(loss=outcome.loss, kl=outcome.kl)
            # Both comparisons are false for NaN.
            if found["loss"] < loss and found["kl"] <= self.config.max_kl:
                with torch.no_grad():
                    for name, parameter in problem.parameters.items():
                        parameter.copy_(candidate[name])
                return fraction
        return 0.0

    def freeze(self, names: Collection[str]) -> None:
        """Raise MetarlError for any name: a step is one direction of all parameters."""
        if names:
            raise MetarlError(
                "outer 'trpo' moves all parameters together; leave out start_from.freeze, or take outer=ppo"
            )

    def state_dict(self) -> StateDict:
        """Return nothing: the step has no state."""
        return {}

    def load_state_dict(self, state: StateDict) -> None:
        """Do nothing."""


def _dot(one: Parameters, other: Parameters) -> float:
    return float(sum((one[name] * other[name]).sum() for name in one))


def conjugate_gradient(
    product: Callable[[dict[str, Tensor]], dict[str, Tensor]],
    target: dict[str, Tensor],
    iterations: int,
    tolerance: float = 1e-10,
) -> dict[str, Tensor]:
    """Return an approximate x with product(x) = target, for a positive definite `product`.

    Hestenes and Stiefel, "Methods of conjugate gradients for solving linear systems", 1952.
    """
    solution = {name: torch.zeros_like(value) for name, value in target.items()}
    residual = {name: value.clone() for name, value in target.items()}
    direction = dict(residual)
    square = _dot(residual, residual)
    for _ in range(iterations):
        if square <= tolerance * tolerance:
            break
        image = product(direction)
        curvature = _dot(direction, image)
        if not curvature > 0:
            break
        rate = square / curvature
        solution = {name: solution[name] + rate * direction[name] for name in target}
        residual = {name: residual[name] - rate * image[name] for name in target}
        next_square = _dot(residual, residual)
        direction = {name: residual[name] + next_square / square * direction[name] for name in target}
        square = next_square
    return solution
