"""A round of answered questions as tensors."""

from __future__ import annotations

from typing import NamedTuple, Self

from torch import Tensor


class Advice(NamedTuple):
    """What a teacher would answer in a round, and what it counts for. All have the axes of the round's mask first."""

    answers: Tensor
    """Its answers. [..., *target]"""
    outputs: Tensor
    """Numbers of its distribution, `Learner.outputs`; none where it tells none. [..., n]"""
    own: Tensor
    """Weight of the loss of the right answers. [...]"""
    weight: Tensor
    """Weight of the loss of the teacher's answers. [...]"""
    temperature: Tensor
    """What logits are divided by. [...]"""


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
    advice: tuple[Advice, ...] = ()
    """What a teacher would answer; () without one, so that vmap finds nothing there."""

    @property
    def tensors(self) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """What a task shows: all but a teacher's advice."""
        return self.observations, self.raw, self.targets, self.mask

    @classmethod
    def of(cls, observations: Tensor, raw: Tensor, targets: Tensor, mask: Tensor) -> Self:
        """Return `tensors` as a round without advice."""
        return cls(observations, raw, targets, mask)


class Encoded(NamedTuple):
    """One round of one task, whose questions the encoder has read."""

    features: Tensor
    """What the encoder makes of the questions. [time, replica, ..., num_features]"""
    targets: Tensor
    """Right answers. [time, replica, *target]"""
    mask: Tensor
    """One for a question that was asked, else zero. [time, replica]"""
    advice: tuple[Advice, ...] = ()
    """What a teacher would answer; () without one."""
