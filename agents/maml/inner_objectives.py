"""Inner objectives: losses whose gradient is the policy gradient, and which differ in their second derivative.

Each maps log-probabilities [time, replica] under the present and the acting parameters, advantages and a mask of the
same shape to a loss. The acting log-probabilities are constants. Where present and acting parameters agree, all losses
have the same gradient. Second-order meta-gradients differentiate that gradient once more; there the losses differ.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from ..common.ppo import log_ratios, masked_mean

InnerObjective = Callable[[Tensor, Tensor, Tensor, Tensor], Tensor]
"""(log_prob, old_log_prob, advantages, mask) -> loss."""


def likelihood_ratio(log_prob: Tensor, old_log_prob: Tensor, advantages: Tensor, mask: Tensor) -> Tensor:
    """Return -mean(ratio A), with ratio = pi / pi_acting.

    Its second derivative has low variance: it leaves out the products of different steps' scores (Rothfuss et al.,
    ProMP, ICLR 2019, equation 8; after the first outer epoch, J^LR of equation 12).
    """
    return -masked_mean(torch.exp(log_ratios(log_prob, old_log_prob, mask)) * advantages, mask)


def dice(log_prob: Tensor, old_log_prob: Tensor, advantages: Tensor, mask: Tensor) -> Tensor:
    """Return -mean((box(t) - box(t-1)) A_t), with box(t) the product of the ratios up to step t.

    Its second derivative is unbiased: DiCE (Foerster et al., ICML 2018) in the form for advantages (Farquhar et al.,
    Loaded DiCE, NeurIPS 2019). The products over an episode make it noisy in long episodes.
    """
    log_ratio = log_ratios(log_prob, old_log_prob, mask)
    total = log_ratio.cumsum(0)
    return -masked_mean((torch.exp(total) - torch.exp(total - log_ratio)) * advantages, mask)


def policy_gradient(log_prob: Tensor, old_log_prob: Tensor, advantages: Tensor, mask: Tensor) -> Tensor:
    """Return -mean(log pi A), the loss of MAML's own code.

    Its second derivative leaves out that other parameters would have collected other data.
    """
    return -masked_mean(log_prob * advantages, mask)


INNER_OBJECTIVES: dict[str, InnerObjective] = {
    "likelihood-ratio": likelihood_ratio,
    "dice": dice,
    "policy-gradient": policy_gradient,
}
"""Inner objectives by their names in a config."""
