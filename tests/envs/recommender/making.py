"""Small files of ratings for tests."""

from __future__ import annotations

from pathlib import Path

import numpy as np


def ratings_csv(num_users: int = 30, per_user: int = 20, num_items: int = 60, seed: int = 0) -> str:
    """Return ratings from 1 to 5 as CSV, with a title, a genre, a price and an age that fit together, in any order."""
    rng = np.random.default_rng(seed)
    taste, kind = rng.normal(size=(num_users, 2)), rng.normal(size=(num_items, 2))
    taste, kind = np.column_stack([taste, np.ones(num_users)]), np.column_stack([kind, rng.normal(size=num_items)])
    genres, prices, ages = (
        rng.integers(0, 3, num_items),
        rng.integers(1, 90, num_items),
        rng.integers(18, 80, num_users),
    )
    rows = []
    for user in range(num_users):
        for item in rng.permutation(num_items)[:per_user]:
            rating = np.clip(round(3 + 0.7 * taste[user] @ kind[item] + 0.5 * rng.normal()), 1, 5)
            time = 10**9 + int(rng.integers(10**7))
            genre = f"{'ab'[genres[item] % 2]}|c{genres[item]}"
            rows.append(f"u{user},i{item},{rating:g},{time},Film {item},{genre},{prices[item]},{ages[user]}")
    order = rng.permutation(len(rows))
    return "\n".join(["user,item,rating,timestamp,title,genre,price,age", *(rows[at] for at in order)]) + "\n"


def write_csv(folder: Path, content: str | bytes, name: str = "mine.csv") -> Path:
    """Write a file, and return its path."""
    path = folder / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path
