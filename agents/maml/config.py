"""Settings of MAML and its relatives."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Literal, Protocol, Self

from pydantic import Field, model_validator

from metarl.base.settings import Count, Fraction, Positive, Settings, Widths

from ..common.encoders import AutoEncoder, EncoderSettings
from .adaptation import AdaptAll, AdaptNothing, PolicyAdapts
from .baselines import BaselineConfig, LinearBaselineConfig
from .ppo import PPOConfig
from .reptile import ReptileConfig
from .step_size import StepSizeKind
from .trpo import TRPOConfig

Outer = Annotated[PPOConfig | TRPOConfig | ReptileConfig, Field(discriminator="name")]
"""The meta-step and its settings."""

_IN_OUTER = ("learning_rate", "num_epochs", "clip_range", "target_kl", "max_grad_norm", "inner_kl_coef", "ent_coef")
_OF_TRPO = ("max_kl", "cg_iterations", "cg_damping", "line_search_steps")


class OuterSettings(Protocol):
    """The part of a meta-step's settings that what adapts must fit."""

    @property
    def inner_lr_kind(self) -> StepSizeKind:
        """Inner step size: fixed or learned."""
        ...


def require_composable(outer: OuterSettings, adapts: PolicyAdapts) -> None:
    """Raise ValueError unless a meta-step can move what adapts."""
    if isinstance(outer, ReptileConfig) and not isinstance(adapts, AdaptAll):
        raise ValueError(f"outer 'reptile' moves only what adapts, here {adapts.name!r}; take adapts: all")
    if isinstance(adapts, AdaptNothing) and outer.inner_lr_kind != "fixed":
        raise ValueError(
            f"outer.inner_lr_kind is {outer.inner_lr_kind!r}, but adapts is 'nothing' and has no inner step; "
            "take outer.inner_lr_kind: fixed"
        )


class MAMLConfig(Settings):
    """Settings of gradient-based meta-learning. A trial of `rounds` rounds has rounds - 1 inner steps."""

    moved: ClassVar[Mapping[str, str]] = {
        **{key: f"outer.{key}" for key in (*_IN_OUTER, "inner_lr_kind")},
        **{key: f"outer={{name: trpo, {key}: ...}}" for key in _OF_TRPO},
        "meta_gradient": "outer.meta_gradient; Reptile is outer: reptile",
        "outer_rounds": "outer.rounds",
        "context_size": "adapts={name: context, size: ...}",
        "latent_size": "adapts={name: latent, size: ...}",
        "baseline_lr": "baseline={name: network, learning_rate: ...}",
        "baseline_epochs": "baseline={name: network, num_epochs: ...}",
    }

    removed: ClassVar[Mapping[str, str]] = {"distribution": "it follows from the action space"}

    encoder: EncoderSettings = AutoEncoder()
    """How observations become numbers, by its name or with its settings: `auto` takes convolutions for images and
    one-hot vectors for discrete parts, `vector` flattens everything, `pixels` takes every box of rank 2 or 3 for an
    image."""
    hidden_sizes: Widths = (64, 64)
    """Units of each hidden layer of the tanh policy; an empty list makes the policy linear."""
    initial_std: Positive = 1.0
    """Standard deviation of the first policy's actions, in half-ranges of the action space."""
    min_std: Positive = 1e-3
    """Floor of the standard deviation before adaptation, kept by the meta-update. A task's inner steps may go below."""
    normalize_observations: bool = False
    """Shift and scale the vectors of observations by their running mean and standard deviation over training."""
    dtype: Literal["float32", "float64"] = "float32"
    """Floating-point type of the networks."""
    adapts: PolicyAdapts = AdaptAll()
    """Parameters that an inner step moves: all of them (MAML), the last layer (ANIL), a context vector in the input of
    the first layer (CAVIA), a latent vector from which all are decoded, the same begun by an encoder of the first
    round (`code`, LEO), or nothing. An encoder of images moves in the first case alone."""
    inner_lr: Positive = 0.1
    """Step size of the inner step; its initial value if `outer.inner_lr_kind` learns it."""
    inner_objective: Literal["likelihood-ratio", "dice", "policy-gradient"] = "likelihood-ratio"
    """Loss of an inner step. All have the same gradient; they differ in the second derivative, which the exact
    meta-gradient contains."""
    outer: Outer = PPOConfig()
    """Meta-step: Adam on PPO's clipped surrogate, TRPO's natural gradient, or Reptile."""
    baseline: BaselineConfig = LinearBaselineConfig()
    """Baseline of the advantages: a linear fit to each task's round, or a value network learned over all tasks."""
    discount: Fraction = 0.99
    """Discount of rewards, gamma."""
    gae_lambda: Fraction = 0.97
    """Lambda of generalized advantage estimation."""
    task_chunk_size: Count | None = None
    """Tasks whose gradients are computed at once; None takes all, or with images on a CPU as many as torch has threads.
    Fewer need less memory and more time; results do not change."""

    @model_validator(mode="before")
    @classmethod
    def _refuse_inner_steps(cls, data: Any) -> Any:
        for key in data if isinstance(data, Mapping) else ():
            if "inner_step" in str(key):
                raise ValueError(
                    f"{key} is not a setting; a trial of `rounds` rounds has rounds - 1 inner steps: set rounds"
                )
        return data

    @model_validator(mode="after")
    def _fit_together(self) -> Self:
        require_composable(self.outer, self.adapts)
        if self.initial_std < self.min_std:
            raise ValueError(
                f"initial_std is {self.initial_std}, below min_std {self.min_std}; raise it, or lower min_std"
            )
        return self
