"""What the agents by stable-baselines3 share: spaces and steps as the library takes them, and its random numbers."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Protocol

import numpy as np
import torch
from gymnasium import spaces

from metarl.errors import MetarlError
from metarl.trial import Episodes


class Spaces(Protocol):
    """What an agent must know of a family: what is seen and what can be done."""

    @property
    def observation_space(self) -> spaces.Box:
        """Space of one observation."""
        ...

    @property
    def action_space(self) -> spaces.Box | spaces.Discrete:
        """Space of one action."""
        ...


def flattened(space: spaces.Box) -> spaces.Box:
    """Return the box of the same numbers as one vector: the library's networks want vectors."""
    return spaces.Box(space.low.reshape(-1), space.high.reshape(-1), dtype=space.dtype.type)


def taken(episodes: Episodes, array: np.ndarray) -> np.ndarray:
    """Return the rows of `array` [time, task, replica, ...] of steps that were taken, episode by episode. [step, ...]"""
    return np.asarray(np.moveaxis(array, 0, 2)[np.moveaxis(episodes.mask, 0, 2)])


def steps_taken(episodes: Episodes) -> tuple[np.ndarray, ...]:
    """Return the steps taken in a round, [step, ...], episode by episode.

    Observations, actions, rewards, whether an episode starts, and of its last step whether it was truncated (-1 of others);
    then the observation after each episode's end, [episode, ...].
    """
    time = np.arange(len(episodes.mask))[:, None, None]
    ends = np.where(time == episodes.lengths - 1, episodes.truncations.astype(np.int64), -1)
    starts = np.broadcast_to(time == 0, episodes.mask.shape)
    finals = episodes.final_observations.reshape(-1, *episodes.final_observations.shape[2:])
    told = (episodes.observations, episodes.actions, episodes.rewards, starts, ends)
    return *(taken(episodes, array) for array in told), finals


@contextlib.contextmanager
def torch_seeded(seed: int) -> Iterator[None]:
    """Draw torch's own random numbers from a seed, and give its generators back as they were."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        yield


@contextlib.contextmanager
def told_in_one_line() -> Iterator[None]:
    """Turn torch's refusal of a distribution whose parameters are not finite into a MetarlError."""
    try:
        yield
    except ValueError as error:
        if not str(error).startswith("Expected parameter"):
            raise
        raise MetarlError("the policy's outputs are not finite numbers; take a lower agent.learning_rate") from None


@contextlib.contextmanager
def numpy_seeded(rng: np.random.Generator) -> Iterator[None]:
    """Draw NumPy's global random numbers, by which stable-baselines3 shuffles, from `rng`, and give them back as they were."""
    before = np.random.get_state()  # noqa: NPY002 -- stable-baselines3 draws from it
    np.random.seed(int(rng.integers(2**32)))  # noqa: NPY002
    try:
        yield
    finally:
        np.random.set_state(before)  # noqa: NPY002
