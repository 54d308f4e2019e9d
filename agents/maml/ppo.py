"""PPO as the meta-step of MAML: several epochs of Adam on the clipped surrogate after adaptation."""

from __future__ import annotations

from collections.abc import Collection
from typing import Annotated, ClassVar, Literal

from pydantic import Field
from torch import Tensor

from metarl.base.schedule import Schedule, ScheduledRate
from metarl.base.settings import Count, Positive

from ..common.scheduled_adam import ScheduledAdam
from ..common.state import StateDict
from .meta_step import AGREEMENT, MetaGradientConfig, Problem, mean_gradient, require_finite
from .outer_objectives import clipped_objective
from .records import Round

NonNegative = Annotated[float, Field(ge=0)]
"""A setting of zero or more."""


class PPOConfig(MetaGradientConfig):
    """Adam on PPO's clipped surrogate, for several epochs per trial."""

    name: Literal["ppo"] = "ppo"
    """Proximal policy optimization."""
    learning_rate: ScheduledRate = Schedule(start=1e-3)
    """Step size of Adam on the meta-parameters: a number, or `{start: A, end: B, updates: N}`."""
    num_epochs: Count = 5
    """Outer steps per trial."""
    clip_range: Positive = 0.3
    """Range of the ratio of new to old action probability, beyond which the objective is flat."""
    target_kl: Positive | None = None
    """Outer KL in nats. Beyond 1.5 times this, PPO takes no further step on a trial. None never stops early."""
    max_grad_norm: Positive = 1.0
    """Largest norm of the meta-gradient; a longer one is scaled down."""
    inner_kl_coef: NonNegative = 0.0
    """Weight of the inner KL: how far the policies before the last round have moved since they acted (ProMP)."""
    ent_coef: NonNegative = 0.0
    """Weight of the policies' entropy, mean over rounds. It keeps the policy before adaptation exploring."""


class PPOStep:
    """Takes several steps of Adam on the clipped surrogate, and stops early if the outer KL grows too large."""

    length_setting: ClassVar[str] = "learning_rate"

    def __init__(self, parameters: dict[str, Tensor], config: PPOConfig) -> None:
        self.adam = ScheduledAdam(parameters, config.learning_rate, config.max_grad_norm)
        self.objective = clipped_objective(config.clip_range)
        self.num_epochs, self.target_kl = config.num_epochs, config.target_kl

    def __call__(self, problem: Problem, rounds: tuple[Round, ...]) -> dict[str, float]:
        """Take up to `num_epochs` steps; stop before a step if the KL exceeds 1.5 times the target, as in SB3."""
        history: list[dict[str, float]] = []
        for epoch in range(self.num_epochs):
            gradients, outcome = problem.task_gradients(rounds)
            require_finite(outcome, gradients, f"outer epoch {epoch + 1}", self.length_setting)
            gradient, seen = mean_gradient(
                gradients,
                loss=outcome.loss,
                kl=outcome.kl,
                clip=outcome.clip_fraction,
                deviation=outcome.ratio_deviation,
            )
            if history and self.target_kl is not None and seen["kl"] > 1.5 * self.target_kl:
                break
            history.append({**seen, "gradient_norm": self.adam.descend(gradient, ends_update=False)})
        self.adam.num_updates += 1
        return {
            "loss": history[0]["loss"],
            "gradient_norm": sum(step["gradient_norm"] for step in history) / len(history),
            "clip_fraction": sum(step["clip"] for step in history) / len(history),
            "first_ratio_deviation": history[0]["deviation"],
            AGREEMENT: history[0][AGREEMENT],
            "num_epochs": float(len(history)),
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
