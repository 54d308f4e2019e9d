"""What the reference agents share: which family they play, which results are news, and which of the best they take."""

from __future__ import annotations

from typing import Any

import numpy as np

from metarl.base.errors import MetarlError
from metarl.base.streams import Streams
from metarl.families.family import TaskFamily
from metarl.trials.episodes import TimeStep


def require_family(agent: type[Any], family: TaskFamily) -> None:
    """Raise MetarlError unless `agent` names the family in `plays`, and the family is as registered, without options."""
    if family.name not in agent.plays:
        plays = ", ".join(agent.plays)
        raise MetarlError(f"family {family.name!r} is not one that {agent.__name__} can play; take {plays}")
    if family.origin is not type(family):
        raise MetarlError(f"{agent.__name__} plays {family.name!r} only without options; load it without")


def best_actions(scores: np.ndarray, streams: Streams | None) -> np.ndarray:
    """Return the place of the highest of `scores` [*streams.shape, action] along the last axis, int64 [*streams.shape].

    One of equally high scores is drawn from `streams`, each as likely; without streams it is the first.
    """
    best = scores == scores.max(axis=-1, keepdims=True)
    if streams is None:
        return best.argmax(axis=-1)
    rank = np.floor(streams.uniform() * best.sum(axis=-1)) + 1
    return (best.cumsum(axis=-1) == rank[..., None]).argmax(axis=-1)


class Arrivals:
    """Tells which worlds hear how their last step went, so that each step of a trial is counted exactly once.

    A world that waits hears nothing new: what its last step told is there again when its next episode begins.
    """

    def __init__(self, shape: tuple[int, ...]) -> None:
        self.begun = np.zeros(shape, dtype=bool)
        """Whether the world has taken a step in this trial. [task, replica]"""

    def __call__(self, timestep: TimeStep) -> tuple[np.ndarray, np.ndarray]:
        """Return which worlds learn from the step before, and which begin an episode, each bool [task, replica]."""
        arrived = timestep.active & self.begun
        ended = timestep.previous_terminations | timestep.previous_truncations
        starting = timestep.active & (ended | ~self.begun)
        self.begun |= timestep.active
        return arrived, starting
