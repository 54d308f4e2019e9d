"""Rounds of answered pairs as rows of tokens, and groups of like length, whose padding is short."""

from __future__ import annotations

from typing import NamedTuple, Self

import torch
from torch import Tensor

from ..supervised.answered import Answered
from .tokens import trim, with_end

NUM_GROUPS = 4
"""Groups of like length. Four leave little padding, and each still has enough rows for a core."""
LEAST_ROWS = 4
"""Questions of a task that a group has at least."""


class Rows(NamedTuple):
    """Answered pairs of every task, those of all replicas."""

    questions: Tensor
    """Tokens. int64 [task, question, place]"""
    targets: Tensor
    """Tokens of the right answers. int64 [task, question, place]"""
    mask: Tensor
    """One for a question that was asked, else zero. [task, question]"""

    @classmethod
    def of(cls, data: Answered) -> Self:
        """Return a round of questions whose observations are tokens."""
        mask = data.mask.flatten(1, 2)
        # What a row that was not asked holds is nothing to read.
        asked = (mask > 0)[..., None]
        questions, targets = data.observations.flatten(1, 2).long(), data.targets.flatten(1, 2).long()
        return cls(questions * asked, targets * asked, mask)


def by_length(data: Rows) -> tuple[Tensor, list[Rows]]:
    """Return the order of questions by the length of their answers, [task, question], and groups in that order.

    Every group is cut to its longest question and answer, so that fewer places are computed in vain. Ends count.
    """
    order = with_end(data.targets).sum(-1).argsort(dim=1, stable=True)
    count = max(1, min(NUM_GROUPS, order.shape[1] // LEAST_ROWS))
    return order, [_cut(data, part) for part in order.chunk(count, dim=1)]


def _cut(data: Rows, order: Tensor) -> Rows:
    """Return some rows, without places that none of them has."""
    tasks = torch.arange(len(order), device=order.device)[:, None]
    questions, targets, mask = (each[tasks, order] for each in data)
    longest = int(with_end(targets).sum(-1).max())
    return Rows(trim(questions), targets[..., :longest], mask)
