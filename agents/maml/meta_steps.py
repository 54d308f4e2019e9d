"""How the meta-parameters move, given the tasks' losses after adaptation: PPO, TRPO or Reptile."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple, Protocol

import torch
from torch import Tensor

from metarl.base.errors import MetarlError

from ..common.policy import Parameters
from ..common.ppo import clipped_surrogate, masked_mean
from ..common.state import StateDict, load_optimizer, optimizer_state


class Round(NamedTuple):
    """One round as the losses see it, here with the axis of tasks in front; vmap takes it away."""

    observations: Tensor
    """[task, time, replica, d]"""
    actions: Tensor
    """[task, time, replica, *action]"""
    advantages: Tensor
    """Normalized within each task. [task, time, replica]"""
    mask: Tensor
    """One where a step was taken, else zero. [task, time, replica]"""
    old_outputs: Tensor
    """What the policy that acted gave its action distribution. [task, time, replica, num_outputs]"""
    old_log_prob: Tensor
    """Log-probability of the actions under the policy that acted. [task, time, replica]"""


class Outcome(NamedTuple):
    """What is known of a task's last round after adapting through the others; each field is a number a task."""

    loss: Tensor
    """Minus the objective: of the last round, or the mean over all."""
    kl: Tensor
    """KL(acting || present) of the adapted policy, on the last round. In nats, mean over steps."""
    inner_kl: Tensor
    """The same of the policies before and between inner steps, on the rounds that they played; mean over rounds."""
    clip_fraction: Tensor
    """Share of steps whose ratio lies outside the clip range; those on the side that pays no longer pull."""
    ratio_deviation: Tensor
    """Mean of |ratio - 1|."""
    entropy: Tensor
    """Of the adapted policy, in nats."""
    inner_gradient_norm: Tensor
    """Norm of the inner gradient, mean over inner steps."""


Objective = Callable[[Tensor, Round], tuple[Tensor, Tensor, Tensor]]
"""(log_prob, round) of one task -> loss, clip fraction, ratio deviation."""


def clipped_objective(clip_range: float) -> Objective:
    """Return minus the clipped surrogate of PPO (Schulman et al., 2017, equation 7)."""

    def objective(log_prob: Tensor, played: Round) -> tuple[Tensor, Tensor, Tensor]:
        surrogate = clipped_surrogate(log_prob, played.old_log_prob, played.advantages, played.mask, clip_range)
        return surrogate.loss, surrogate.clip_fraction, surrogate.ratio_deviation

    return objective


def ratio_objective(log_prob: Tensor, played: Round) -> tuple[Tensor, Tensor, Tensor]:
    """Return minus the unclipped surrogate, for a method that bounds its steps by other means."""
    ratio = torch.exp(log_prob - played.old_log_prob)
    deviation = masked_mean((ratio.detach() - 1).abs(), played.mask)
    return -masked_mean(ratio * played.advantages, played.mask), torch.zeros_like(deviation), deviation


class Problem(Protocol):
    """What a meta-step works on: an agent, whose rounds have been played."""

    parameters: dict[str, Tensor]
    """The meta-parameters, which a meta-step changes in place."""

    def task_gradients(self, rounds: tuple[Round, ...]) -> tuple[dict[str, Tensor], Outcome]:
        """Return the gradient of every task's loss by the meta-parameters, [task, ...], and the outcomes, [task]."""
        ...

    def outcomes(self, parameters: Parameters, rounds: tuple[Round, ...]) -> Outcome:
        """Return every task's outcome, [task], at other meta-parameters."""
        ...

    def kl_products(
        self, rounds: tuple[Round, ...], coefficient: float
    ) -> Callable[[dict[str, Tensor]], dict[str, Tensor]]:
        """Return the product of a vector with the Hessian of the mean outer KL, plus `coefficient` times the vector."""
        ...

    def adapted_to_all(self, rounds: tuple[Round, ...]) -> dict[str, Tensor]:
        """Return the fast parameters of every task after an inner step on each round, the last too, [task, ...]."""
        ...


class MetaStep(Protocol):
    """Moves the meta-parameters once a trial."""

    objective: Objective
    """What is asked of the last round."""

    def __call__(self, problem: Problem, rounds: tuple[Round, ...]) -> dict[str, float]:
        """Change `problem.parameters` and return what to log. Raises MetarlError where a term is not finite."""
        ...

    def state_dict(self) -> StateDict:
        """Return what training changes beside the meta-parameters."""
        ...

    def load_state_dict(self, state: StateDict) -> None:
        """Restore what `state_dict` gave."""
        ...


def mean_cosine(gradients: Parameters) -> float:
    """Return the mean cosine between the gradients [task, ...] of different tasks; NaN-free: 1 for a single task."""
    rows = torch.cat([value.reshape(len(value), -1) for value in gradients.values()], dim=1)
    count = len(rows)
    if count == 1:
        return 1.0
    units = rows / rows.norm(dim=1, keepdim=True).clamp(min=1e-30)
    return float((units.sum(0).square().sum() - units.square().sum()) / (count * (count - 1)))


def require_finite(outcome: Outcome, gradients: Parameters, place: str) -> None:
    """Raise MetarlError that names the first term that is not finite, and what to try."""
    terms = [
        ("the inner gradient's norm", outcome.inner_gradient_norm, "take a lower agent.inner_lr"),
        ("the inner KL", outcome.inner_kl, "take a lower agent.learning_rate"),
        ("the outer KL", outcome.kl, "take a lower agent.inner_lr or agent.learning_rate"),
        ("the outer loss", outcome.loss, "take a lower agent.inner_lr or agent.learning_rate"),
    ]
    remedy = "take a lower agent.learning_rate, agent.max_grad_norm or agent.inner_lr"
    terms += [(f"the meta-gradient of {name}", value, remedy) for name, value in gradients.items()]
    for name, value, advice in terms:
        wrong = ~torch.isfinite(value)
        if wrong.any():
            tasks = int(wrong.reshape(len(wrong), -1).any(1).sum())
            number = value[wrong].flatten()[0].item()
            raise MetarlError(f"{place}: {name} is {number} in {tasks} of {len(value)} tasks; {advice}")


class _Adam:
    """Adam on the meta-parameters."""

    def __init__(self, parameters: dict[str, Tensor], learning_rate: float, max_grad_norm: float) -> None:
        self.parameters, self.max_grad_norm = parameters, max_grad_norm
        self.optimizer = torch.optim.Adam(list(parameters.values()), lr=learning_rate)

    def descend(self, gradients: Parameters) -> float:
        """Take a step down `gradients`, cut to `max_grad_norm`, and return their norm before."""
        for name, parameter in self.parameters.items():
            parameter.grad = gradients[name].to(parameter.dtype)
        norm = torch.nn.utils.clip_grad_norm_(self.parameters.values(), self.max_grad_norm)
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        return float(norm)

    def state_dict(self) -> StateDict:
        """Return its moments and step counts."""
        return optimizer_state(self.optimizer, self.parameters)

    def load_state_dict(self, state: StateDict) -> None:
        """Restore what `state_dict` gave."""
        load_optimizer(self.optimizer, self.parameters, state)


def _mean(values: Tensor) -> float:
    return float(values.mean())


def averaged(gradients: Parameters) -> dict[str, Tensor]:
    """Return the mean over tasks of [task, ...]."""
    return {name: value.mean(0) for name, value in gradients.items()}


class PPOStep(_Adam):
    """Several epochs of Adam on the clipped surrogate, which ends early where the outer KL has grown too far."""

    def __init__(
        self,
        parameters: dict[str, Tensor],
        *,
        learning_rate: float,
        max_grad_norm: float,
        num_epochs: int,
        clip_range: float,
        target_kl: float | None,
    ) -> None:
        super().__init__(parameters, learning_rate, max_grad_norm)
        self.objective = clipped_objective(clip_range)
        self.num_epochs, self.target_kl = num_epochs, target_kl

    def __call__(self, problem: Problem, rounds: tuple[Round, ...]) -> dict[str, float]:
        """Make up to `num_epochs` steps; before each, stop if the KL is above 1.5 times the target, as in SB3."""
        history: list[dict[str, float]] = []
        cosine = 0.0
        for epoch in range(self.num_epochs):
            gradients, outcome = problem.task_gradients(rounds)
            require_finite(outcome, gradients, f"outer epoch {epoch + 1}")
            if history and self.target_kl is not None and _mean(outcome.kl) > 1.5 * self.target_kl:
                break
            if epoch == 0:
                cosine = mean_cosine(gradients)
            norm = self.descend(averaged(gradients))
            seen = {"loss": outcome.loss, "clip": outcome.clip_fraction, "deviation": outcome.ratio_deviation}
            history.append({"gradient_norm": norm, **{name: _mean(value) for name, value in seen.items()}})
        return {
            "loss": history[0]["loss"],
            "gradient_norm": sum(step["gradient_norm"] for step in history) / len(history),
            "clip_fraction": sum(step["clip"] for step in history) / len(history),
            "first_ratio_deviation": history[0]["deviation"],
            "task_gradient_cosine": cosine,
            "num_epochs": float(len(history)),
        }


class ReptileStep(_Adam):
    """Moves the start towards where the tasks' own adaptation ends (Nichol, Achiam and Schulman, 2018).

    The difference, over the inner steps' length, stands for the gradient that Adam is given, as their section 3 has it.
    """

    def __init__(
        self, parameters: dict[str, Tensor], *, learning_rate: float, max_grad_norm: float, inner_lr: float
    ) -> None:
        super().__init__(parameters, learning_rate, max_grad_norm)
        self.objective: Objective = ratio_objective
        self.inner_lr = inner_lr

    def __call__(self, problem: Problem, rounds: tuple[Round, ...]) -> dict[str, float]:
        """Make one step."""
        outcome = problem.outcomes(problem.parameters, rounds)
        adapted = problem.adapted_to_all(rounds)
        moved = {
            name: (parameter.detach() - adapted[name]) / self.inner_lr for name, parameter in problem.parameters.items()
        }
        require_finite(outcome, moved, "Reptile")
        norm = self.descend(averaged(moved))
        return {
            "loss": _mean(outcome.loss),
            "gradient_norm": norm,
            "first_ratio_deviation": _mean(outcome.ratio_deviation),
            "task_gradient_cosine": mean_cosine(moved),
        }


class TRPOStep:
    """One natural-gradient step by conjugate gradient, cut back until the objective is better and the KL within bounds.

    Schulman et al., ICML 2015; through the adaptation, as MAML's own code has it: the KL is that of the adapted policies.
    """

    def __init__(self, *, max_kl: float, damping: float, cg_iterations: int, backtracks: int) -> None:
        self.objective: Objective = ratio_objective
        self.max_kl, self.damping, self.cg_iterations, self.backtracks = max_kl, damping, cg_iterations, backtracks

    def __call__(self, problem: Problem, rounds: tuple[Round, ...]) -> dict[str, float]:
        """Make the step, or none where no cut helps: `step_fraction` is then 0."""
        gradients, before = problem.task_gradients(rounds)
        require_finite(before, gradients, "TRPO")
        gradient = averaged(gradients)
        product = problem.kl_products(rounds, self.damping)
        direction = conjugate_gradient(product, gradient, self.cg_iterations)
        curvature = _dot(direction, product(direction))
        if not math.isfinite(curvature + _dot(gradient, product(gradient))):
            raise MetarlError(
                f"TRPO: the curvature of the KL is {curvature}; take a lower agent.inner_lr or a higher agent.cg_damping"
            )
        length = math.sqrt(2 * self.max_kl / curvature) if curvature > 0 else 0.0
        fraction = self._searched(problem, rounds, direction, length, _mean(before.loss)) if length > 0 else 0.0
        return {
            "loss": _mean(before.loss),
            "gradient_norm": math.sqrt(_dot(gradient, gradient)),
            "first_ratio_deviation": _mean(before.ratio_deviation),
            "task_gradient_cosine": mean_cosine(gradients),
            "step_fraction": fraction,
        }

    def _searched(
        self, problem: Problem, rounds: tuple[Round, ...], direction: Parameters, length: float, loss: float
    ) -> float:
        """Move the parameters as far as is allowed, and return which fraction of the full step that is."""
        for cut in range(self.backtracks):
            fraction = 0.8**cut
            candidate = {
                name: parameter.detach() - fraction * length * direction[name]
                for name, parameter in problem.parameters.items()
            }
            outcome = problem.outcomes(candidate, rounds)
            # Neither holds where one is no number.
            if _mean(outcome.loss) < loss and _mean(outcome.kl) <= self.max_kl:
                with torch.no_grad():
                    for name, parameter in problem.parameters.items():
                        parameter.copy_(candidate[name])
                return fraction
        return 0.0

    def state_dict(self) -> StateDict:
        """Return nothing: it remembers nothing."""
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
    """Return an approximate x with product(x) = target, for a positive definite `product` (Hestenes and Stiefel, 1952)."""
    solution = {name: torch.zeros_like(value) for name, value in target.items()}
    residual = {name: value.clone() for name, value in target.items()}
    direction = dict(residual)
    square = _dot(residual, residual)
    for _ in range(iterations):
        if square <= tolerance * tolerance:
            break
        image = product(direction)
        bent = _dot(direction, image)
        if not bent > 0:
            break
        rate = square / bent
        solution = {name: solution[name] + rate * direction[name] for name in target}
        residual = {name: residual[name] - rate * image[name] for name in target}
        following = _dot(residual, residual)
        direction = {name: residual[name] + following / square * direction[name] for name in target}
        square = following
    return solution
