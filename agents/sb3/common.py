"""What the agents by stable-baselines3 share: spaces and steps as the library takes them, and its random numbers."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterator, Sequence
from typing import Any, Protocol

import numpy as np
import torch
from gymnasium import spaces
from torch import Tensor

from metarl.base.errors import MetarlError
from metarl.base.streams import Streams
from metarl.trials.episodes import Episodes

from ..common.policy import CategoricalHead
from ..common.state import StateDict, load_training_state, require_same_shapes, training_state


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


def counted_from_zero(space: spaces.Box | spaces.Discrete, actions: np.ndarray) -> np.ndarray:
    """Return actions [n, *action] as the library's policies take them: flat, and those of a discrete space from 0 on."""
    return actions - space.start if isinstance(space, spaces.Discrete) else actions.reshape(len(actions), -1)


def drawn_actions(
    chances: Sequence[Any], space: spaces.Box | spaces.Discrete, streams: Streams, *, deterministic: bool
) -> np.ndarray:
    """Return actions [*streams.shape, *action] from torch's distributions of them, drawn from `streams`.

    `chances` are the distributions of all worlds, in one or several parts.
    """
    shape = streams.shape
    if isinstance(space, spaces.Discrete):
        head, logits = CategoricalHead(space), torch.cat([each.logits for each in chances]).unflatten(0, shape)
        return head.mode(logits) if deterministic else head.sample(logits, streams)
    actions = torch.cat([each.mean for each in chances]).unflatten(0, shape).cpu().numpy()
    if not deterministic:
        deviations = torch.cat([each.stddev for each in chances]).unflatten(0, shape).cpu().numpy()
        actions = actions + deviations * streams.normal((actions.shape[-1],))
    return np.asarray(actions.reshape(*shape, *space.shape), dtype=space.dtype)


def trained_on(model: Any, buffer: Any, rng: np.random.Generator) -> dict[str, float]:
    """Train an on-policy model by its own `train` on a full buffer, which it does not keep, and return what it logs.

    Raises MetarlError where a loss is not a finite number.
    """
    unused = model.rollout_buffer
    try:
        with numpy_seeded(rng):
            model.rollout_buffer = buffer
            model.train()
    finally:  # learners copy the model
        model.rollout_buffer = unused
    told = model.logger.name_to_value
    names = ("loss", "policy_gradient_loss", "value_loss", "entropy_loss", "approx_kl", "clip_fraction")
    metrics = {name: float(told[f"train/{name}"]) for name in names}
    if not all(math.isfinite(value) for value in metrics.values()):
        raise MetarlError(f"the loss is {metrics['loss']}; take a lower agent.learning_rate")
    explained = float(told["train/explained_variance"])
    # Of returns that are all the same there is nothing to explain.
    return {**metrics, "explained_variance": explained if math.isfinite(explained) else 0.0}


def policy_state(policy: Any) -> StateDict:
    """Return parameters and optimiser state of a policy with one optimiser."""
    return training_state(dict(policy.state_dict()), policy.optimizer, dict(policy.named_parameters()))


def load_policy_state(policy: Any, state: StateDict) -> None:
    """Restore what `policy_state` gave. Raises MetarlError where names or shapes differ."""
    require_same_shapes(policy_state(policy), state)
    load_training_state(dict(policy.state_dict()), policy.optimizer, dict(policy.named_parameters()), state)


def require_finite(*judged: Tensor) -> None:
    """Raise MetarlError where values or log-probabilities are not finite numbers."""
    if not all(tensor.isfinite().all() for tensor in judged):
        raise MetarlError("the policy or its values are not finite numbers; take a lower agent.learning_rate")


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
