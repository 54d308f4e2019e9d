"""A batch of worlds that step together, and the record of one step."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple, Protocol

import numpy as np

from ..base.streams import Streams
from .task import Values

State = dict[str, np.ndarray]
"""State of a batch of worlds, by name. The first axis of each array is the world."""

DEFAULT_FPS = 20
"""Steps a second of pictures of an environment that says nothing of its time."""


def fps_of(metadata: Mapping[str, Any] | None) -> int:
    """Return the steps a second that the metadata of an environment tell, or the default."""
    fps = (metadata or {}).get("render_fps")
    return round(fps) if isinstance(fps, (int, float)) and 0.5 < fps < float("inf") else DEFAULT_FPS


def merge(where: np.ndarray, chosen: State, others: State) -> State:
    """Return new arrays with the rows of `chosen` where `where` is true, bool [world], and of `others` elsewhere."""
    pick = {name: where.reshape(-1, *(1,) * (array.ndim - 1)) for name, array in chosen.items()}
    return {name: np.where(pick[name], array, others[name]) for name, array in chosen.items()}


class Step(NamedTuple):
    """The result of one step of a batch. A world that did not step keeps its observation and earns nothing.

    A tuple, as it is made in a third of the time of a frozen dataclass.
    """

    observations: np.ndarray
    """Observation of each world. [world, *observation]"""
    rewards: np.ndarray
    """Reward of each world. float64 [world]"""
    terminations: np.ndarray
    """Whether each episode terminated. bool [world]"""
    truncations: np.ndarray
    """Whether each episode was cut off. bool [world]"""
    successes: np.ndarray | None
    """Whether each world succeeded in this step; None in a family without a success. bool [world]"""
    unstable: np.ndarray | None = None
    """Whether the physics of each world broke down; None where it cannot. Such a world keeps its state, and its episode
    is cut off. bool [world]"""
    known: np.ndarray | None = None
    """Whether `successes` says something of each world, which it cannot where an environment is silent; None: of all.
    bool [world]"""
    targets: np.ndarray | None = None
    """Action that would have been right in this step; None in a family that knows none. [world, *target]"""
    infos: Mapping[str, np.ndarray] | None = None
    """What else the family tells of this step, by name, as Gymnasium's `info`; None for nothing. [world, ...]"""


class Batch(Protocol):
    """Worlds of one family that step together. `BatchedEnv` counts their steps and episodes."""

    @property
    def render_fps(self) -> int:
        """Steps a second at which an episode plays in its own time."""
        ...

    def begin(self, where: np.ndarray) -> None:
        """Begin a new trial in the worlds marked in `where` and forget the one before. A reset of them follows."""
        ...

    def reset(self, where: np.ndarray, streams: Streams) -> np.ndarray:
        """Begin a new episode in the worlds marked in `where` and return all observations, [world, *observation].

        `streams` has one stream for each world. Only those of the marked worlds move on.
        """
        ...

    def step(self, actions: np.ndarray, where: np.ndarray, streams: Streams) -> Step:
        """Step the worlds marked in `where`. The others stand still."""
        ...

    def change(self, where: np.ndarray, values: Values) -> None:
        """Replace the parameter values of the marked worlds in mid-episode. `values` has a row for every world."""
        ...

    def render(self, world: int) -> np.ndarray | None:
        """Return a picture of one world, uint8 [height, width, 3]. Render mode 'human' shows it in a window instead."""
        ...

    def close(self) -> None:
        """Release windows, threads and other resources."""
        ...
