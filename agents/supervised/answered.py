"""A round of answered questions as tensors."""

from __future__ import annotations

from typing import NamedTuple

from torch import Tensor


class Answered(NamedTuple):
    """One round of a batch of tasks. The losses see one task of it, without the first axis: vmap takes that away."""

    observations: Tensor
    """Vectors of the observations, then their one-hot vectors. [task, time, replica, d]"""
    raw: Tensor
    """Images and sequences of tokens of the observations, flattened. [task, time, replica, num_raw]"""
    targets: Tensor
    """Right answers. [task, time, replica, *target]"""
    mask: Tensor
    """One for a question that was asked, else zero. [task, time, replica]"""


class Encoded(NamedTuple):
    """One round of one task, whose questions the encoder has read."""

    features: Tensor
    """What the encoder makes of the questions. [time, replica, ..., num_features]"""
    targets: Tensor
    """Right answers. [time, replica, *target]"""
    mask: Tensor
    """One for a question that was asked, else zero. [time, replica]"""
