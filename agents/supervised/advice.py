"""Soft targets: what a teacher would answer, beside what is right or in its place.

Hinton, Vinyals and Dean (Distilling the Knowledge in a Neural Network, 2015), at temperature T:

    L = own * CE(right answer, student) + weight * T^2 * KL(teacher / T || student / T)

Here the teacher is shown what the student is shown, and both adapt between rounds. Inner steps learn from right
answers alone: there is no teacher in a new task.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from metarl.trials.episodes import Episodes, Imitation, Trial

from ..common.advice import divergence, require_comparable
from ..common.ppo import masked_mean
from .answered import Advice, Answered
from .answers import ClassAnswers, NumberAnswers, Scoring


def is_teachable(answers: object) -> bool:
    """Return whether answers of a kind can be learned from a teacher's: classes and numbers can."""
    return isinstance(answers, ClassAnswers | NumberAnswers)


def with_advice(rounds: Sequence[Answered], trial: Trial, answers: Scoring) -> list[Answered]:
    """Return the rounds of a trial with what a teacher would answer in them, if it has one.

    Raises MetarlError for a temperature without a distribution, and for one over other answers.
    """
    if trial.imitation is None:
        return list(rounds)
    assert isinstance(answers, ClassAnswers | NumberAnswers)  # `TrainableAgent.can_be_taught` says so
    return [
        data._replace(advice=_read_advice(answers, episodes, trial.imitation, data))
        for data, episodes in zip(rounds, trial.rounds, strict=True)
    ]


def _read_advice(
    answers: ClassAnswers | NumberAnswers, episodes: Episodes, imitation: Imitation, data: Answered
) -> tuple[Advice, ...]:
    assert episodes.advised is not None  # a trial with a teacher has its advice
    outputs = episodes.advised_outputs if isinstance(answers, ClassAnswers) else None
    if isinstance(answers, ClassAnswers):
        require_comparable(outputs, answers.head, imitation)
    told = np.zeros((*episodes.mask.shape, 0)) if outputs is None else outputs
    first = (np.ascontiguousarray(np.moveaxis(each, 1, 0)) for each in (episodes.advised, told))
    advised, distribution = (torch.as_tensor(each, device=data.mask.device) for each in first)
    own, ones = float(imitation.loss == "kickstart"), torch.ones_like(data.mask)
    weights = (own * ones, imitation.weight * ones, imitation.temperature * ones)
    return (Advice(advised.to(data.targets.dtype), distribution.to(data.mask.dtype), *weights),)


class Asked(Protocol):
    """Questions with right answers."""

    @property
    def targets(self) -> Tensor:
        """Right answers. [..., *target]"""
        ...

    @property
    def mask(self) -> Tensor:
        """One for a question that was asked, else zero. [...]"""
        ...


def over_questions(advice: tuple[Advice, ...]) -> tuple[Advice, ...]:
    """Return advice [task, time, replica, ...] as [task, question, ...]."""
    return tuple(Advice(*(part.flatten(1, 2) for part in each)) for each in advice)


def round_loss(answers: Scoring, outputs: Tensor, data: Asked, advice: tuple[Advice, ...]) -> Tensor:
    """Return the mean loss of `outputs` [..., n] in a round: by its right answers, and by a teacher's if it has one."""
    if not advice:
        return answers.mean_loss(outputs, data.targets, data.mask)
    (told,) = advice
    assert isinstance(answers, ClassAnswers | NumberAnswers)  # `with_advice` says so
    own = answers.loss(outputs, data.targets)
    return masked_mean(told.own * own + told.weight * distance(answers, outputs, told), data.mask)


def distance(answers: ClassAnswers | NumberAnswers, outputs: Tensor, advice: Advice) -> Tensor:
    """Return how far outputs [..., n] are from a teacher's answers, [...].

    T^2 KL(teacher || student) in nats, both at temperature T, where it tells its distribution; else the loss with the
    teacher's answer as the right one.
    """
    if isinstance(answers, NumberAnswers) or not advice.outputs.shape[-1]:
        return answers.loss(outputs, advice.answers)
    single = answers.loss(outputs, advice.answers)
    return divergence(answers.head, advice.outputs, outputs, advice.temperature, single)
