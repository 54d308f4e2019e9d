"""What a caller may give to the reset of a batch of worlds."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from .faults import ArgumentTypeError, ArgumentValueError


def read_mask(options: dict[str, Any] | None, num_worlds: int) -> np.ndarray:
    """Return the worlds that `options` of a reset mark, bool [world]; all of them where there is no mask.

    Raises ArgumentTypeError and ArgumentValueError for a mask of a wrong type or shape.
    """
    mask = (options or {}).get("reset_mask")
    if mask is None:
        return np.ones(num_worlds, dtype=bool)
    where = np.asarray(mask)
    if where.shape != (num_worlds,):
        raise ArgumentValueError(f"reset_mask has shape {where.shape}; it must be ({num_worlds},), one bool a world")
    if where.dtype != np.bool_:
        # Numbers would be read as marks: a list of worlds such as [0, 2] is no mask.
        raise ArgumentTypeError(f"reset_mask has dtype {where.dtype}; it must be bool, one a world")
    return where


def require_seeds(seed: Any, num_worlds: int) -> None:
    """Raise ArgumentTypeError or ArgumentValueError unless `seed` is None, a seed, or a list with one a world."""
    if seed is None:
        return
    seeds = [seed] if isinstance(seed, (int, np.integer)) else seed
    if not isinstance(seeds, (Sequence, np.ndarray)):
        raise ArgumentTypeError(f"seed is {seed!r}; it must be a whole number, or a list with one for each world")
    if seeds is seed and len(seeds) != num_worlds:
        raise ArgumentValueError(f"{len(seeds)} seeds for {num_worlds} worlds; give one number, or one for each world")
    for one in seeds:
        if one is not None and (not isinstance(one, (int, np.integer)) or isinstance(one, bool)):
            raise ArgumentTypeError(f"seed is {one!r}; it must be a whole number, or None")
        if one is not None and not 0 <= one < 2**64:
            raise ArgumentValueError(f"seed is {one}; it must be from 0 to 2^64 - 1")
