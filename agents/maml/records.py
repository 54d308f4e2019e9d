"""The records of an update: a round as the losses take it, and the numbers a task's losses give."""

from __future__ import annotations

from typing import NamedTuple

from torch import Tensor

CODE_MEASURES = ("code_kl", "code_entropy", "encoder_penalty", "orthogonality")
"""Measures of a code: its KL to the prior and its entropy, mean over dimensions in nats, how far its steps moved it,
and the correlations of the decoder's rows."""


class Round(NamedTuple):
    """One round of a batch of tasks. The losses see one task of it, without the first axis: vmap takes that away."""

    observations: Tensor
    """Normalized vectors of the observations, then their one-hot vectors. [task, time, replica, d]"""
    raw: Tensor
    """Images and sequences of tokens, flattened; bytes stay bytes. [task, time, replica, num_raw]"""
    actions: Tensor
    """Actions as sampled. [task, time, replica, *action]"""
    advantages: Tensor
    """Advantages, normalized within each task. [task, time, replica]"""
    mask: Tensor
    """One for a step that was taken, else zero. [task, time, replica]"""
    old_outputs: Tensor
    """Parameters of the action distributions of the policy that acted. [task, time, replica, num_outputs]"""
    old_log_prob: Tensor
    """Log-probability of the actions under the policy that acted. [task, time, replica]"""
    outcomes: Tensor
    """Scaled reward and next observation's numbers, for an encoder of steps; n = 0 without one. [task, time, replica,
    n]"""
    noise: Tensor
    """What is drawn for a code of the round, zero for its mean; n = 0 without one. [task, n]"""


class Measures(NamedTuple):
    """Measures of one task's round at parameters that may have moved since the policy acted."""

    kl: Tensor
    """KL(acting || present) in nats, mean over steps."""
    entropy: Tensor
    """Entropy of the present policy in nats, mean over steps."""
    loss: Tensor
    """Loss of the round by the outer objective."""


class Outcome(NamedTuple):
    """Loss and diagnostics of a trial after adapting to all rounds but the last; each field is one number per task."""

    loss: Tensor
    """Outer loss without penalties: of the last round, or the mean over all rounds."""
    kl: Tensor
    """KL(acting || present) of the adapted policy on the last round. In nats, mean over steps."""
    inner_kl: Tensor
    """KL(acting || present) of the policies before the last round, each on its own round. In nats, mean over rounds."""
    clip_fraction: Tensor
    """Share of the last round's steps whose probability ratio lies outside the clip range."""
    ratio_deviation: Tensor
    """Mean of abs(ratio - 1) on the last round."""
    entropy: Tensor
    """Entropy of the adapted policy in nats, mean over steps."""
    inner_gradient_norm: Tensor
    """Euclidean norm of the inner gradient, mean over inner steps."""
    of_code: Tensor
    """What `CODE_MEASURES` names; nothing without a code. [measure]"""
