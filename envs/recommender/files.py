"""Ratings of one's own: a CSV file of users, items, ratings, and what else is known."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from metarl.base.errors import MetarlError

from .features import Features, encode_feature, join
from .rows import Rows
from .table import RatingTable, RawRatings, Scale, make_table

COLUMNS = ("user", "item", "rating")
"""Columns that a file must have."""
TIME, TITLE = "timestamp", "title"
"""Columns with a meaning of their own, that a file may have."""
KINDS = {".csv": "CSV"}
"""What a file may be, by its suffix."""


def read_ratings(path: Path, scale: Scale | None) -> RatingTable:
    """Return the ratings of a CSV file. Raises MetarlError, which names the line, where it cannot be read as such.

    Of the columns beside `user`, `item`, `rating`, `timestamp` and `title`, one that has the same word wherever an item
    stands is a feature of items; of the others, one that has the same word wherever a user stands is a feature of
    users; the rest are contexts of single ratings. A title that varies within an item is refused.
    """
    rows = Rows(path)
    rows.require_columns(COLUMNS)
    users, items = rows.words("user"), rows.words("item")
    times = rows.times(TIME) if TIME in rows.columns else None
    raw = RawRatings(rows.origin, users, items, rows.numbers("rating"), times, rows.line)
    others = {name: list(map(str.strip, rows.columns[name])) for name in rows.header if name not in (*COLUMNS, TIME)}
    firsts = {"item": _first(items), "user": _first(users)}
    titles = others.pop(TITLE, None)
    if titles is not None and (wrong := _varies(titles, *firsts["item"])) is not None:
        raise MetarlError(
            f"{rows.origin} has title {titles[wrong]!r} of item {items[wrong]!r} in {rows.line(wrong)}, and another "
            "one before; give each item one title"
        )
    kinds: dict[str, list[str]] = {"item": [], "user": [], "": []}
    for name, words in others.items():
        kind = next((each for each in ("item", "user") if _varies(words, *firsts[each]) is None), "")
        kinds[kind].append(name)

    def encoded(kind: str) -> Features:
        first = firsts[kind][0] if kind else np.arange(rows.count)
        # Entities stand in the order of their ids, as in the table.
        found = [encode_feature(rows.origin, name, [others[name][at] for at in first]) for name in kinds[kind]]
        return join(found, len(first))

    named = None if titles is None else {items[at]: titles[at] or items[at] for at in firsts["item"][0]}
    return make_table(raw, scale, named, lambda _items, _users: (encoded("item"), encoded("user")), encoded(""))


def _first(ids: list[str]) -> tuple[np.ndarray, np.ndarray]:
    """Return where each id, ascending, stands first, and the place of each row's id among them."""
    _, first, places = np.unique(np.array(ids), return_index=True, return_inverse=True)
    return first, places


def _varies(words: list[str], first: np.ndarray, places: np.ndarray) -> int | None:
    """Return the first row whose word is not that of the first row with the same id; None where there is none."""
    codes = np.unique(np.array(words), return_inverse=True)[1]
    other = np.flatnonzero(codes != codes[first][places])
    return int(other[0]) if other.size else None
