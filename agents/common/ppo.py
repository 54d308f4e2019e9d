"""The clipped objective of PPO and its diagnostics."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor


class Surrogate(NamedTuple):
    """The clipped surrogate and its diagnostics, all averages over the steps of a mask."""

    loss: Tensor
    """Minus the clipped surrogate objective."""
    clip_fraction: Tensor
    """Share of steps whose ratio lies outside the clip range."""
    ratio_deviation: Tensor
    """Mean of |ratio - 1|."""
    kl: Tensor
    """Estimate of KL(acting || present) in nats: mean of ratio - 1 - log ratio, which is never negative."""


def masked_mean(values: Tensor, mask: Tensor) -> Tensor:
    """Return the mean of `values` over the steps where `mask` is one."""
    return (values * mask).sum() / mask.sum().clamp(min=1)


def clipped_surrogate(
    log_prob: Tensor, old_log_prob: Tensor, advantages: Tensor, mask: Tensor, clip_range: float
) -> Surrogate:
    """Return the clipped surrogate loss of Schulman et al. (2017), equation 7, over steps [...]."""
    # Before exp: a step that was not taken may be infinitely likely, and zero times infinity is no number.
    log_ratio = torch.where(mask > 0, log_prob - old_log_prob, 0.0)
    ratio = torch.exp(log_ratio)
    clipped = ratio.clamp(1 - clip_range, 1 + clip_range)
    objective = torch.minimum(ratio * advantages, clipped * advantages)
    with torch.no_grad():
        deviation = (ratio - 1).abs()
        outside = (deviation > clip_range).to(ratio.dtype)
        # Cut off: one step that has become e^88 times as likely must not make the figure infinite.
        kl = torch.expm1(log_ratio.clamp(max=20.0)) - log_ratio
    return Surrogate(
        loss=-masked_mean(objective, mask),
        clip_fraction=masked_mean(outside, mask),
        ratio_deviation=masked_mean(deviation, mask),
        kl=masked_mean(kl, mask),
    )
