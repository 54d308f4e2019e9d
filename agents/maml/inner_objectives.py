"""Losses whose gradient is the policy gradient where the data was played, and which differ in their second derivative.

Each is a function of log-probabilities [time, replica] under the present parameters and under those that acted (a
constant), of advantages and of a mask of the same shape, and returns minus an objective. At the acting parameters all
have the same gradient. Meta-learning differentiates that gradient once more, and there they part.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from ..common.ppo import masked_mean

InnerObjective = Callable[[Tensor, Tensor, Tensor, Tensor], Tensor]
"""(log_prob, old_log_prob, advantages, mask) -> loss."""


def likelihood_ratio(log_prob: Tensor, old_log_prob: Tensor, advantages: Tensor, mask: Tensor) -> Tensor:
    """Return -mean(ratio A), ratio = pi / stop_gradient(pi that acted).

    Low-variance curvature (Rothfuss et al., ProMP, ICLR 2019, equation 8 and, once an outer epoch has moved the starting
    point, J^LR of equation 12): its second derivative leaves out products of different steps' scores.
    """
    return -masked_mean(torch.exp(log_prob - old_log_prob) * advantages, mask)


def dice(log_prob: Tensor, old_log_prob: Tensor, advantages: Tensor, mask: Tensor) -> Tensor:
    """Return -mean((box(t) - box(t-1)) A_t), box(t) the product of the ratios up to step t.

    The unbiased second derivative: DiCE (Foerster et al., ICML 2018) in the form that takes advantages (Farquhar et al.,
    Loaded DiCE, NeurIPS 2019). Products over an episode make it noisy where episodes are long.
    """
    log_ratio = (log_prob - old_log_prob) * mask
    total = log_ratio.cumsum(0)
    return -masked_mean((torch.exp(total) - torch.exp(total - log_ratio)) * advantages, mask)


def policy_gradient(log_prob: Tensor, old_log_prob: Tensor, advantages: Tensor, mask: Tensor) -> Tensor:
    """Return -mean(log pi A), as MAML's own code has it: its second derivative leaves out that the data would change."""
    return -masked_mean(log_prob * advantages, mask)


INNER_OBJECTIVES: dict[str, InnerObjective] = {
    "likelihood-ratio": likelihood_ratio,
    "dice": dice,
    "policy-gradient": policy_gradient,
}
"""By their names in a config."""
