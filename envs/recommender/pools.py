"""Which users are tasks of which split, and which of their ratings are shown and asked."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from metarl.base.errors import MetarlError
from metarl.families.task import SPLITS

from .table import RatingTable

New = Literal["users", "items", "both"]
"""What validation and test have, and training does not."""
Order = Literal["random", "time"]
"""Order in which a user's ratings are shown and asked."""
PARTS = 10
"""Parts that users, or items, are shared out in: one for tests, one for validation, the rest for training."""
SHARED = SPLITS[:-1]


def shares(ids: Sequence[str], fold: int) -> np.ndarray:
    """Return the split of each id: 0 for training, 1 for validation, 2 for tests. int64 [id]

    A hash of the ids decides. The ten folds share the ids out for tests: each id is in the tests of one fold.
    """
    ranked = sorted(range(len(ids)), key=lambda at: hashlib.blake2b(ids[at].encode(errors="surrogatepass")).digest())
    part = np.empty(len(ids), dtype=np.int64)
    part[ranked] = np.arange(len(ids)) % PARTS
    return np.select([part == fold, part == (fold + 1) % PARTS], [2, 1], 0)


@dataclass(frozen=True)
class Rule:
    """Settings that say what is shown and asked."""

    shots: int
    queries: int
    most_ratings: int | None
    order: Order
    new: New
    fold: int


@dataclass(frozen=True, eq=False)
class Pools:
    """The ratings of each task. Its number is `user + split * number of users`, with 0, 1, 2 for the splits."""

    shown: np.ndarray
    """Ratings that may be shown, those of a task behind each other. int64 [n]"""
    asked: np.ndarray
    """Ratings that may be asked; the same array where both are the same. int64 [m]"""
    firsts: np.ndarray
    """Place of each task's first rating in `shown` and in `asked`. int64 [task, 2]"""
    counts: np.ndarray
    """Each task's ratings in `shown` and in `asked`. int64 [task, 2]"""
    members: Mapping[str, np.ndarray]
    """Tasks of each split. int64 [member]"""
    left_out: Mapping[str, int]
    """Users of each split that are no task: they have too few ratings, or too many."""
    fitted: np.ndarray
    """Whether the numbers of items may be made of a rating: those of training. bool [rating]"""

    @property
    def together(self) -> bool:
        """Whether the same ratings may be shown and asked."""
        return self.shown is self.asked


def make_pools(table: RatingTable, rule: Rule) -> Pools:
    """Return the pools of a rule. Raises MetarlError for a split without a user of enough ratings.

    New users: all ratings of users of the split. New items: every user is in all splits; training has the ratings of
    items that are not held out, validation and test show those too, and ask held-out items of their own. Both: users
    of validation and test are new, and are asked held-out items alone.
    """
    num_users = len(table.users)
    items = shares(table.items, rule.fold)[table.item] if rule.new != "users" else np.zeros(len(table.item), np.int64)
    users = shares(table.users, rule.fold)
    fitted = (items == 0) & ((users[table.user] == 0) | (rule.new == "items"))
    shown, asked = [], []
    for split in range(len(SHARED)):
        ours = np.ones(num_users, dtype=bool) if rule.new == "items" else users == split
        known = np.flatnonzero(ours[table.user] & (items == 0))
        shown.append(known)
        held = known if rule.new == "users" or split == 0 else np.flatnonzero(ours[table.user] & (items == split))
        asked.append(_later(table, known, held, rule) if held is not known and rule.order == "time" else held)
    numbers = [[table.user[rows] + split * num_users for split, rows in enumerate(parts)] for parts in (shown, asked)]
    counts = np.column_stack([np.bincount(np.concatenate(each), minlength=3 * num_users) for each in numbers])
    rows = np.concatenate(shown)
    members, left_out = _members(table, counts, users, rule)
    return Pools(
        rows,
        rows if rule.new == "users" else np.concatenate(asked),
        np.cumsum(counts, axis=0) - counts,
        counts,
        members,
        left_out,
        fitted,
    )


def _later(table: RatingTable, known: np.ndarray, held: np.ndarray, rule: Rule) -> np.ndarray:
    """Return the ratings of `held` that are no earlier than the last of the user's first `shots` of `known`."""
    assert table.time is not None  # the family requires times for this order
    counts = np.bincount(table.user[known], minlength=len(table.users))
    last = np.cumsum(counts) - counts + rule.shots - 1
    enough = counts >= rule.shots
    ends = np.full(len(counts), np.iinfo(np.int64).max)
    ends[enough] = table.time[known[last[enough]]]
    return held[table.time[held] >= ends[table.user[held]]]


def _members(
    table: RatingTable, counts: np.ndarray, users: np.ndarray, rule: Rule
) -> tuple[Mapping[str, np.ndarray], Mapping[str, int]]:
    """Return the tasks of each split, and how many users are none."""
    num_users = len(table.users)
    members, left_out = {}, {}
    for split, name in enumerate(SHARED):
        ours = np.flatnonzero((users == split) | (rule.new == "items"))
        shown, asked = counts[ours + split * num_users].T
        together = rule.new == "users" or split == 0
        enough = shown >= rule.shots + rule.queries if together else (shown >= rule.shots) & (asked >= rule.queries)
        if rule.most_ratings is not None:
            enough &= table.counts[ours] <= rule.most_ratings
        members[name] = ours[enough] + split * num_users
        left_out[name] = int((~enough).sum())
        if not enough.any():
            raise MetarlError(_nobody(table, name, len(ours), together, rule))
    return members, left_out


def _nobody(table: RatingTable, split: str, count: int, together: bool, rule: Rule) -> str:
    needed = (
        f"{rule.shots + rule.queries} ratings"
        if together
        else (f"{rule.shots} ratings and {rule.queries} of new items" + (" after them" if rule.order == "time" else ""))
    )
    most = "" if rule.most_ratings is None else f" and at most {rule.most_ratings}"
    return (
        f"none of the {count:,} users in split {split!r} of {table.origin} has {needed}{most}; lower shots or queries"
        f"{'' if rule.most_ratings is None else ', raise most_ratings'}, or add users"
    )
