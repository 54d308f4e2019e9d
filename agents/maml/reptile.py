"""Reptile as the meta-step of MAML: it moves the start towards the adapted parameters (Nichol et al., 2018)."""

from __future__ import annotations

from collections.abc import Collection
from typing import ClassVar, Literal

from torch import Tensor

from metarl.base.schedule import Schedule, ScheduledRate
from metarl.base.settings import Positive, Settings

from ..common.scheduled_adam import ScheduledAdam
from ..common.state import StateDict
from .meta_step import AGREEMENT, Problem, mean_gradient, require_finite
from .outer_objectives import OuterObjective, ratio_objective
from .records import Round
from .step_size import StepSizeKind


class ReptileConfig(Settings):
    """Adam towards the adapted parameters. There is no outer loss, so nothing else can be set of one."""

    name: Literal["reptile"] = "reptile"
    """Reptile."""
    learning_rate: ScheduledRate = Schedule(start=1e-3)
    """Step size of Adam on the meta-parameters: a number, or `{start: A, end: B, updates: N}`."""
    max_grad_norm: Positive = 1.0
    """Largest norm of the meta-gradient; a longer one is scaled down."""

    meta_gradient: ClassVar[Literal["first-order"]] = "first-order"
    inner_lr_kind: ClassVar[StepSizeKind] = "fixed"
    rounds: ClassVar[Literal["last"]] = "last"
    inner_kl_coef: ClassVar[float] = 0.0
    ent_coef: ClassVar[float] = 0.0


class ReptileStep:
    """Moves the start towards the parameters where the tasks' own adaptation ends.

    Adam gets (start - adapted) / inner_lr as the gradient, as in section 3 of the paper.
    """

    length_setting: ClassVar[str] = "learning_rate"

    def __init__(self, parameters: dict[str, Tensor], config: ReptileConfig, inner_lr: float) -> None:
        self.adam = ScheduledAdam(parameters, config.learning_rate, config.max_grad_norm)
        self.objective: OuterObjective = ratio_objective
        self.inner_lr = inner_lr

    def __call__(self, problem: Problem, rounds: tuple[Round, ...]) -> dict[str, float]:
        """Take one step."""
        outcome = problem.outcomes(problem.parameters, rounds)
        adapted = problem.adapt_to_all(rounds)
        directions = {
            name: (parameter.detach() - adapted[name]) / self.inner_lr for name, parameter in problem.parameters.items()
        }
        require_finite(outcome, directions, "Reptile", self.length_setting)
        direction, seen = mean_gradient(directions, loss=outcome.loss, deviation=outcome.ratio_deviation)
        return {
            "loss": seen["loss"],
            "gradient_norm": self.adam.descend(direction),
            "first_ratio_deviation": seen["deviation"],
            AGREEMENT: seen[AGREEMENT],
        }

    def freeze(self, names: Collection[str]) -> None:
        """Keep these meta-parameters as they are until the next call. Raises MetarlError for other names."""
        self.adam.freeze(names)

    def state_dict(self) -> StateDict:
        """Return the optimiser's moments and the count of updates."""
        return self.adam.state_dict()

    def load_state_dict(self, state: StateDict) -> None:
        """Restore the result of `state_dict`."""
        self.adam.load_state_dict(state)
