"""Success flags: what an environment says of them, and whether it says anything."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

KEYS = ("success", "is_success")
"""Keys of an info that tell a success. The first that says something counts."""


def read_success(info: Mapping[str, Any]) -> bool | None:
    """Return the success that the info of one world tells, or None where it tells none.

    None and NaN tell nothing: unknown is not true.
    """
    for key in KEYS:
        told = info.get(key)
        if told is not None and not is_nan(told):
            return bool(told)
    return None


def read_successes(infos: Mapping[str, Any], where: np.ndarray) -> tuple[np.ndarray, np.ndarray] | None:
    """Return the successes that the infos of a vector environment tell, and of which worlds, each bool [world].

    Only worlds in `where`, bool [world], count. None if nothing is known of them. `infos["_success"]`, where it exists,
    marks the worlds that `infos["success"]` is about. None and NaN tell nothing.
    """
    successes, known = np.zeros_like(where), np.zeros_like(where)
    for key in KEYS:
        if key in infos:
            told = np.broadcast_to(np.asarray(infos[key]), where.shape)
            fresh = where & ~known & np.asarray(infos.get(f"_{key}", True), dtype=bool) & ~are_unknown(told)
            successes[fresh] = told[fresh].astype(bool)
            known |= fresh
    return (successes, known) if known.any() else None


def is_nan(value: Any) -> bool:
    """Return whether a value is not a number."""
    return isinstance(value, (float, np.floating)) and bool(np.isnan(value))


def are_unknown(values: np.ndarray) -> np.ndarray:
    """Return which flags are NaN or None, bool [world]."""
    if values.dtype == object:
        return np.array([value is None or is_nan(value) for value in values], dtype=bool)
    if np.issubdtype(values.dtype, np.floating):
        return np.isnan(values)
    return np.zeros(values.shape, dtype=bool)
