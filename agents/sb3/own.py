"""What stable-baselines3 shares or draws from the process, given to each learner and each update as its own."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from metarl.base.errors import MetarlError
from metarl.families.layout import map_arrays

_STEPS = ("observations", "actions", "values", "log_probs", "advantages", "returns")
_MEMORIES = ("hidden_states_pi", "cell_states_pi", "hidden_states_vf", "cell_states_vf")
_NEVER = 1e6
"""Old log-probability of padding, which makes its ratio zero, as no probability is that high."""


def own_policy(policy: Any) -> Any:
    """Return a policy that shares the networks of `policy`, and has a distribution object of its own.

    `get_distribution` of the library overwrites one object that belongs to the policy, and returns it. Learners that
    play on several threads would get each other's distributions.
    """
    made = copy.copy(policy)
    made.action_dist = copy.copy(policy.action_dist)
    return made


def legacy_generator(rng: np.random.Generator) -> np.random.RandomState:
    """Return a generator, seeded from `rng`, with the methods of NumPy's global one, by which the libraries draw."""
    return np.random.RandomState(int(rng.integers(2**32)))


class Minibatches:
    """Takes the place of the library's rollout buffer while it trains: shuffles by its own generator.

    No minibatch is a single step, unless all is a single step: one advantage has no deviation to be scaled by. A last
    one of a single step joins the one before.
    """

    def __init__(self, buffer: Any, rng: np.random.Generator) -> None:
        self.buffer, self.draws = buffer, legacy_generator(rng)
        for name in _STEPS:
            self._flatten(name)

    def _flatten(self, name: str) -> None:
        setattr(self.buffer, name, map_arrays(self.buffer.swap_and_flatten, getattr(self.buffer, name)))

    @property
    def values(self) -> np.ndarray:
        """Values of the steps before the update."""
        return self.buffer.values

    @property
    def returns(self) -> np.ndarray:
        """Targets of the values."""
        return self.buffer.returns

    def get(self, batch_size: int) -> Iterator[Any]:
        """Yield an epoch of minibatches."""
        for chosen in cut(self.draws.permutation(self.buffer.buffer_size), batch_size):
            yield self.buffer._get_samples(chosen)


class RecurrentMinibatches(Minibatches):
    """The same for the buffer of sb3-contrib, whose minibatches are in order of time from a random step on.

    Raises MetarlError if all is a single step: the library scales even a single advantage by its deviation.
    """

    def __init__(self, buffer: Any, rng: np.random.Generator) -> None:
        if buffer.buffer_size < 2:
            raise MetarlError(
                "the trials have one step in all, and advantages are scaled by their deviation; take more tasks "
                "(meta_batch_size), replicas or rounds"
            )
        super().__init__(buffer, rng)
        for name in _MEMORIES:
            setattr(buffer, name, getattr(buffer, name).swapaxes(1, 2))
            self._flatten(name)
        self._flatten("episode_starts")

    def get(self, batch_size: int) -> Iterator[Any]:
        """Yield an epoch of minibatches."""
        size = self.buffer.buffer_size
        first_of_world = np.zeros((size, 1), dtype=np.float64)
        first_of_world[0] = 1.0
        for chosen in cut(np.roll(np.arange(size), -self.draws.randint(size)), batch_size):
            samples = self.buffer._get_samples(chosen, first_of_world)
            # The library takes exp of the log-ratio of padding too: zero times infinity is no number.
            old = torch.where(samples.mask > 0, samples.old_log_prob, _NEVER)
            yield samples._replace(old_log_prob=old)


def cut(indices: np.ndarray, batch_size: int) -> Sequence[np.ndarray]:
    """Return `indices` [n] in parts of `batch_size`, the last one shorter; one of a single step joins its neighbour."""
    ends = list(range(batch_size, len(indices), batch_size))
    if ends and ends[-1] == len(indices) - 1:
        ends.pop()
    return np.split(indices, ends)


class ReplaySamples:
    """Takes the place of the library's replay buffer while it trains: samples by its own generator."""

    def __init__(self, buffer: Any, rng: np.random.Generator) -> None:
        self.buffer, self.draws = buffer, legacy_generator(rng)

    def sample(self, batch_size: int, env: Any = None) -> Any:
        """Return a minibatch of steps."""
        return self.buffer._get_samples(self.draws.randint(0, self.buffer.size(), size=batch_size))


class OwnNoise:
    """Takes the place of SAC's squashed normal distribution while it trains: draws from its own generator."""

    def __init__(self, distribution: Any, generator: torch.Generator) -> None:
        self.distribution, self.generator = distribution, generator

    def log_prob_from_params(self, mean: Tensor, log_std: Tensor) -> tuple[Tensor, Tensor]:
        """Return sampled actions inside (-1, 1), and their log-probabilities."""
        self.distribution.proba_distribution(mean, log_std)
        normal = self.distribution.distribution
        # As `Normal.rsample` draws, but for the generator.
        noise = torch.normal(torch.zeros_like(mean), torch.ones_like(mean), generator=self.generator)
        sampled = normal.loc + noise * normal.scale
        actions = torch.tanh(sampled)
        return actions, self.distribution.log_prob(actions, sampled)
