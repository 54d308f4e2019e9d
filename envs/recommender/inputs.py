"""Observations: what is known of an item, of a user and of a moment, as one vector."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from metarl.base.stored import Arrays, Store

from .features import Features
from .items import STATISTICS, ItemModel, fit_items
from .pools import New, Pools
from .table import RatingTable

VERSION = 2
"""Number of the model of items: another one computes stored numbers anew."""
STORE: Store[Arrays] = Store("ratings", "numbers of items", dict, dict)
"""Numbers of items that this process has computed or read."""
COUNT = STATISTICS.index("count")
DAY, WEEK = 86_400, 7 * 86_400


class RatingModel(NamedTuple):
    """How users spread around what is known of items, estimated from training users. In ratings, or their squares."""

    center: float
    """Mean rating; an observation's `mean` and `effect` are differences to it."""
    mean_offset_variance: float
    """Variance between users of the mean difference between their ratings and the items' means."""
    mean_noise_variance: float
    """Variance of ratings around an item's mean plus the user's offset."""
    offset_variance: float
    """Variance of users' offsets around center, effect and factors."""
    loading_variance: float
    """Variance of users' loadings of an observation's factors."""
    noise_variance: float
    """Variance of ratings around center, effect, offset and loadings times factors."""


@dataclass(frozen=True, eq=False)
class Inputs:
    """Everything that observations are made of."""

    table: RatingTable
    ratings: np.ndarray
    """Numbers of each rating's item: for ratings of training, without their user. float32 [rating, statistic]"""
    items: np.ndarray
    """Numbers of each item. float32 [item, statistic]"""
    context: Features
    """What is known of each rating beside its user and item. [rating, column]"""
    model: RatingModel

    @functools.cached_property
    def columns(self) -> Mapping[str, slice]:
        """Places of an observation's parts: mean, effect, count, factors, item, user, context."""
        parts = (
            *((name, 1) for name in STATISTICS),
            ("factors", self.items.shape[1] - len(STATISTICS)),
            ("item", len(self.table.item_features.names)),
            ("user", len(self.table.user_features.names)),
            ("context", len(self.context.names)),
        )
        ends = np.cumsum([size for _, size in parts]).tolist()
        return {name: slice(end - size, end) for (name, size), end in zip(parts, ends, strict=True)}

    @property
    def size(self) -> int:
        """Numbers of an observation."""
        return self.columns["context"].stop

    def observe(self, rows: np.ndarray) -> np.ndarray:
        """Return the observations of ratings `rows` [...], float32 [..., size]."""
        table = self.table
        of_item, of_user = table.item_features.values, table.user_features.values
        parts = (self.ratings[rows], of_item[table.item[rows]], of_user[table.user[rows]], self.context.values[rows])
        return np.concatenate(parts, axis=-1)

    def foresee(self, items: np.ndarray, user: int | None, time: float | None) -> np.ndarray:
        """Return what a user who may not be among those of the table would see of items, float32 [item, size].

        `items` are places [item]. `user` is the place of a user with the same features, None for the middle of all.
        `time` is in seconds since 1970, None for no time of day or week in particular; other context has its middle.
        """
        table, count = self.table, len(items)
        of_users = table.user_features.values
        features = of_users.mean(axis=0, dtype=np.float64) if user is None else of_users[user]
        context = np.zeros(len(self.context.names), dtype=np.float32)
        if table.time is not None and time is not None and len(context):
            moment = clock(np.array([time]))
            context[-len(moment.names) :] = moment.values[0]
        shared = np.tile(np.concatenate([features, context]).astype(np.float32), (count, 1))
        return np.concatenate([self.items[items], table.item_features.values[items], shared], axis=1)


def make_inputs(table: RatingTable, pools: Pools, new: New, fold: int, num_factors: int, *, context: bool) -> Inputs:
    """Return the observations' parts, from the ratings that `pools` marks as those of training."""
    key = ["items", VERSION, table.digest, new, fold, num_factors]
    arrays = STORE.get(key, lambda: _fit(table, pools.fitted, num_factors))
    found = ItemModel(arrays["items"], arrays["ratings"], *arrays["spread"].tolist())
    # A zero of a scaled count is that of the mean rating of training; factors keep their relative sizes.
    logs = found.ratings[:, COUNT]
    shift, scale = np.zeros(found.items.shape[1]), np.ones(found.items.shape[1])
    shift[COUNT], scale[COUNT] = logs.mean(), logs.std() or 1.0
    factors = found.ratings[:, len(STATISTICS) :]
    scale[len(STATISTICS) :] = unit = float(np.sqrt(np.square(factors).mean())) or 1.0 if factors.size else 1.0
    items = ((found.items - shift) / scale).astype(np.float32)
    ratings = items[table.item]
    ratings[pools.fitted] = ((found.ratings - shift) / scale).astype(np.float32)
    spread = (*found[2:6], unit**2, found.noise_variance)
    return Inputs(table, ratings, items, _context(table, context), RatingModel(*spread))


def _fit(table: RatingTable, fitted: np.ndarray, num_factors: int) -> Arrays:
    users = np.unique(table.user[fitted], return_inverse=True)[1]
    model = fit_items(users, table.item[fitted], table.rating[fitted], len(table.items), num_factors)
    return {"items": model.items, "ratings": model.ratings, "spread": np.array(model[2:])}


def _context(table: RatingTable, wanted: bool) -> Features:
    if not wanted:
        return Features((), np.zeros((len(table.user), 0), dtype=np.float32))
    if table.time is None:
        return table.context
    names, values = clock(table.time)
    return Features((*table.context.names, *names), np.concatenate([table.context.values, values], axis=1))


def clock(time: np.ndarray) -> Features:
    """Return the hour of the day and the day of the week in UTC, each as sine and cosine, of seconds since 1970."""
    # 1970 began on a Thursday; the week begins on Monday.
    turns = np.stack([time % DAY / DAY, (time + 3 * DAY) % WEEK / WEEK], axis=1) * 2 * np.pi
    values = np.stack([np.sin(turns), np.cos(turns)], axis=2).reshape(len(time), 4)
    return Features(("hour sine", "hour cosine", "weekday sine", "weekday cosine"), values.astype(np.float32))
