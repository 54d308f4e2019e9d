"""Shared by the reference agents: the family that they need, new results of steps, and ties among best actions."""

from __future__ import annotations

from typing import Any

import numpy as np

from metarl.base.errors import MetarlError
from metarl.base.streams import Streams
from metarl.families.family import TaskFamily
from metarl.trials.episodes import TimeStep


def require_family(agent: type[Any], family: TaskFamily) -> TaskFamily:
    """Return the family without a title of its own.

    Raises MetarlError unless `agent` names the family in `plays`, and the family has no options.
    """
    if family.name not in agent.plays:
        plays = ", ".join(agent.plays)
        raise MetarlError(f"{agent.__name__} cannot play family {family.name!r}; take {plays}")
    if family.origin is not type(family.untitled):
        raise MetarlError(f"{agent.__name__} plays family {family.name!r} only without options; leave them out")
    return family.untitled


def best_actions(scores: np.ndarray, streams: Streams | None) -> np.ndarray:
    """Return the index of the highest of `scores` [*streams.shape, action] along the last axis, int64 [*streams.shape].

    A tie is broken at random by `streams`, or in favour of the first without them.
    """
    best = scores == scores.max(axis=-1, keepdims=True)
    if streams is None:
        return best.argmax(axis=-1)
    rank = np.floor(streams.uniform() * best.sum(axis=-1)) + 1
    return (best.cumsum(axis=-1) == rank[..., None]).argmax(axis=-1)


class Arrivals:
    """Tells which worlds have a new result of their previous step, so that each step of a trial counts exactly once.

    A world that waits has no new result. The result of its last step comes with the first step of its next episode.
    """

    def __init__(self, shape: tuple[int, ...]) -> None:
        self.started = np.zeros(shape, dtype=bool)
        """Whether the world has taken a step in this trial. bool [task, replica]"""

    def __call__(self, timestep: TimeStep) -> tuple[np.ndarray, np.ndarray]:
        """Return which worlds have a new result, and which start an episode, each bool [task, replica]."""
        arrived = timestep.active & self.started
        ended = timestep.previous_terminations | timestep.previous_truncations
        starting = timestep.active & (ended | ~self.started)
        self.started |= timestep.active
        return arrived, starting
