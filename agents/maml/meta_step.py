"""The contract of meta-steps, which move the meta-parameters once per trial. See ppo.py, trpo.py and reptile.py."""

from __future__ import annotations

from collections.abc import Callable
from typing import ClassVar, Literal, Protocol

import torch
from torch import Tensor

from metarl.base.errors import MetarlError
from metarl.base.settings import Settings

from ..common.policy import Parameters
from ..common.state import StateDict
from .outer_objectives import OuterObjective
from .records import Outcome, Round
from .step_size import StepSizeKind


class MetaGradientConfig(Settings):
    """Settings shared by the meta-steps that follow the gradient of the outer loss."""

    name: str
    """Name of the meta-step."""
    meta_gradient: Literal["second-order", "first-order"] = "second-order"
    """Exact gradient through the inner steps, or the gradient with inner gradients as constants (FOMAML)."""
    inner_lr_kind: StepSizeKind = "fixed"
    """Inner step size: fixed, learned for each tensor, or learned for each parameter (Meta-SGD)."""
    rounds: Literal["last", "all"] = "last"
    """Rounds of a trial in the outer loss: the last one, as in MAML, or the mean over all of them. With all, the policy
    before adaptation also learns to explore, which helps where rewards are sparse."""


class Problem(Protocol):
    """A trial as a meta-step sees it: gradients and losses of its tasks at any meta-parameters."""

    parameters: dict[str, Tensor]
    """The meta-parameters; a meta-step changes them in place."""

    def task_gradients(self, rounds: tuple[Round, ...]) -> tuple[dict[str, Tensor], Outcome]:
        """Return every task's gradient of the outer loss by the meta-parameters [task, ...], and its outcome [task]."""
        ...

    def outcomes(self, parameters: Parameters, rounds: tuple[Round, ...]) -> Outcome:
        """Return every task's outcome at other meta-parameters, [task]."""
        ...

    def kl_products(
        self, rounds: tuple[Round, ...], damping: float
    ) -> Callable[[dict[str, Tensor]], dict[str, Tensor]]:
        """Return the function v -> (H + damping) v, with H the Hessian of the tasks' mean outer KL."""
        ...

    def adapt_to_all(self, rounds: tuple[Round, ...]) -> dict[str, Tensor]:
        """Return every task's fast parameters after an inner step on each round, the last included, [task, ...]."""
        ...


class MetaStep(Protocol):
    """Moves the meta-parameters once per trial."""

    objective: OuterObjective
    """Loss of a round after adaptation."""
    length_setting: ClassVar[str]
    """Name of the setting under `agent.outer` that decides how far a step goes."""

    def __call__(self, problem: Problem, rounds: tuple[Round, ...]) -> dict[str, float]:
        """Change `problem.parameters` and return what to log. Raises MetarlError if a term is not finite."""
        ...

    def state_dict(self) -> StateDict:
        """Return the state of the step besides the meta-parameters, such as an optimiser's."""
        ...

    def load_state_dict(self, state: StateDict) -> None:
        """Restore the result of `state_dict`."""
        ...


def mean(values: Tensor) -> float:
    """Return the mean over tasks."""
    return float(values.mean())


def mean_gradient(gradients: Parameters) -> dict[str, Tensor]:
    """Return the mean over tasks of gradients [task, ...]."""
    return {name: value.mean(0) for name, value in gradients.items()}


def mean_cosine(gradients: Parameters) -> float:
    """Return the mean cosine between the gradients [task, ...] of different tasks; 1 for a single task."""
    rows = torch.cat([value.reshape(len(value), -1) for value in gradients.values()], dim=1)
    count = len(rows)
    if count == 1:
        return 1.0
    units = rows / rows.norm(dim=1, keepdim=True).clamp(min=1e-30)
    return float((units.sum(0).square().sum() - units.square().sum()) / (count * (count - 1)))


def require_finite(outcome: Outcome, gradients: Parameters, place: str, length_setting: str) -> None:
    """Raise MetarlError if a term is not finite; the error names the first such term and the setting to lower."""
    length = f"agent.outer.{length_setting}"
    both = f"take a lower agent.inner_lr or {length}"
    terms = [
        ("the inner gradient's norm", outcome.inner_gradient_norm, "take a lower agent.inner_lr"),
        ("the inner KL", outcome.inner_kl, f"take a lower {length}"),
        ("the outer KL", outcome.kl, both),
        ("the outer loss", outcome.loss, both),
    ]
    terms += [(f"the meta-gradient of {name}", value, both) for name, value in gradients.items()]
    for name, value, remedy in terms:
        wrong = ~torch.isfinite(value)
        if wrong.any():
            tasks = int(wrong.reshape(len(wrong), -1).any(1).sum())
            number = value[wrong].flatten()[0].item()
            raise MetarlError(f"{place}: {name} is {number} in {tasks} of {len(value)} tasks; {remedy}")
