"""How well learners know how sure they may be: confidence in answers against how often they are right."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from gymnasium import spaces

from ..base.errors import MetarlError
from ..families.family import TaskFamily
from ..trials.episodes import Episodes

NUM_BINS = 15
"""Bins of equal width between 0 and 1, as in Guo et al. (2017)."""


@dataclass(frozen=True, eq=False)
class Calibration:
    """Answers by how sure the learner was of them, in `NUM_BINS` bins of equal width; a bin holds its upper end.

    Raises MetarlError for bins that contradict each other.
    """

    counts: np.ndarray
    """Answers in each bin. int64 [bin]"""
    confidence: np.ndarray
    """Mean probability that the learner gave to its own answers; NaN for an empty bin. [bin]"""
    accuracy: np.ndarray
    """Share of the answers that were right; NaN for an empty bin. [bin]"""

    def __post_init__(self) -> None:
        for name in ("counts", "confidence", "accuracy"):
            if (found := getattr(self, name).shape) != (NUM_BINS,):
                raise MetarlError(f"{name} has shape {found}; it must be {(NUM_BINS,)}, [bin]")
        empty = self.counts == 0
        if empty.all():
            raise MetarlError("counts are all zero; a calibration needs an answer")
        for name in ("confidence", "accuracy"):
            if not np.array_equal(np.isnan(getattr(self, name)), empty):
                raise MetarlError(f"{name} must be a number where counts are above zero, and nothing elsewhere")

    @property
    def error(self) -> float:
        """Expected calibration error: mean over answers of the distance between accuracy and confidence of their bin.

        Guo et al., "On Calibration of Modern Neural Networks" (ICML 2017), equation 3. 0 is best, 1 worst.
        """
        return self._mean(np.abs(self.accuracy - self.confidence))

    @property
    def mean_confidence(self) -> float:
        """Mean probability that the learner gave to its answers. Above the accuracy it was too sure."""
        return self._mean(self.confidence)

    @property
    def mean_accuracy(self) -> float:
        """Share of right answers."""
        return self._mean(self.accuracy)

    def _mean(self, values: np.ndarray) -> float:
        """Return the mean over answers of what their bin has."""
        filled = self.counts > 0
        return float((self.counts[filled] * values[filled]).sum() / self.counts.sum())


def answers_classes(family: TaskFamily) -> bool:
    """Return whether answers of a family are right or wrong, so that a learner can be sure of them."""
    return isinstance(family.target_space, (spaces.Discrete, spaces.MultiDiscrete, spaces.MultiBinary))


def bin_answers(episodes: Episodes) -> np.ndarray | None:
    """Return number, summed confidence and right answers of each task and bin, [task, bin, 3].

    None where the learner does not say how sure it is. The probability 0 belongs to the first bin.
    """
    if episodes.confidences is None:
        return None
    assert episodes.targets is not None  # `answers_classes` was asked
    same = episodes.actions == episodes.targets
    right = same.reshape(*episodes.mask.shape, -1).all(axis=-1)
    said = episodes.mask & ~np.isnan(episodes.confidences)
    sure = np.where(said, episodes.confidences, 0.0)
    place = np.clip(np.ceil(sure * NUM_BINS).astype(np.int64) - 1, 0, NUM_BINS - 1)
    num_tasks = said.shape[1]
    flat = (np.arange(num_tasks)[:, None] * NUM_BINS + place)[said]
    parts = (np.bincount(flat, each, num_tasks * NUM_BINS) for each in (None, sure[said], right[said]))
    return np.stack([part.reshape(num_tasks, NUM_BINS) for part in parts], axis=-1)


def pool_bins(bins: np.ndarray) -> Calibration | None:
    """Return the calibration of what `bin_answers` gave, [..., bin, 3], over all its tasks; None without an answer."""
    counts, confidence, right = bins.reshape(-1, NUM_BINS, 3).sum(axis=0).T
    if not counts.any():
        return None
    with np.errstate(invalid="ignore"):
        return Calibration(counts.astype(np.int64), np.minimum(confidence / counts, 1.0), right / counts)


def pool_calibrations(found: Sequence[Calibration]) -> Calibration:
    """Return several calibrations, such as those of training seeds, as one."""
    bins = [np.stack([c.counts, *(np.nan_to_num(c.counts * v) for v in (c.confidence, c.accuracy))], -1) for c in found]
    pooled = pool_bins(np.stack(bins))
    assert pooled is not None  # each of them has an answer
    return pooled
