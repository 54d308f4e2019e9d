"""A batch of worlds that step together, and what one step of it gives."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from gymnasium import spaces

from ..base.streams import Streams
from .task import Values

State = dict[str, np.ndarray]
"""State of a batch of worlds by name, each array's first axis the world."""


@dataclass(frozen=True)
class Step:
    """What one step of a batch of worlds gave. Worlds that were not stepped keep their observation and earn nothing."""

    observations: np.ndarray
    """[world, *observation]"""
    rewards: np.ndarray
    """float64 [world]"""
    terminations: np.ndarray
    """bool [world]"""
    truncations: np.ndarray
    """bool [world]"""
    successes: np.ndarray | None
    """Whether the step was a success; None where the family knows no success. bool [world]"""
    unstable: np.ndarray | None = None
    """Whether the physics could not be computed: the world stays as it was, and its episode ends; None where that
    cannot be. bool [world]"""


class Batch(Protocol):
    """Worlds of one family that step together. `BatchedEnv` keeps the episodes' books around it."""

    def begin(self) -> None:
        """Begin a new trial: forget what was counted in the one before. A reset of all worlds follows."""
        ...

    def reset(self, where: np.ndarray, streams: Streams) -> np.ndarray:
        """Begin a new episode in the worlds marked in `where` and return all observations, [world, *observation].

        `streams` holds one stream a world, of which only those marked move.
        """
        ...

    def step(self, actions: np.ndarray, where: np.ndarray, streams: Streams) -> Step:
        """Step the worlds marked in `where`; the others stand still."""
        ...

    def change(self, where: np.ndarray, values: Values) -> None:
        """Give the worlds marked in `where` other parameter values in mid-episode, from a row for every world."""
        ...

    def render(self, world: int) -> np.ndarray | None:
        """Return a picture of one world, uint8 [height, width, 3], or show it in render mode 'human'."""
        ...

    def close(self) -> None:
        """Release windows, threads and whatever else is held."""
        ...


class Simulated(Protocol):
    """What `BatchedEnv` needs to know of a family."""

    @property
    def name(self) -> str:
        """Name of the family in messages."""
        ...

    @property
    def horizon(self) -> int:
        """Steps after which an episode is truncated."""
        ...

    @property
    def observation_space(self) -> spaces.Box:
        """Space of one observation."""
        ...

    @property
    def action_space(self) -> spaces.Box | spaces.Discrete:
        """Space of one action."""
        ...

    def batch(self, values: Values, *, threads: int | None = None, render_mode: str | None = None) -> Batch:
        """Return what steps one world for each row of `values`."""
        ...


def shape_of(space: spaces.Space[Any]) -> tuple[int, ...]:
    """Return the shape of one element of a space: () for a discrete one."""
    return space.shape or ()
