"""What a round of the simulated recommender is measured by beside its reward."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

import numpy as np

from metarl.families.outcomes import Outcome, Played
from metarl.families.task import Values

from .catalogue import Catalogue
from .diversity import cosine_distances, coverage, gini, intra_list_distance

EARNED = {
    "clicks": Outcome("Clicks a step; more is better.", objective=True),
    "conversions": Outcome("Conversions a step; more is better.", objective=True),
    "satisfaction": Outcome("Satisfaction a step, 0 without a click; more is better.", objective=True),
}
"""The objectives, in their order."""
SHOWN = {
    "regret": Outcome("Expected reward of the best slates less that of the slates shown, summed; less is better."),
    "items shown": Outcome("Different items that a user was shown; neither more nor less is better."),
    "coverage": Outcome("Share of the catalogue that any user was shown; more is more varied.", True, coverage),
    "Gini index": Outcome("Gini index of how often items were shown to all users; less is more even.", False, gini),
}
DISTANCE = "intra-list distance"
IN_SLATE = {DISTANCE: Outcome("Mean cosine distance of the items of a slate; more is more varied.")}
"""For slates of two or more."""


class Shop(Protocol):
    """The part of a recommender that its measures read."""

    @property
    def catalogue(self) -> Catalogue:
        """The items."""
        ...

    @property
    def slate_size(self) -> int:
        """Items of a slate."""
        ...

    @property
    def examination(self) -> np.ndarray:
        """Chance that each place is examined. [slot]"""
        ...

    def expected_rewards(self, observations: np.ndarray, task: Values) -> np.ndarray:
        """Return the expected reward of each examined item, [..., item]."""
        ...

    def expected_slate_rewards(self, observations: np.ndarray, slates: np.ndarray, task: Values) -> np.ndarray:
        """Return the expected reward of slates, [...]."""
        ...

    def shown_outcomes(self, observations: np.ndarray) -> np.ndarray:
        """Return what each place of the last slate earned, [..., slot, objective]."""
        ...


def outcomes_of(slate_size: int) -> dict[str, Outcome]:
    """Return the outcomes of rounds with slates of this size."""
    return {**EARNED, **SHOWN, **(IN_SLATE if slate_size > 1 else {})}


def measure_session(shop: Shop, tastes: np.ndarray, played: Played) -> Mapping[str, np.ndarray]:
    """Return the outcomes of a round, [task], and counts [task, item] of those that are pooled.

    `tastes` is [task, factor], or [time, task, factor] where the taste changes within the round.
    """
    mask = played.mask
    slates = played.actions.reshape(*mask.shape, shop.slate_size)
    steps = mask.sum(axis=(0, 2))
    after = np.concatenate([played.observations[1:], played.final_observations[None]])
    earned = (shop.shown_outcomes(after).sum(axis=-2) * mask[..., None]).sum(axis=(0, 2)) / steps[:, None]
    counts = _count(slates, mask, shop.catalogue.num_items)
    told = dict(zip(EARNED, earned.T, strict=True))
    told["regret"] = _regret(shop, tastes, played, slates)
    told["items shown"] = (counts > 0).sum(axis=-1).mean(axis=1)
    told["coverage"] = told["Gini index"] = counts.sum(axis=1)
    if shop.slate_size > 1:
        distances = intra_list_distance(cosine_distances(shop.catalogue.features), slates)
        told[DISTANCE] = (distances * mask).sum(axis=(0, 2)) / steps
    return told


def _count(slates: np.ndarray, mask: np.ndarray, num_items: int) -> np.ndarray:
    """Return how often each item was shown, int64 [task, replica, item]."""
    shape = (*mask.shape[1:], num_items)
    task, replica = np.nonzero(np.ones(mask.shape[1:]))
    world = (task * mask.shape[2] + replica).reshape(mask.shape[1:])
    places = (world[..., None] * num_items + slates)[mask]
    return np.bincount(places.ravel(), minlength=int(np.prod(shape))).reshape(shape)


def _regret(shop: Shop, tastes: np.ndarray, played: Played, slates: np.ndarray) -> np.ndarray:
    """Return the regret of an episode, mean over replicas, [task]."""
    total = np.zeros(played.mask.shape[1:])
    moving = tastes.ndim == 3
    # Step by step: the worth of all items at all steps would not fit into memory.
    for step, (observations, mask) in enumerate(zip(played.observations, played.mask, strict=True)):
        task = {"taste": (tastes[step] if moving else tastes)[:, None]}
        best = np.sort(shop.expected_rewards(observations, task), axis=-1)[..., ::-1][..., : shop.slate_size]
        shown = shop.expected_slate_rewards(observations, slates[step], task)
        total += ((best * shop.examination).sum(axis=-1) - shown) * mask
    return total.mean(axis=1)
