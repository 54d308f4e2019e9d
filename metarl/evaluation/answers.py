"""What the single answers of a round say beside their mean: how they improve with each instance of a class."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from gymnasium import spaces

from ..families.family import TaskFamily
from ..trials.episodes import Episodes

MOST_INSTANCES = 20
"""Instances of a class that are told apart; later ones are left out."""


def shows_instances(family: TaskFamily) -> bool:
    """Return whether a family shows the class of each question before the next one is asked."""
    return family.reveal == "step" and isinstance(family.target_space, spaces.Discrete)


def instances(targets: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """Return how many questions of an episode up to each one had its class, int64 [time, ...]; 0 where none was asked.

    `targets` are classes, and `mask` says where a question was asked, both [time, ...]. The first instance of a class
    is 1: its answer can only be guessed.
    """
    found = np.zeros(targets.shape, dtype=np.int64)
    for each in np.unique(targets[mask]):
        asked = mask & (targets == each)
        found += np.where(asked, np.cumsum(asked, axis=0), 0)
    return found


def rewards_by_instance(episodes: Episodes) -> np.ndarray:
    """Return the mean reward of a task's answers at the first, second, ... instance of a class, [task, instance].

    NaN where a task has no such instance. Accuracy by instance is how memories that see each label after their answer
    are measured (Santoro et al., Meta-Learning with Memory-Augmented Neural Networks, ICML 2016, section 4.1).
    """
    assert episodes.targets is not None  # `shows_instances` was asked
    found = instances(episodes.targets, episodes.mask)
    means = []
    for number in range(1, min(int(found.max(initial=0)), MOST_INSTANCES) + 1):
        here = found == number
        counts = here.sum(axis=(0, 2))
        sums = np.where(here, episodes.rewards, 0.0).sum(axis=(0, 2))
        means.append(np.where(counts > 0, sums / np.maximum(counts, 1), np.nan))
    return np.stack(means, axis=1)


def join_instances(chunks: Sequence[np.ndarray]) -> np.ndarray:
    """Return the rewards by instance of all tasks [task, instance], as far as every task has one that is finite."""
    most = min(chunk.shape[1] for chunk in chunks)
    joined = np.concatenate([chunk[:, :most] for chunk in chunks])
    missing = ~np.isfinite(joined).all(axis=0)
    return np.ascontiguousarray(joined[:, : int(missing.argmax()) if missing.any() else most])
