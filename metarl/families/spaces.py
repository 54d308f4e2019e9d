"""Facts about Gymnasium spaces that the engine needs in several places."""

from __future__ import annotations

from typing import Any

import numpy as np
from gymnasium import spaces


def shape_of(space: spaces.Space[Any]) -> tuple[int, ...]:
    """Return the shape of one element of a space: () for a discrete one."""
    return space.shape or ()


def bounds(space: spaces.Box) -> tuple[np.ndarray, np.ndarray]:
    """Return the lower and upper bounds of a box, with -10 and 10 on open sides."""
    return np.where(np.isfinite(space.low), space.low, -10.0), np.where(np.isfinite(space.high), space.high, 10.0)
