"""Answers and losses by the space of targets: classes by cross-entropy, numbers by squared error."""

from __future__ import annotations

from dataclasses import replace
from typing import Literal, Protocol

import numpy as np
import torch
from gymnasium import spaces
from torch import Tensor

from metarl.base.errors import MetarlError
from metarl.families.family import TaskFamily
from metarl.families.questions import require_questions
from metarl.families.spaces import Boxes
from metarl.trials.episodes import Episodes

from ..common.exported import action_outputs
from ..common.heads import ActionHead, action_head
from ..common.policy import Parameters
from ..common.ppo import masked_mean
from .boxes import BoxAnswers

NumberError = Literal["squared", "absolute"]
"""Loss of answers that are numbers. The squared error asks for the mean of what may be right, the absolute one for its
median, which is best where a reward is minus the absolute error, as for ratings."""


class Scoring(Protocol):
    """What agents ask of the outputs of a network."""

    def mean_loss(self, outputs: Tensor, targets: Tensor, mask: Tensor) -> Tensor:
        """Return the mean loss, of outputs [..., n] and targets [..., *target], where `mask` [...] is one."""
        ...

    def best(self, outputs: Tensor) -> np.ndarray:
        """Return the best answer, [..., *action]."""
        ...

    def weight(self, targets: Tensor, mask: Tensor) -> Tensor:
        """Return how many things `mean_loss` is the mean over."""
        ...

    def confidence(self, outputs: Tensor) -> np.ndarray | None:
        """Return the probability of the best answer, [...]; None for answers that have none."""
        ...

    def exported(self, outputs: Tensor) -> dict[str, Tensor]:
        """Return what an exported step returns: the best answer as `action`, and the logits of classes."""
        ...


class AnswerHead(Scoring, Protocol):
    """Turns outputs of a network into answers, and compares them with right ones."""

    num_outputs: int
    """Outputs that stand for one answer, or for one cell of a map."""
    num_own: int
    """Those that the head of a task makes; `complete` adds the others."""
    of_classes: bool
    """Whether `vectors` are zeros and ones that say which class each question belongs to."""

    def loss(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Return the loss of each answer, [...], of outputs [..., num_outputs] and targets [..., *target]."""
        ...

    def vectors(self, targets: Tensor) -> Tensor:
        """Return right answers as numbers, [..., num_own]: one-hot vectors of classes, or the numbers."""
        ...

    def focus(self, features: Tensor, targets: Tensor) -> Tensor:
        """Return the features [..., size] that right answers are about: all of them, or of a map those in the box."""
        ...

    def initial_parameters(self, size: int, generator: torch.Generator) -> dict[str, Tensor]:
        """Return fresh parameters that turn `size` features into the outputs that no head makes, in float64."""
        ...

    def complete(self, parameters: Parameters, own: Tensor, features: Tensor) -> Tensor:
        """Return outputs [..., num_outputs] of those that a head makes [..., num_own], and of features [..., size]."""
        ...


class _WholeAnswers:
    """Answers that are about the whole question, and whose outputs all come from the head of a task."""

    def focus(self, features: Tensor, targets: Tensor) -> Tensor:
        """Return the features."""
        return features

    def initial_parameters(self, size: int, generator: torch.Generator) -> dict[str, Tensor]:
        """Return no parameters."""
        return {}

    def complete(self, parameters: Parameters, own: Tensor, features: Tensor) -> Tensor:
        """Return the outputs of the head."""
        return own


class ClassAnswers(_WholeAnswers):
    """Answers of a discrete space: the loss is minus the log-probability of the right one."""

    of_classes = True

    def __init__(self, head: ActionHead) -> None:
        self.head, self.num_outputs, self.num_own = head, head.num_outputs, head.num_outputs

    def loss(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Return the cross-entropy in nats, [...]."""
        return -self.head.log_prob(outputs, targets)

    def mean_loss(self, outputs: Tensor, targets: Tensor, mask: Tensor) -> Tensor:
        """Return the mean over the answers that `mask` [...] marks."""
        return masked_mean(self.loss(outputs, targets), mask)

    def weight(self, targets: Tensor, mask: Tensor) -> Tensor:
        """Return the number of answers that `mask` marks: `mean_loss` is the mean over them."""
        return mask.sum()

    def best(self, outputs: Tensor) -> np.ndarray:
        """Return the likeliest answers."""
        return self.head.mode(outputs)

    def confidence(self, outputs: Tensor) -> np.ndarray:
        """Return the probability of the likeliest answer, over all choices where there are several."""
        outputs = outputs.detach().double()
        best = torch.as_tensor(self.head.mode(outputs), device=outputs.device)
        return self.head.log_prob(outputs, best).exp().cpu().numpy()

    def vectors(self, targets: Tensor) -> Tensor:
        """Return one-hot vectors, one behind the other where there are several choices."""
        return self.head.features_of(targets)

    def exported(self, outputs: Tensor) -> dict[str, Tensor]:
        """Return the likeliest answers and the logits."""
        return action_outputs(self.head, outputs)


class NumberAnswers(_WholeAnswers):
    """Answers of a box: the loss is the squared or the absolute error, mean over its numbers.

    Outputs are differences to the middle of the box, in its own units. A fresh network's outputs are around zero, and
    penalties pull towards zero, which may be no answer at all. Without two finite bounds the middle is zero.
    """

    of_classes = False

    def __init__(self, space: spaces.Box, error: NumberError = "squared", device: str = "cpu") -> None:
        self.space, self.error, self.num_outputs = space, error, int(np.prod(space.shape))
        self.num_own = self.num_outputs
        bounded = np.isfinite(space.low) & np.isfinite(space.high)
        low, high = (np.where(bounded, bound, 0.0).astype(np.float64) for bound in (space.low, space.high))
        middle = torch.as_tensor(((low + high) / 2).reshape(-1), device=device)
        # Held in both types on the network's device: a loss shall not wait for a copy.
        self._middle = {dtype: middle.to(dtype) for dtype in (torch.float32, torch.float64)}

    def _middle_as(self, like: Tensor) -> Tensor:
        """Return the middle in the type and on the device of `like`, which differs where a policy is exported."""
        return self._middle[like.dtype].to(like.device)

    def loss(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Return the error, [...]."""
        difference = outputs - self.vectors(targets)
        return (difference.square() if self.error == "squared" else difference.abs()).mean(-1)

    def mean_loss(self, outputs: Tensor, targets: Tensor, mask: Tensor) -> Tensor:
        """Return the mean over the answers that `mask` [...] marks."""
        return masked_mean(self.loss(outputs, targets), mask)

    def weight(self, targets: Tensor, mask: Tensor) -> Tensor:
        """Return the number of answers that `mask` marks: `mean_loss` is the mean over them."""
        return mask.sum()

    def best(self, outputs: Tensor) -> np.ndarray:
        """Return the outputs as actions of the box; the rollout clips them."""
        outputs = outputs.detach() + self._middle_as(outputs)
        actions = outputs.cpu().numpy().astype(self.space.dtype)
        return actions.reshape(*outputs.shape[:-1], *self.space.shape)

    def confidence(self, outputs: Tensor) -> None:
        """Return None: an output is a number without a distribution."""
        return

    def vectors(self, targets: Tensor) -> Tensor:
        """Return the numbers from the middle of the box, flattened."""
        flat = targets.reshape(*targets.shape[: targets.dim() - len(self.space.shape)], self.num_outputs)
        return flat - self._middle_as(flat)

    def exported(self, outputs: Tensor) -> dict[str, Tensor]:
        """Return the outputs as actions of the box, clipped to it."""
        low, high = torch.from_numpy(self.space.low), torch.from_numpy(self.space.high)
        outputs = outputs + self._middle_as(outputs)
        return {"action": outputs.reshape(*outputs.shape[:-1], *self.space.shape).to(low.dtype).clamp(low, high)}


def finds_boxes(family: TaskFamily) -> bool:
    """Return whether the right answers of a family are boxes in images, which agents find in a map of cells."""
    return isinstance(family.target_space, Boxes)


def answer_head(
    agent: str,
    family: TaskFamily,
    error: NumberError = "squared",
    *,
    grid: tuple[int, int] | None = None,
    device: str = "cpu",
) -> AnswerHead:
    """Return the answers of a family, with an error for those that are numbers. Losses are computed on `device`.

    `grid` has the rows and columns of the map in which boxes are found; None takes boxes for plain numbers. Raises
    MetarlError for a family that knows no targets.
    """
    space = family.target_space
    if space is None:
        raise MetarlError(
            f"agent {agent!r} learns from right answers, and family {family.name!r} knows none; take one that does, "
            "such as sinusoid, or an agent that learns from rewards, such as maml-ppo"
        )
    if grid is not None and finds_boxes(family):
        return BoxAnswers(grid)
    return NumberAnswers(space, error, device) if isinstance(space, spaces.Box) else ClassAnswers(action_head(space))


def scores_of(family: TaskFamily, answers: np.ndarray, targets: np.ndarray) -> np.ndarray:
    """Return the reward of each answer, [...], given the right ones; both are [..., *action]."""
    questions, space = require_questions(family), family.action_space
    return questions.score(answers.clip(space.low, space.high) if isinstance(space, spaces.Box) else answers, targets)


def logits_of(answers: Scoring, outputs: Tensor) -> np.ndarray | None:
    """Return the logits of answers that are classes, question first, as `Learner.outputs`; None for other answers."""
    return question_first(outputs.detach().cpu().numpy()) if isinstance(answers, ClassAnswers) else None


def question_first(told: np.ndarray | None) -> np.ndarray | None:
    """Return [task, question, replica, ...] as [question, task, replica, ...]."""
    return None if told is None else np.moveaxis(told, 0, 1)


def mean_score(family: TaskFamily, episodes: Episodes, answers: np.ndarray) -> float:
    """Return the mean score that a round of questions has with `answers` [time, task, replica, *action]."""
    assert episodes.targets is not None  # a family of questions knows them
    rewards = scores_of(family, answers, episodes.targets)
    return float(replace(episodes, rewards=np.where(episodes.mask, rewards, 0.0)).scores(family.measure).mean())


def target_type(space: object, dtype: torch.dtype) -> torch.dtype | None:
    """Return the type of targets as tensors: that of the network for numbers, their own for classes."""
    return dtype if isinstance(space, spaces.Box) else None
