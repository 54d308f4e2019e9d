"""Ratings of items by users as one table, checked and sorted."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from metarl.base.errors import MetarlError

from .features import Features, no_features

Scale = tuple[float, float]
"""Least and greatest rating."""


@dataclass(frozen=True)
class RawRatings:
    """Ratings as a source has them, in its order."""

    origin: str
    """Where they come from, for messages."""
    users: Sequence[str]
    items: Sequence[str]
    ratings: np.ndarray
    """float64 [rating]"""
    times: np.ndarray | None
    """Seconds since 1970, UTC; None where none are known. int64 [rating]"""
    line: Callable[[int], str]
    """Tells where the rating at a place stands, for messages."""


@dataclass(frozen=True, eq=False)
class RatingTable:
    """Ratings of items by users. Those of a user stand together, in the order of their times."""

    origin: str
    """Where they come from, for messages."""
    users: tuple[str, ...]
    """Id of each user, ascending."""
    items: tuple[str, ...]
    """Id of each item, ascending."""
    titles: tuple[str, ...]
    """Title of each item; its id where it has none."""
    user: np.ndarray
    """Place of each rating's user, ascending. int64 [rating]"""
    item: np.ndarray
    """Place of each rating's item. int64 [rating]"""
    rating: np.ndarray
    """float64 [rating]"""
    time: np.ndarray | None
    """Seconds since 1970, UTC, ascending for each user; None where none are known. int64 [rating]"""
    scale: Scale
    """Least and greatest rating that there may be."""
    item_features: Features
    """[item, column]"""
    user_features: Features
    """[user, column]"""
    context: Features
    """What is known of each rating beside its user and item. [rating, column]"""

    @cached_property
    def counts(self) -> np.ndarray:
        """Ratings of each user. int64 [user]"""
        return np.bincount(self.user, minlength=len(self.users))

    @cached_property
    def digest(self) -> str:
        """A word that changes with the table."""
        kinds = (self.item_features, self.user_features, self.context)
        told = [self.users, self.items, self.titles, self.scale, [each.names for each in kinds]]
        digest = hashlib.blake2b(json.dumps(told).encode(), digest_size=8)
        arrays = (self.user, self.item, self.rating, self.time, *(each.values for each in kinds))
        for array in arrays:
            digest.update(b"none" if array is None else np.ascontiguousarray(array).tobytes())
        return digest.hexdigest()


def make_table(
    raw: RawRatings,
    scale: Scale | None,
    titles: Mapping[str, str] | None = None,
    features: Callable[[tuple[str, ...], tuple[str, ...]], tuple[Features, Features]] | None = None,
    context: Features | None = None,
) -> RatingTable:
    """Return checked ratings, sorted by user, then time, then place in the source.

    `scale` None takes the least and the greatest rating that there is. `features` returns those of items and users,
    given the ids of both; `context` is by rating. Raises MetarlError, which names the place, for no ratings, one
    outside the scale, and an item that a user rates twice.
    """
    if not len(raw.ratings):
        raise MetarlError(f"{raw.origin} has no ratings; give a user, an item and a rating in each line")
    users, user = _numbered(raw.users)
    items, item = _numbered(raw.items)
    scale = _checked_scale(raw, scale)
    _require_once(raw, user, item, len(items))
    times = np.zeros(len(user), dtype=np.int64) if raw.times is None else raw.times
    order = np.lexsort((times, user))  # it is stable, so that equal times keep the source's order
    given = context or no_features(len(user))
    of_items, of_users = features(items, users) if features else (no_features(len(items)), no_features(len(users)))
    return RatingTable(
        raw.origin,
        users,
        items,
        tuple((titles or {}).get(each, each) for each in items),
        user[order],
        item[order],
        raw.ratings[order],
        None if raw.times is None else times[order],
        scale,
        of_items,
        of_users,
        Features(given.names, given.values[order]),
    )


def _numbered(ids: Sequence[str]) -> tuple[tuple[str, ...], np.ndarray]:
    """Return the different ids, ascending, and the place of each among them, int64 [rating]."""
    different, places = np.unique(np.array(ids), return_inverse=True)
    return tuple(different.tolist()), places.astype(np.int64)


def _checked_scale(raw: RawRatings, scale: Scale | None) -> Scale:
    low, high = scale or (float(raw.ratings.min()), float(raw.ratings.max()))
    if not low < high:
        raise MetarlError(
            f"{raw.origin} has the rating {low:g} alone; give ratings that differ, or their scale by family.scale"
        )
    if (wrong := np.flatnonzero((raw.ratings < low) | (raw.ratings > high))).size:
        place = int(wrong[0])
        raise MetarlError(
            f"{raw.origin} has rating {raw.ratings[place]:g} in {raw.line(place)}, outside the scale from {low:g} to "
            f"{high:g}; correct it, or give the scale by family.scale"
        )
    return low, high


def _require_once(raw: RawRatings, user: np.ndarray, item: np.ndarray, num_items: int) -> None:
    pairs = user * num_items + item
    order = np.argsort(pairs, kind="stable")
    again = np.flatnonzero(pairs[order][1:] == pairs[order][:-1])
    if not again.size:
        return
    place, before = min((int(order[at + 1]), int(order[at])) for at in again)
    raise MetarlError(
        f"{raw.origin} has item {raw.items[place]!r} of user {raw.users[place]!r} in {raw.line(place)} again, after "
        f"{raw.line(before)}; keep one of both ratings"
    )
