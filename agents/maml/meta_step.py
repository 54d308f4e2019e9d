"""The contract of meta-steps, which move the meta-parameters once per trial. See ppo.py, trpo.py and reptile.py."""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import ClassVar, Literal, Protocol

import torch
from torch import Tensor

from metarl.base.errors import MetarlError
from metarl.base.settings import Settings

from ..common.over_ranks import mean_over_tasks
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

    def freeze(self, names: Collection[str]) -> None:
        """Keep these meta-parameters as they are until the next call. Raises MetarlError for names that it cannot."""
        ...

    def state_dict(self) -> StateDict:
        """Return the state of the step besides the meta-parameters, such as an optimiser's."""
        ...

    def load_state_dict(self, state: StateDict) -> None:
        """Restore the result of `state_dict`."""
        ...


AGREEMENT = "task_gradient_agreement"
"""What a log calls the mean product of two tasks' gradients over their mean square: 1 where all are the same."""


def mean_gradient(gradients: Parameters, **measured: Tensor) -> tuple[dict[str, Tensor], dict[str, float]]:
    """Return the mean over tasks of gradients [task, ...]; and what to log: means of values [task], and `AGREEMENT`.

    The tasks are those of all processes that train together; there is one exchange between them.
    """
    squares = torch.stack([value.reshape(len(value), -1).square().sum(1) for value in gradients.values()]).sum(0)
    means, count = mean_over_tasks({**gradients, **measured, AGREEMENT: squares})
    found = {name: means[name] for name in gradients}
    logged = {name: float(means[name]) for name in (*measured, AGREEMENT)}
    of_mean = float(sum(value.double().square().sum() for value in found.values()))
    return found, logged | {AGREEMENT: _agreement(of_mean, logged[AGREEMENT], count)}


def _agreement(of_mean: float, mean: float, count: int) -> float:
    """Return the agreement, given the square of the mean gradient and the mean square of `count` gradients."""
    return 1.0 if count == 1 else (count * of_mean - mean) / ((count - 1) * max(mean, 1e-300))


def mean_values(**measured: Tensor) -> dict[str, float]:
    """Return the means of values [task] over the tasks of all processes."""
    return {name: float(value) for name, value in mean_over_tasks(measured)[0].items()}


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
