"""Slates: which of their places count, and how different their items are."""

from __future__ import annotations

import numpy as np


def first_shown(slates: np.ndarray) -> np.ndarray:
    """Return whether no place above holds the same item, bool [..., slot], of int64 [..., slot]."""
    same = slates[..., :, None] == slates[..., None, :]
    return ~np.tril(same, -1).any(axis=-1)
