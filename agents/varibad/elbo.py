"""The evidence lower bound of every belief of a trial (Zintgraf et al., VariBAD, ICLR 2020, equations 4 to 9).

With q_t the belief after t steps and i over all steps of the trial, past and future:

    ELBO_t = E_{m ~ q_t} [ sum_i log p(r_i | s_i, a_i, s_{i+1}, m) ] - KL(q_t || q_{t-1}),    q_{-1} = N(0, I)

Both terms are divided by the number of steps, so that neither trials nor settings change the size of a gradient.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

Decode = Callable[[Tensor, Tensor], Tensor]
"""From latent tasks [..., size] and transitions [..., n] to means of what is decoded, [..., m]."""


class Belief(NamedTuple):
    """Independent normal beliefs over a latent task."""

    mean: Tensor
    """[..., size]"""
    log_var: Tensor
    """Logarithm of the variances. [..., size]"""


class Draws(NamedTuple):
    """Random numbers of an update: which beliefs decode which steps, and the latent tasks. All [time, trial, ...]."""

    prefixes: Tensor
    """The beliefs at steps of the lowest numbers are taken. [time, trial]"""
    steps: Tensor
    """The steps of the lowest numbers are decoded. [time, trial]"""
    noise: Tensor
    """Standard normal. [time, trial, size]"""


class Bound(NamedTuple):
    """What the lower bound of trials consists of, means over their beliefs, divided by steps."""

    loss: Tensor
    """Minus the bound, its divergence weighed."""
    reconstruction: Tensor
    """Minus the log-likelihood of a step, in nats."""
    kl: Tensor
    """Divergence of a belief from its prior, in nats, not divided by steps."""


def divergence(belief: Belief, prior: Belief) -> Tensor:
    """Return KL(belief || prior) in nats, [...]."""
    moved = (belief.mean - prior.mean).square() + belief.log_var.exp()
    return 0.5 * (prior.log_var - belief.log_var + moved * torch.exp(-prior.log_var) - 1.0).sum(-1)


def prior_of(beliefs: Belief, *, fixed: bool) -> Belief:
    """Return what each belief [time, ...] is compared with: the standard normal one, or the belief a step before."""
    zeros = torch.zeros_like(beliefs.mean)
    if fixed:
        return Belief(zeros, zeros)
    return Belief(*(torch.cat([zeros[:1], each[:-1]]) for each in beliefs))


def log_normal(values: Tensor, means: Tensor, deviation: float) -> Tensor:
    """Return the log-density of independent normal numbers in nats, summed over the last axis, [...]."""
    squared = ((values - means) / deviation).square().sum(-1)
    return -0.5 * squared - values.shape[-1] * (math.log(deviation) + 0.5 * math.log(2 * math.pi))


def chosen(order: Tensor, mask: Tensor, count: int | None) -> tuple[Tensor, Tensor]:
    """Return the `count` marked steps of the lowest numbers in each trial, and whether each is one.

    `order` and `mask` are [time, trial]. A trial of fewer steps is filled with others, which are not marked. The result
    is [chosen, trial]. None chooses all.
    """
    count = min(count or len(order), len(order))
    index = torch.where(mask > 0, order, math.inf).topk(count, dim=0, largest=False).indices
    return index, mask.gather(0, index)


def take(values: Tensor, index: Tensor) -> Tensor:
    """Return `values` [time, trial, ...] at steps `index` [chosen, trial], [chosen, trial, ...]."""
    wide = index.reshape(*index.shape, *(1,) * (values.dim() - 2)).expand(*index.shape, *values.shape[2:])
    return values.gather(0, wide)


class Transitions(NamedTuple):
    """What steps of trials did, [time, trial, ...]."""

    inputs: Tensor
    """What a decoder is told: observation, action, next observation. [time, trial, n]"""
    outcomes: Tensor
    """What it is to tell: the reward, and the change of the observation if that is decoded. [time, trial, m]"""
    mask: Tensor
    """One for a step that was taken, else zero. [time, trial]"""


def bound(
    beliefs: Belief,
    transitions: Transitions,
    draws: Draws,
    decode: Decode,
    *,
    noise: float,
    kl_coef: float,
    fixed_prior: bool,
    num_prefixes: int | None,
    num_decoded: int | None,
    weight: Tensor | None = None,
) -> Bound:
    """Return minus the lower bound of trials, a mean over their beliefs and their steps.

    `beliefs` [time, trial, size] are those before each step. A draw of some of the beliefs and some of the steps has
    the same expectation as all of them. A trial counts by its `weight` [trial], by default its number of steps: the
    bound of many trials is then the weighed mean of the bounds of any parts of them.
    """
    mask = transitions.mask
    weight = mask.sum(0) if weight is None else weight

    def mean(values: Tensor, marked: Tensor) -> Tensor:
        of_trial = (torch.where(marked > 0, values, 0.0)).sum(0) / marked.sum(0).clamp(min=1)
        return (of_trial * weight).sum() / weight.sum().clamp(min=1)

    kl = divergence(beliefs, prior_of(beliefs, fixed=fixed_prior))
    prefixes, is_prefix = chosen(draws.prefixes, mask, num_prefixes)
    steps, is_step = chosen(draws.steps, mask, num_decoded)
    latents = take(beliefs.mean + torch.exp(0.5 * beliefs.log_var) * draws.noise, prefixes)
    inputs, outcomes = (take(each, steps) for each in (transitions.inputs, transitions.outcomes))
    decoded = decode(latents[:, None], inputs[None])  # [prefix, step, trial, m]
    log_prob = log_normal(outcomes[None], decoded, noise)
    of_prefix = (log_prob * is_step).sum(1) / is_step.sum(0).clamp(min=1)
    reconstruction = -mean(of_prefix, is_prefix)
    of_belief = take(kl, prefixes)
    per_step = mean(of_belief / mask.sum(0).clamp(min=1), is_prefix)
    return Bound(reconstruction + kl_coef * per_step, reconstruction, mean(of_belief, is_prefix))
