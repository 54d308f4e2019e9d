"""Settings of LEO from right answers."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from metarl.base.settings import Count, Positive, Settings, Width

from ..supervised.head_agent import FeatureSettings

Coefficient = Annotated[float, Field(ge=0)]
"""Weight of a term of a loss."""


class Penalties(Settings):
    """Weights of what is added to the loss of the queries."""

    kl: Coefficient = 1e-3
    """Weight of the KL from the codes to a standard normal distribution; beta in the paper."""
    encoder: Coefficient = 1e-3
    """Weight of the squared distance from a code to where its steps lead, which is held still; gamma in the paper."""
    orthogonality: Coefficient = 0.1
    """Weight of the correlations between the decoder's rows; lambda 2 in the paper."""
    squares: Coefficient = 1e-6
    """Weight of half the squares of all weights of encoder, relation network and decoder; lambda 1 in the paper."""


class LEOConfig(FeatureSettings):
    """Settings of latent embedding optimization."""

    latent_size: Width = 16
    """Length of the code of each output of a head."""
    inner_lr: Positive | None = None
    """Step size in the space of codes at the start; it is learned for each dimension. None takes 1 for classes
    and 0.1 for numbers."""
    num_inner_steps: Count = 5
    """Steps in the space of codes."""
    initial_std: Positive = 0.1
    """Deviation of the codes at the start; with codes as wide as the prior, an update would see noise alone."""
    finetune_lr: Positive | None = None
    """Step size of the heads at the start; it is learned for each dimension. None takes 1 for classes and 0.01 for
    numbers."""
    num_finetune_steps: Annotated[int, Field(ge=0, le=1000)] = 5
    """Steps of the decoded heads; 0 leaves them as they are decoded."""
    penalties: Penalties = Penalties()
    """Weights of the further terms of the loss."""
