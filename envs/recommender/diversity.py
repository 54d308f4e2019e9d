"""How varied what was shown is: within a slate, and over all users."""

from __future__ import annotations

import numpy as np


def first_shown(slates: np.ndarray) -> np.ndarray:
    """Return whether no place above holds the same item, bool [..., slot], of int64 [..., slot]."""
    same = slates[..., :, None] == slates[..., None, :]
    return ~np.tril(same, -1).any(axis=-1)


def cosine_distances(features: np.ndarray) -> np.ndarray:
    """Return 1 - cosine of each pair of items, [item, item], of `features` [item, feature]."""
    lengths = np.linalg.norm(features, axis=-1, keepdims=True)
    unit = features / np.where(lengths > 0, lengths, 1.0)
    return 1.0 - unit @ unit.T


def intra_list_distance(distances: np.ndarray, slates: np.ndarray) -> np.ndarray:
    """Return the mean of `distances` [item, item] over the pairs of places of each slate, [...], of int64 [..., slot].

    Ziegler et al., Improving Recommendation Lists Through Topic Diversification, WWW 2005, as a mean of distances. A
    slate has at least two places.
    """
    above, below = np.triu_indices(slates.shape[-1], 1)
    return distances[slates[..., above], slates[..., below]].mean(axis=-1)


def feature_distance(features: np.ndarray) -> np.ndarray:
    """Return the mean cosine distance between the items of a list, [...], of features [..., item, column].

    The same measure where no distances of a whole catalogue are held. From 0, all alike, to 2; an item without features
    is at a distance of 1 from all others. NaN for a single item.
    """
    count = features.shape[-2]
    if count < 2:
        return np.full(features.shape[:-2], np.nan)
    lengths = np.linalg.norm(features, axis=-1, keepdims=True)
    unit = np.divide(features, lengths, out=np.zeros_like(features), where=lengths > 0)
    total = np.square(unit.sum(axis=-2)).sum(axis=-1) - np.square(unit).sum(axis=(-2, -1))
    return 1 - total / (count * (count - 1))


def coverage(counts: np.ndarray) -> float:
    """Return the share of items that were shown at least once, of `counts` [item]. Ge et al., RecSys 2010."""
    return float(np.mean(counts > 0))


def gini(counts: np.ndarray) -> float:
    """Return the Gini index of `counts` [item]: 0 where all items are shown as often, near 1 where one has all.

    sum over items in ascending order of (2 i - n - 1) count_i / (n sum of counts): Shani and Gunawardana, Evaluating
    Recommendation Systems, 2011, with n for n - 1. NaN where nothing was shown.
    """
    ascending, size = np.sort(counts), len(counts)
    total = float(ascending.sum())
    return float((2 * np.arange(1, size + 1) - size - 1) @ ascending) / (size * total) if total else float("nan")
