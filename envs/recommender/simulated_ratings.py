"""Ratings of simulated users: columns as a table of real ratings has them, of any size."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np

from metarl.base.errors import MetarlError
from metarl.base.streams import Streams

from .catalogue import DEVICES, HOURS, encode_context, make_catalogue
from .simulator import STARS, USUAL
from .tastes import Tastes

FACTORS, CATEGORIES = 8, 5
CHUNK = 4096
"""Users that are simulated at once, so that memory grows with the table alone."""
START, SPACING = 1_000_000_000, 3600
"""Time of the first ratings, in seconds since 1970, and the shortest time between two ratings of a user."""


def simulate_ratings(
    num_users: int, ratings_per_user: int, *, num_items: int = 200, seed: int = 0
) -> Mapping[str, np.ndarray]:
    """Return ratings of different items by each user, as columns of equal length, user by user and by time.

    `user` and `item` are whole numbers from 0, `rating` is 1 to 5 stars, `timestamp` seconds since 1970. `category` of
    an item is a whole number, and `device` of a rating 1 for a phone, else 0. A user chooses items by how likely a
    click is, so that what is rated says something of the taste, as in real ratings (missing not at random), and rates
    each by the satisfaction of the family `recommender`: 1 star and one more for each of four draws. Hours follow from
    the timestamps, in UTC. Users do not depend on how many there are. Time and memory grow linearly in the ratings.

    Raises MetarlError for a number below 1, and for more ratings a user than items.
    """
    for name, number in (("num_users", num_users), ("ratings_per_user", ratings_per_user), ("num_items", num_items)):
        if number < 1:
            raise MetarlError(f"{name} is {number}; it must be at least 1")
    if ratings_per_user > num_items:
        raise MetarlError(f"ratings_per_user is {ratings_per_user}; it must be at most num_items, {num_items}")
    parts = list(_chunks(num_users, ratings_per_user, num_items, seed))
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


def _chunks(num_users: int, ratings_per_user: int, num_items: int, seed: int) -> Iterator[dict[str, np.ndarray]]:
    for first in range(0, num_users, CHUNK):
        yield _rate(np.arange(first, min(first + CHUNK, num_users)), ratings_per_user, num_items, seed)


def _rate(users: np.ndarray, count: int, num_items: int, seed: int) -> dict[str, np.ndarray]:
    """Return the ratings of some users."""
    catalogue = make_catalogue(num_items, FACTORS, CATEGORIES, seed, True)
    streams = Streams.of(seed, "simulated ratings", users)
    tastes = Tastes(FACTORS, 0.0, USUAL).sample(streams)
    gaps = 1 + np.floor(47 * streams.uniform((count,))).astype(np.int64)
    times = START + SPACING * np.cumsum(gaps, axis=1) + (SPACING * streams.uniform((count,))).astype(np.int64)
    phones = streams.integers(DEVICES, (count,))
    everything, nowhere = np.broadcast_to(np.arange(num_items), (len(users), num_items)), np.zeros((len(users), 3))
    clicks = catalogue.expected_outcomes(tastes, nowhere, everything)[..., 0]
    # The items of the highest log-chance plus Gumbel noise are draws without replacement by chance of a click.
    uniform = np.maximum(streams.uniform((num_items,)), np.finfo(np.float64).tiny)
    items = np.argsort(-(np.log(clicks) - np.log(-np.log(uniform))), axis=1)[:, :count]
    contexts = encode_context(times // 3600 % HOURS, phones == 1)
    expected = catalogue.expected_outcomes(tastes[:, None], contexts, items[..., None])[..., 0, :]
    satisfaction = expected[..., 2] / expected[..., 0]
    stars = 1 + (streams.uniform((count, STARS)) < satisfaction[..., None]).sum(axis=-1)
    return {
        "user": np.repeat(users, count),
        "item": items.ravel(),
        "rating": stars.ravel(),
        "timestamp": times.ravel(),
        "category": catalogue.categories[items].ravel(),
        "device": phones.ravel(),
    }


def to_csv(columns: Mapping[str, np.ndarray]) -> str:
    """Return columns of whole numbers as the text of a CSV file, with their names in the first line."""
    rows = np.stack(list(columns.values()), axis=1).tolist()
    return "\n".join([",".join(columns), *(",".join(map(str, row)) for row in rows)]) + "\n"
