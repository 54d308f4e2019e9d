"""Settings of LEO: those of both worlds, and those of each."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, ClassVar, Literal, Self

from pydantic import Field, model_validator

from metarl.base.settings import Count, Fraction, Positive, Settings, Width

from ..common.codes import Penalties
from ..maml.adaptation import AdaptCode
from ..maml.baselines import BaselineConfig, LinearBaselineConfig
from ..maml.config import MAMLConfig
from ..maml.ppo import PPOConfig
from ..supervised.head_agent import FeatureSettings

OF_ANSWERS = ("activation", "learns_features", "learning_rate", "max_grad_norm")
"""Settings that mean nothing where rewards are learned from."""


class FromEither(Settings):
    """Targets where the family reveals them, else rewards."""

    name: Literal["auto"] = "auto"
    """What the family offers."""


class FromTargets(Settings):
    """The right answers of a family that reveals them."""

    name: Literal["targets"] = "targets"
    """Right answers."""
    finetune_lr: Positive | None = None
    """Step size of the heads at the start; it is learned for each dimension. None takes 1 for classes and 0.01 for
    numbers."""
    num_finetune_steps: Annotated[int, Field(ge=0, le=1000)] = 5
    """Steps of the decoded heads; 0 leaves them as they are decoded."""


class FromRewards(Settings):
    """Rewards, with the settings of maml-ppo."""

    name: Literal["rewards"] = "rewards"
    """Rewards."""
    outer: PPOConfig = PPOConfig(inner_lr_kind="per-parameter", rounds="all")
    """PPO's steps on the trial after adaptation. All rounds count: the first policy, which no encoder shapes, learns
    from its own."""
    inner_objective: Literal["likelihood-ratio", "dice", "policy-gradient"] = "likelihood-ratio"
    """Loss of a step in the space of codes, as for maml-ppo."""
    initial_std: Positive = 1.0
    """Standard deviation of the first policy's actions, in half-ranges of the action space."""
    min_std: Positive = 1e-3
    """Floor of the standard deviation before adaptation."""
    normalize_observations: bool = False
    """Shift and scale the vectors of observations by their running mean and standard deviation over training."""
    baseline: BaselineConfig = LinearBaselineConfig()
    """Baseline of the advantages, as for maml-ppo."""
    discount: Fraction = 0.99
    """Discount of rewards, gamma."""
    gae_lambda: Fraction = 0.97
    """Lambda of generalized advantage estimation."""
    num_related: Count = 32
    """Most steps of a round that the encoder relates to each other. Of longer rounds, runs of steps are."""
    task_chunk_size: Count | None = None
    """Tasks whose gradients are computed at once; None takes all. Fewer need less memory and more time."""

    @model_validator(mode="after")
    def _fit_together(self) -> Self:
        if self.initial_std < self.min_std:
            raise ValueError(
                f"initial_std is {self.initial_std}, below min_std {self.min_std}; raise it, or lower min_std"
            )
        return self


LearnsFrom = Annotated[FromEither | FromTargets | FromRewards, Field(discriminator="name")]
"""What is learned from, and the settings of that alone."""


class LEOConfig(FeatureSettings):
    """Settings of latent embedding optimization."""

    moved: ClassVar[Mapping[str, str]] = {
        key: f"learns_from={{name: targets, {key}: ...}}" for key in ("finetune_lr", "num_finetune_steps")
    }

    learns_from: LearnsFrom = FromEither()
    """What it learns from, by its name or with its settings: targets, the right answers of a family that reveals them;
    rewards; or auto, which takes targets where the family reveals them."""
    latent_size: Width = 16
    """Length of a code: of each output of a head, or of a policy."""
    inner_lr: Positive | None = None
    """Step size in the space of codes at the start; it is learned for each dimension. None takes 1 for classes and for
    rewards, and 0.1 for numbers."""
    num_inner_steps: Count | None = None
    """Steps in the space of codes. None takes 5 for targets, and 1 on each round for rewards."""
    initial_std: Positive = 0.1
    """Deviation of the codes at the start; with codes as wide as the prior, an update would see noise alone."""
    penalties: Penalties = Penalties()
    """Weights of the further terms of the loss."""

    @property
    def of_targets(self) -> FromTargets:
        """What counts where targets are learned from alone."""
        return self.learns_from if isinstance(self.learns_from, FromTargets) else FromTargets()

    def of_policy(self) -> MAMLConfig:
        """Return the same as settings of MAML, for rewards."""
        chosen = self.learns_from if isinstance(self.learns_from, FromRewards) else FromRewards()
        shared = {name: getattr(chosen, name) for name in FromRewards.model_fields if name in MAMLConfig.model_fields}
        return MAMLConfig(
            encoder=self.encoder,
            hidden_sizes=self.hidden_sizes,
            dtype=self.dtype,
            inner_lr=self.inner_lr or 1.0,
            adapts=AdaptCode(
                size=self.latent_size,
                num_inner_steps=self.num_inner_steps or 1,
                initial_std=self.initial_std,
                num_related=chosen.num_related,
                penalties=self.penalties,
            ),
            **shared,
        )
