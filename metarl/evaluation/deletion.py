"""Leave-one-out: how answers change when examples are taken away, and whether the examples that count are those.

R. D. Cook, "Detection of Influential Observation in Linear Regression", Technometrics 1977, for one observation at a
time. Deletion curves as the score of an explanation: Petsiuk, Das and Saenko, "RISE", BMVC 2018; as the
comprehensiveness of a rationale: DeYoung et al., "ERASER", ACL 2020. Beside random ones: Hooker et al., NeurIPS 2019.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..base.streams import generator
from .statistics import mean_interval

MOST_SIZES = 20
"""Most numbers of deleted examples that are tried."""


def answer_changes(answers: np.ndarray, confidences: np.ndarray | None, *, classes: bool) -> np.ndarray:
    """Return by how much each variant's answers differ from those of variant 0, [variant - 1, query].

    `answers` is [variant, query, *action], `confidences` [variant, query] or None. For numbers it is the whole answer
    minus that without the examples: above zero, they moved the answer up. An answer of several numbers has the mean of
    their absolute changes, which is never below zero. For `classes` it is the confidence in the whole trial's answer
    minus the confidence with which the variant gives that answer, zero where it gives another one: above zero, the
    examples spoke for the answer. Where a learner does not say how sure it is, it is 1 for another answer and 0 for the
    same.
    """
    flat = answers.reshape(*answers.shape[:2], -1)
    if classes:
        sure = np.ones(flat.shape[:2]) if confidences is None else confidences
        same = (flat[1:] == flat[:1]).all(axis=-1)
        return sure[:1] - np.where(same, sure[1:], 0.0)
    changes = flat[:1].astype(np.float64) - flat[1:]
    return changes[..., 0] if changes.shape[-1] == 1 else np.abs(changes).mean(axis=-1)


def leave_one_out(num_examples: int) -> np.ndarray:
    """Return the variants whose answers tell each example's influence, bool [1 + example, example].

    The first one leaves out nothing.
    """
    return np.concatenate([np.zeros((1, num_examples), dtype=bool), np.eye(num_examples, dtype=bool)])


def total_influence(influence: np.ndarray) -> np.ndarray:
    """Return the mean over queries of the absolute influence [example, query], [example]."""
    return np.asarray(np.abs(influence).mean(axis=1))


def deletion_sizes(num_examples: int) -> np.ndarray:
    """Return the numbers of examples that are deleted together: from 1 to all but one, at most `MOST_SIZES` of them.

    Without any example, deletion of the most influential ones is random deletion.
    """
    most = num_examples - 1
    return np.unique(np.linspace(1, most, min(most, MOST_SIZES)).round().astype(np.int64))


def deletions(ranking: np.ndarray, sizes: np.ndarray, draws: int, rng: np.random.Generator) -> np.ndarray:
    """Return the variants of a deletion curve, bool [1 + draw, size, example].

    The first row leaves out the first examples of `ranking` [example], the others those of random orders.
    """
    orders = np.stack([ranking, *(rng.permutation(len(ranking)) for _ in range(draws))])
    places = np.argsort(orders, axis=1)
    return np.asarray(places[:, None] < sizes[:, None])


@dataclass(frozen=True, eq=False)
class Deletion:
    """How much answers change when the most influential examples are deleted together, beside random ones."""

    sizes: np.ndarray
    """Numbers of deleted examples. int64 [size]"""
    targeted: np.ndarray
    """Mean absolute change of the answers without the most influential examples. [task, size]"""
    random: np.ndarray
    """The same without random ones. [task, draw, size]"""

    @property
    def num_tasks(self) -> int:
        """Number of tasks."""
        return len(self.targeted)

    @property
    def differences(self) -> np.ndarray:
        """Change by deletion of the most influential examples minus that by random deletion, [sample, size].

        Samples are the tasks, with the mean over draws; in a single task, the draws.
        """
        each = self.targeted[:, None] - self.random
        return each[0] if self.num_tasks == 1 else each.mean(axis=1)

    @property
    def fidelity(self) -> np.ndarray:
        """Mean difference over tasks at each number of deleted examples, [size]."""
        return np.asarray(self.differences.mean(axis=0))

    @property
    def interval(self) -> np.ndarray:
        """95 % bootstrap interval of `fidelity` over tasks, [size, 2]; of a single task, over random draws."""
        return mean_interval(self.differences[None], rng=generator(0, "deletion interval"))

    @property
    def scored(self) -> np.ndarray:
        """Sizes that `area` is the mean over: from two to half of the examples, bool [size].

        A single one is left out, as the most influential example is above a random one by its definition. ERASER
        deletes half at most: larger sets share most of their examples, and what is left decides.
        """
        return np.asarray((self.sizes > 1) & (2 * self.sizes <= self.sizes[-1] + 1))

    @property
    def area(self) -> tuple[float, float, float] | None:
        """Deletion fidelity: mean of `fidelity` over the sizes that are `scored`, and its interval; None without any.

        Above zero, the examples that the explanation names count more together than random ones.
        """
        if not self.scored.any():
            return None
        means = self.differences[:, self.scored].mean(axis=1)
        low, high = mean_interval(means[None], rng=generator(0, "deletion area"))
        return float(means.mean()), float(low), float(high)
