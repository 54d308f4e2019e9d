"""Outer objectives: losses of one round after adaptation, with the diagnostics of the probability ratio."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from ..common.ppo import clipped_surrogate, log_ratios, masked_mean
from .records import Round

OuterObjective = Callable[[Tensor, Round], tuple[Tensor, Tensor, Tensor]]
"""(log_prob, round of one task) -> loss, clip fraction, mean of abs(ratio - 1)."""


def clipped_objective(clip_range: float) -> OuterObjective:
    """Return PPO's loss, minus the clipped surrogate (Schulman et al., 2017, equation 7)."""

    def objective(log_prob: Tensor, data: Round) -> tuple[Tensor, Tensor, Tensor]:
        surrogate = clipped_surrogate(log_prob, data.old_log_prob, data.advantages, data.mask, clip_range)
        return surrogate.loss, surrogate.clip_fraction, surrogate.ratio_deviation

    return objective


def ratio_objective(log_prob: Tensor, data: Round) -> tuple[Tensor, Tensor, Tensor]:
    """Return minus the unclipped surrogate -mean(ratio A), for meta-steps that bound themselves by other means."""
    ratio = torch.exp(log_ratios(log_prob, data.old_log_prob, data.mask))
    deviation = masked_mean((ratio.detach() - 1).abs(), data.mask)
    return -masked_mean(ratio * data.advantages, data.mask), torch.zeros_like(deviation), deviation
