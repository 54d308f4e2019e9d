"""Kinds of Gymnasium spaces that a family may have, and what the engine needs to know of each."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from gymnasium import spaces

from ..base.errors import MetarlError
from ..base.streams import Streams

ActionSpace = spaces.Box | spaces.Discrete | spaces.MultiDiscrete | spaces.MultiBinary
"""A space of actions that a family may have."""

LEAVES = (spaces.Box, spaces.Discrete, spaces.MultiDiscrete, spaces.MultiBinary)
"""Spaces whose elements are one array. An observation may be a Dict or Tuple of them, at any depth."""


class Tokens(spaces.MultiDiscrete):
    """A sequence of at most `length` tokens: whole numbers below `vocabulary`; 0 is no token, and fills the end."""

    def __init__(self, length: int, vocabulary: int, seed: int | None = None) -> None:
        # A signed type: Gymnasium stores the size of the vocabulary in the type of its tokens.
        super().__init__([vocabulary] * length, dtype=np.min_scalar_type(-vocabulary).type, seed=seed)

    def __repr__(self) -> str:
        return f"Tokens({len(self.nvec)}, {self.nvec[0]})"


class Boxes(spaces.Box):
    """A box around something in an image: left, top, right and bottom, as shares of its sides, and a confidence.

    The confidence is the probability that the thing is there. The right one is 1 where it is, and 0, with zeros for the
    sides, where it is not.
    """

    def __init__(self, seed: int | None = None) -> None:
        super().__init__(0.0, 1.0, (5,), np.float32, seed=seed)

    def __repr__(self) -> str:
        return "Boxes()"


def shape_of(space: spaces.Space[Any]) -> tuple[int, ...]:
    """Return the shape of one element of a space: () for a discrete one."""
    return space.shape or ()


def bounds(space: spaces.Box) -> tuple[np.ndarray, np.ndarray]:
    """Return the lower and upper bounds of a box, with -10 and 10 on open sides."""
    return np.where(np.isfinite(space.low), space.low, -10.0), np.where(np.isfinite(space.high), space.high, 10.0)


def limits(space: spaces.Space[Any]) -> tuple[np.ndarray, np.ndarray]:
    """Return the least and the greatest element of a space that is neither Dict nor Tuple, each [*element]."""
    match space:
        case spaces.Discrete():
            low, count = np.asarray(int(space.start)), np.asarray(int(space.n))
        case spaces.MultiDiscrete():
            low, count = np.asarray(space.start, dtype=np.int64), np.asarray(space.nvec, dtype=np.int64)
        case spaces.MultiBinary():
            low, count = np.zeros(shape_of(space), dtype=np.int64), np.asarray(2)
        case spaces.Box():
            return space.low, space.high
        case _:
            raise MetarlError(f"{space} has no limits; give a Box, Discrete, MultiDiscrete or MultiBinary")
    return low, low + count - 1


def from_zero(space: spaces.Space[Any]) -> spaces.Discrete | spaces.MultiDiscrete | spaces.MultiBinary:
    """Return a discrete space as stable-baselines3 takes it: of rank 1, and counted from 0."""
    match space:
        case spaces.Discrete():
            return spaces.Discrete(int(space.n))
        case spaces.MultiDiscrete():
            return spaces.MultiDiscrete(np.ravel(space.nvec))
    return spaces.MultiBinary(math.prod(shape_of(space)))


def require_actions(family: str, space: spaces.Space[Any], wrappers: str = "gymnasium.wrappers") -> None:
    """Raise MetarlError unless a family's actions can be of `space`; the error names a wrapper as the remedy."""
    at_fault = f"family {family!r} has action space {space}"
    if not isinstance(space, LEAVES):
        raise MetarlError(
            f"{at_fault}; actions must be a Box, Discrete, MultiDiscrete or MultiBinary: turn them into one with "
            f"{wrappers}.TransformAction"
        )
    if not math.prod(shape_of(space)):
        raise MetarlError(f"{at_fault}, which holds no number; give it one")
    if not isinstance(space, spaces.Box):
        return
    if not np.issubdtype(space.dtype, np.floating):
        raise MetarlError(
            f"{at_fault}, a Box of whole numbers; take MultiDiscrete, or a float Box that {wrappers}.TransformAction "
            "rounds"
        )
    if not space.is_bounded():
        raise MetarlError(f"{at_fault}, which has no bounds; give finite ones with {wrappers}.TransformAction")


def draw_actions(space: spaces.Space[Any], streams: Streams) -> np.ndarray:
    """Return one uniformly random action for each of the streams, [*streams.shape, *action].

    An open side of a box counts as -10 or 10.
    """
    match space:
        case spaces.Discrete():
            return streams.integers(int(space.n)) + space.start
        case spaces.MultiDiscrete():
            draws = streams.uniform(space.shape) * space.nvec
            return draws.astype(space.dtype) + np.asarray(space.start, dtype=space.dtype)
        case spaces.MultiBinary():
            return (streams.uniform(shape_of(space)) < 0.5).astype(space.dtype)
    assert isinstance(space, spaces.Box)  # no family has actions of another kind
    low, high = bounds(space)
    return (low + streams.uniform(space.shape) * (high - low)).astype(space.dtype)


def action_at(space: ActionSpace, place: float) -> np.ndarray:
    """Return the action at `place`, from 0 for the lowest to 1 for the highest, in every dimension, [*action]."""
    low, high = bounds(space) if isinstance(space, spaces.Box) else limits(space)
    action = low + place * (high - low)
    return np.asarray(action if isinstance(space, spaces.Box) else np.floor(action)).astype(space.dtype)
