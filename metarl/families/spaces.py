"""Which observation and action spaces agents can work with."""

from __future__ import annotations

from typing import Any

import numpy as np
from gymnasium import spaces

from ..base.errors import MetarlError


def usable_spaces(
    name: str, observation: spaces.Space[Any], action: spaces.Space[Any], wrappers: str
) -> tuple[spaces.Box, spaces.Box | spaces.Discrete]:
    """Return both spaces. Raises MetarlError that names the remedy in `wrappers` where agents do not take them."""
    if not isinstance(observation, spaces.Box) or not isinstance(action, (spaces.Box, spaces.Discrete)):
        raise MetarlError(
            f"family {name!r} has spaces {observation} and {action}; observations must be a Box (see "
            f"{wrappers}.FlattenObservation) and actions a Box or Discrete (see TransformAction)"
        )
    return observation, action


def bounds(space: spaces.Box) -> tuple[np.ndarray, np.ndarray]:
    """Return the ends of a box, with 10 for a side that is open."""
    return np.where(np.isfinite(space.low), space.low, -10.0), np.where(np.isfinite(space.high), space.high, 10.0)
