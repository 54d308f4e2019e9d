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
    """Return the mean of `values` over the steps where `mask` is one; a value that is not finite elsewhere is left out.

    That holds for its gradient too, where the value is infinite but what it was computed from is not.
    """
    return torch.where(mask > 0, values, 0.0).sum() / mask.sum().clamp(min=1)


def log_ratios(log_prob: Tensor, old_log_prob: Tensor, mask: Tensor) -> Tensor:
    """Return log_prob - old_log_prob [...], zero where no step was taken.

    It is to be masked here, before exp: a step that was not taken may be infinitely likely, and in a gradient zero
    times infinity is no number.
    """
    return torch.where(mask > 0, log_prob - old_log_prob, 0.0)


def clipped_surrogate(
    log_prob: Tensor, old_log_prob: Tensor, advantages: Tensor, mask: Tensor, clip_range: float
) -> Surrogate:
    """Return the clipped surrogate loss of Schulman et al. (2017), equation 7, over steps [...]."""
    log_ratio = log_ratios(log_prob, old_log_prob, mask)
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
