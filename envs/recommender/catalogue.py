"""The catalogue of the simulated recommender: its items, and what a user may be expected to do with each."""

from __future__ import annotations

import functools
from dataclasses import dataclass

import numpy as np

from metarl.base.streams import Streams

OBJECTIVES = ("click", "conversion", "satisfaction")
"""What a shown item may earn, in the order of all arrays."""
MEANS = np.array([-2.0, -0.8, 0.0])
"""Mean over items of the intercept of each objective's logit."""
POPULARITY_SPREAD = 0.7
"""Standard deviation over items of each objective's intercept."""
CLICKBAIT = -0.6
"""Correlation of an item's popularity with its intercepts of conversion and of satisfaction."""
TASTE_SPREAD = 1.5
"""Standard deviation over users of the part of a logit that depends on the user."""
SHARED = 0.5
"""Share of the variance of a loading that is the same for all objectives."""
OWN = 0.5
"""Share of the variance of a loading that is the item's own, and not its category's."""
CONTEXT_SPREAD = 0.3
"""Standard deviation of each coordinate by which the context moves the tastes of all users."""
FEATURE_NOISE = 0.5
"""Standard deviation of the noise of the features that are shown, beside loadings of unit variance."""
HOURS, DEVICES = 24, 2
CONTEXT_SIZE = 3
"""Numbers of a context: sine and cosine of the hour, and 1 for a phone or -1 for a computer."""


@dataclass(frozen=True, eq=False)
class Catalogue:
    """The items. Item `i` depends on the seed and on `i` alone: a larger catalogue begins with the smaller one."""

    categories: np.ndarray
    """Category of each item. int64 [item]"""
    intercepts: np.ndarray
    """Logit of each objective for a user without taste; that of clicks is the popularity. [objective, item]"""
    loadings: np.ndarray
    """What each coordinate of a user's taste adds to each logit. [factor, objective, item]"""
    shifts: np.ndarray
    """How each number of the context moves every user's taste. [context number, factor]"""
    features: np.ndarray
    """What a shop would know of an item: its category, one-hot, and noisy loadings of clicks. [item, feature]"""

    @property
    def num_items(self) -> int:
        """Number of items."""
        return len(self.categories)

    def expected_outcomes(self, tastes: np.ndarray, contexts: np.ndarray, items: np.ndarray) -> np.ndarray:
        """Return the expected click, conversion and satisfaction of examined items, [..., slot, objective].

        `tastes` is [..., factor], `contexts` [..., context number], `items` int64 [..., slot].
        """
        return outcomes_of(self.logits(tastes, contexts, items))

    def logits(self, tastes: np.ndarray, contexts: np.ndarray, items: np.ndarray) -> np.ndarray:
        """Return the logit of each objective, [objective, ..., slot], of arrays as in `expected_outcomes`."""
        # Sums term by term: a product of matrices would round differently for other numbers of worlds.
        moved = tastes
        for number, shift in enumerate(self.shifts):
            moved = moved + contexts[..., number, None] * shift
        logits = self.intercepts[:, items]
        for factor, loading in enumerate(self.loadings):
            logits = logits + moved[..., factor, None] * loading[:, items]
        return logits


def outcomes_of(logits: np.ndarray) -> np.ndarray:
    """Return expected outcomes, [..., objective], of `logits` [objective, ...].

    Conversion and satisfaction need a click, so their expectations are products with its chance.
    """
    click, conversion, satisfaction = 1.0 / (1.0 + np.exp(-logits))
    return np.stack([click, click * conversion, click * satisfaction], axis=-1)


@functools.lru_cache(maxsize=16)
def make_catalogue(num_items: int, factors: int, num_categories: int, seed: int, context: bool) -> Catalogue:
    """Return the catalogue of a seed. Train, validation and test share it. Arrays are read-only."""
    size, kinds = (factors,), len(OBJECTIVES)
    items = Streams.of(seed, "recommender items", np.arange(num_items))
    centres = Streams.of(seed, "recommender categories", np.arange(num_categories)).normal((kinds + 1, *size))
    categories = np.arange(num_items) % num_categories
    drawn = np.sqrt(1 - OWN) * centres[categories] + np.sqrt(OWN) * items.normal((kinds + 1, *size))
    loadings = np.sqrt(SHARED) * drawn[:, :1] + np.sqrt(1 - SHARED) * drawn[:, 1:]
    spread = items.normal((kinds,))
    spread[:, 1:] = CLICKBAIT * spread[:, :1] + np.sqrt(1 - CLICKBAIT**2) * spread[:, 1:]
    shifts = CONTEXT_SPREAD * Streams.of(seed, "recommender context", np.arange(CONTEXT_SIZE)).normal(size)
    features = np.hstack([np.eye(num_categories)[categories], loadings[:, 0] + FEATURE_NOISE * items.normal(size)])
    arrays = (
        categories,
        MEANS[:, None] + POPULARITY_SPREAD * spread.T,
        TASTE_SPREAD / np.sqrt(factors) * np.ascontiguousarray(loadings.transpose(2, 1, 0)),
        shifts if context else shifts[:0],
        features,
    )
    for array in arrays:
        array.setflags(write=False)  # the cache returns them again
    return Catalogue(*arrays)


def encode_context(hours: np.ndarray, phones: np.ndarray) -> np.ndarray:
    """Return the numbers of contexts, [..., 3], from hours 0 to 23 and whether the device is a phone."""
    angle = 2 * np.pi * hours / HOURS
    return np.stack([np.sin(angle), np.cos(angle), np.where(phones, 1.0, -1.0)], axis=-1)


def decode_context(contexts: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return hours, int64 [...], and whether the device is a phone, bool [...], of `contexts` [..., 3]."""
    hours = np.rint(np.arctan2(contexts[..., 0], contexts[..., 1]) * HOURS / (2 * np.pi)).astype(np.int64) % HOURS
    return hours, contexts[..., 2] > 0


def all_contexts() -> np.ndarray:
    """Return every context, [hour * 2 + phone, 3]."""
    hour, phone = np.divmod(np.arange(HOURS * DEVICES), DEVICES)
    return encode_context(hour, phone == 1)
