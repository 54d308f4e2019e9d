"""Settings of MAML and its relatives."""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self

from pydantic import Field, model_validator

from metarl.base.settings import Count, Fraction, Positive, Settings

from ..common.policy import Distribution

NonNegative = Annotated[float, Field(ge=0)]
"""A setting of zero or more."""


class MAMLConfig(Settings):
    """Settings of gradient-based meta-learning. The number of inner steps is the number of rounds in a trial less one."""

    hidden_sizes: tuple[Count, ...] = (64, 64)
    """Units of each hidden layer of the tanh policy; none makes it linear."""
    distribution: Distribution = "auto"
    """Kind of action distribution; 'auto' follows from the action space."""
    initial_std: Positive = 1.0
    """Standard deviation of the first policy's actions, in half-ranges of the action space."""
    min_std: Positive = 1e-3
    """Floor of that standard deviation before adaptation, kept by the meta-update; a task's own steps may go below."""
    normalize_observations: bool = False
    """Whether observations are shifted and scaled by their running mean and deviation over training."""
    adapts: Literal["all", "last-layer", "context", "latent", "nothing"] = "all"
    """What an inner step moves: all parameters (MAML), the last layer (ANIL), a context vector in the input (CAVIA), a
    latent vector decoded to parameters (LEO), or nothing (a policy for all tasks alike)."""
    context_size: Count = 8
    """Length of the context vector, for adapts: context."""
    latent_size: Count = 16
    """Length of the latent vector, for adapts: latent."""
    inner_objective: Literal["likelihood-ratio", "dice", "policy-gradient"] = "likelihood-ratio"
    """Loss of an inner step: all have the same gradient, and differ in the second derivative that meta-learning sees."""
    inner_lr: Positive = 0.1
    """Step size of the adaptation, and its start where it is learned."""
    inner_lr_kind: Literal["fixed", "learned", "per-parameter"] = "fixed"
    """Whether the step size is meta-learned: one for each tensor of parameters, or one for each element (Meta-SGD)."""
    meta_gradient: Literal["second-order", "first-order", "reptile"] = "second-order"
    """Exact; with inner gradients taken for constants (FOMAML); or the direction in which tasks adapt (Reptile)."""
    outer: Literal["ppo", "trpo"] = "ppo"
    """How the starting point moves: Adam on PPO's clipped surrogate, or TRPO's natural gradient. Not for Reptile."""
    outer_rounds: Literal["last", "all"] = "last"
    """Which rounds of a trial the starting point is to do well in: the last, as in MAML, or all of them in the mean, by
    which the first policy learns to find what adaptation needs where rewards are sparse."""
    learning_rate: Positive = 1e-3
    """Step size of Adam on the meta-parameters, for PPO and Reptile."""
    num_epochs: Count = 5
    """Outer steps on each trial, for PPO."""
    clip_range: Positive = 0.3
    """How far the ratio of new to old action probability may move an objective, for PPO."""
    target_kl: Positive | None = None
    """Outer KL, in nats, beyond 1.5 times which PPO takes no further step on a trial; None never stops."""
    max_grad_norm: Positive = 1.0
    """Norm that the meta-gradient is cut down to, for PPO and Reptile."""
    inner_kl_coef: NonNegative = 0.0
    """Weight of the KL by which the policies before adaptation have moved since they acted (ProMP), for PPO."""
    ent_coef: NonNegative = 0.0
    """Weight of the entropy of the policies, mean over rounds, for PPO: keeps the first ones exploring."""
    max_kl: Positive = 0.01
    """Bound of the outer KL of a step in nats, for TRPO."""
    cg_iterations: Count = 10
    """Iterations of conjugate gradient, for TRPO."""
    cg_damping: NonNegative = 1e-2
    """Multiple of the identity that is added to the KL's Hessian, for TRPO."""
    line_search_steps: Count = 15
    """Lengths of the step that are tried, each four fifths of the one before, for TRPO."""
    baseline: Literal["linear", "network"] = "linear"
    """What returns are compared with: a linear fit to each task's round, or a value network learned over all tasks."""
    baseline_lr: Positive = 1e-3
    """Step size of Adam on the value network."""
    baseline_epochs: Count = 5
    """Passes of the value network over each trial."""
    discount: Fraction = 0.99
    """Discount of rewards, gamma."""
    gae_lambda: Fraction = 0.97
    """Lambda of generalized advantage estimation."""
    task_chunk_size: Count | None = None
    """Tasks whose gradients are computed at once; fewer hold less in memory and take more time, and change no result."""
    dtype: Literal["float32", "float64"] = "float32"
    """Floating-point type of the policy."""

    @model_validator(mode="before")
    @classmethod
    def _counts_no_inner_steps(cls, data: Any) -> Any:
        for key in data if isinstance(data, dict) else ():
            if "inner_step" in str(key):
                raise ValueError(
                    f"{key} is no setting; a trial of `rounds` rounds has rounds - 1 inner steps: set rounds"
                )
        return data

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        if self.meta_gradient == "reptile":
            if self.adapts != "all":
                raise ValueError(
                    f"meta_gradient 'reptile' moves only what adapts, here {self.adapts!r}; take adapts 'all'"
                )
            if self.inner_lr_kind != "fixed":
                raise ValueError(
                    "meta_gradient 'reptile' has no gradient to learn rates by; take inner_lr_kind 'fixed'"
                )
            if self.inner_kl_coef or self.ent_coef or self.outer_rounds != "last" or self.target_kl is not None:
                raise ValueError(
                    "meta_gradient 'reptile' has no outer loss, in which inner_kl_coef, ent_coef, outer_rounds or target_kl "
                    "could count; leave them out"
                )
            if self.outer != "ppo":
                raise ValueError(
                    f"meta_gradient 'reptile' is a step of its own, beside which outer {self.outer!r} does nothing"
                )
        if self.outer == "trpo" and (self.inner_kl_coef or self.ent_coef):
            raise ValueError(
                "inner_kl_coef and ent_coef are PPO's; outer 'trpo' bounds its steps by max_kl: leave them at 0"
            )
        if self.outer == "trpo" and self.target_kl is not None:
            raise ValueError("target_kl is PPO's; outer 'trpo' bounds its steps by max_kl: leave it out")
        if self.initial_std < self.min_std:
            raise ValueError(
                f"initial_std is {self.initial_std}, below min_std {self.min_std}; raise it, or lower min_std"
            )
        if self.adapts == "nothing" and self.inner_lr_kind != "fixed":
            raise ValueError(f"adapts 'nothing' has no rate of kind {self.inner_lr_kind!r} to learn; take 'fixed'")
        return self
