"""How well a list that is sorted by foretold ratings agrees with the true ones.

Foretold ratings that are equal are in every order with the same chance, and measures are the mean over those orders, as
McSherry and Najork (ECIR 2008) have it: an agent that tells no items apart is neither lucky nor unlucky.
"""

from __future__ import annotations

import numpy as np

from .table import Scale


def _shares(foretold: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Return the expected weight of each item's rank, [..., item].

    `weights` [rank] are those of the first ranks; the others have none.
    """
    above = (foretold[..., None, :] > foretold[..., :, None]).sum(axis=-1)
    level = (foretold[..., None, :] == foretold[..., :, None]).sum(axis=-1)
    total = np.concatenate([[0.0], np.cumsum(weights)])
    first, last = (np.minimum(each, len(weights)) for each in (above, above + level))
    return (total[last] - total[first]) / level


def gains(ratings: np.ndarray, scale: Scale) -> np.ndarray:
    """Return 2^rating - 1, the gain of Burges et al. (ICML 2005). A scale beyond 0 to 10 is first moved to 1 to 5."""
    low, high = scale
    moved = ratings if low >= 0 and high <= 10 else 1 + 4 * (ratings - low) / (high - low)
    return np.exp2(moved) - 1


def ndcg(foretold: np.ndarray, gain: np.ndarray, most: int) -> np.ndarray:
    """Return the normalised discounted cumulative gain of the first `most` items, [...], from 0 to 1.

    `foretold` and `gain` are [..., item]. Jarvelin and Kekalainen (TOIS 2002), with discounts 1 / log2(1 + rank). NaN
    where no item has a gain.
    """
    discounts = 1 / np.log2(2 + np.arange(min(most, gain.shape[-1])))
    reached = (gain * _shares(foretold, discounts)).sum(axis=-1)
    best = (-np.sort(-gain, axis=-1)[..., : len(discounts)] * discounts).sum(axis=-1)
    return np.divide(reached, best, out=np.full(best.shape, np.nan), where=best > 0)


def precision(foretold: np.ndarray, liked: np.ndarray, most: int) -> np.ndarray:
    """Return the share of liked items among the first `most`, [...]; both arrays are [..., item]."""
    listed = min(most, liked.shape[-1])
    return (liked * _shares(foretold, np.ones(listed))).sum(axis=-1) / listed


def first_items(foretold: np.ndarray, most: int) -> np.ndarray:
    """Return the places of the first `most` items, int64 [..., rank]; of equal ones, those that were asked first."""
    return np.argsort(-foretold, axis=-1, kind="stable")[..., :most]
