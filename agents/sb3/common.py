"""Shared by the agents of stable-baselines3: models, spaces and steps as the library takes them, random numbers."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Protocol, TypeVar

import numpy as np
import torch
from gymnasium import spaces
from torch import Tensor

from metarl.base.errors import MetarlError
from metarl.base.streams import Streams
from metarl.families.spaces import ActionSpace, from_zero, limits
from metarl.trials.episodes import Episodes

from ..common.heads import action_head
from ..common.state import StateDict, load_training_state, require_fitting, training_state
from .inputs import Inputs
from .own import Minibatches

M = TypeVar("M")


class Spaces(Protocol):
    """The part of a family that an agent here needs."""

    @property
    def observation_space(self) -> spaces.Space[Any]:
        """Space of one observation."""
        ...

    @property
    def action_space(self) -> ActionSpace:
        """Space of one action."""
        ...


def new_model(cls: Callable[..., M], policy: str, inputs: Inputs, action_space: ActionSpace, **settings: Any) -> M:
    """Return a model of the library without an environment, as metarl plays the episodes, and without a logger.

    `policy` is the name of its policy. Action spaces are flattened, and discrete ones start at 0.
    """
    from stable_baselines3.common.logger import Logger

    made: Any = cls(policy, None, _init_setup_model=False, **settings)
    made.observation_space = inputs.space
    if isinstance(action_space, spaces.Box):
        low, high = action_space.low.reshape(-1), action_space.high.reshape(-1)
        made.action_space = spaces.Box(low, high, dtype=action_space.dtype.type)
    else:
        made.action_space = from_zero(action_space)
    made.n_envs = 1
    made._setup_model()
    made.set_logger(Logger(None, []))
    return made


def select_steps(episodes: Episodes, array: np.ndarray) -> np.ndarray:
    """Return the rows of `array` [time, task, replica, ...] where a step was taken, by episode, [step, ...]."""
    return np.asarray(np.moveaxis(array, 0, 2)[np.moveaxis(episodes.mask, 0, 2)])


def list_steps(episodes: Episodes) -> tuple[np.ndarray, ...]:
    """Return the steps of a round as arrays [step, ...], episode after episode, and final observations [episode, ...].

    The arrays are observations, actions, rewards, starts (whether the step is its episode's first) and ends (1 for a
    last step that was truncated, 0 for one that was not, -1 for all other steps).
    """
    time = np.arange(len(episodes.mask))[:, None, None]
    ends = np.where(time == episodes.lengths - 1, episodes.truncations.astype(np.int64), -1)
    starts = np.broadcast_to(time == 0, episodes.mask.shape)
    finals = episodes.final_observations.reshape(-1, *episodes.final_observations.shape[2:])
    told = (episodes.observations, episodes.actions, episodes.rewards, starts, ends)
    return *(select_steps(episodes, array) for array in told), finals


def count_from_zero(space: ActionSpace, actions: np.ndarray) -> np.ndarray:
    """Return actions [n, *action] as the library's policies take them: flat, and discrete ones from 0."""
    if isinstance(space, spaces.Box):
        return actions.reshape(len(actions), -1)
    low, high = limits(space)
    index: np.ndarray = np.clip(actions, low, high) - low  # anything may stand where no step was taken
    if isinstance(space, spaces.Discrete):
        return index
    # In single precision, as in the library's minibatches: its Bernoulli distribution takes no whole numbers.
    return index.reshape(len(actions), -1).astype(np.float32)


def draw_actions(chances: Sequence[Any], space: ActionSpace, streams: Streams, *, deterministic: bool) -> np.ndarray:
    """Return actions [*streams.shape, *action] of torch's distributions, drawn from `streams` or their modes.

    `chances` holds one distribution of all worlds, or one for each task. A distribution over several choices is a list.
    Raises MetarlError where its numbers are not finite.
    """
    shape = streams.shape
    if not isinstance(space, spaces.Box):
        head, logits = action_head(space), torch.cat([_logits(each) for each in chances]).unflatten(0, shape)
        _require_finite_outputs(logits)
        return head.mode(logits) if deterministic else head.sample(logits, streams)
    means = torch.cat([each.mean for each in chances])
    _require_finite_outputs(means)
    actions = means.unflatten(0, shape).cpu().numpy()
    if not deterministic:
        deviations = torch.cat([each.stddev for each in chances]).unflatten(0, shape).cpu().numpy()
        actions = actions + deviations * streams.normal((actions.shape[-1],))
    return np.asarray(actions.reshape(*shape, *space.shape), dtype=space.dtype)


def told_outputs(chances: Sequence[Any], space: ActionSpace, shape: tuple[int, ...]) -> np.ndarray | None:
    """Return torch's distributions as `Learner.outputs`, [*shape, n]; None for a box that has no scale to tell them in.

    `chances` are those of `draw_actions`.
    """
    if not isinstance(space, spaces.Box):
        return torch.cat([_logits(each) for each in chances]).unflatten(0, shape).cpu().numpy()
    if not space.is_bounded() or not (space.high > space.low).all():
        return None
    low, high = (bound.astype(np.float64).reshape(-1) for bound in (space.low, space.high))
    centre, half = (high + low) / 2, (high - low) / 2
    means, deviations = (
        torch.cat([getattr(each, name) for each in chances]).double().cpu().numpy() for name in ("mean", "stddev")
    )
    scaled = np.concatenate([(means - centre) / half, np.log(deviations / half)], axis=-1)
    return scaled.reshape(*shape, -1)


def _logits(chances: Any) -> Tensor:
    """Return the logits of a distribution, of several choices one behind the other. [n, number]"""
    logits: Tensor = torch.cat([each.logits for each in chances], -1) if isinstance(chances, list) else chances.logits
    return logits


def train_on(model: Any, minibatches: Minibatches) -> dict[str, float]:
    """Train an on-policy model by its own `train` on minibatches of a full buffer, and return its metrics.

    The model does not keep them. Raises MetarlError where a metric is not finite.
    """
    unused = model.rollout_buffer
    try:
        model.rollout_buffer = minibatches
        model.train()
    finally:  # learners copy the model, and a copy needs no buffer
        model.rollout_buffer = unused
    told = model.logger.name_to_value
    names = ("loss", "policy_gradient_loss", "value_loss", "entropy_loss", "approx_kl", "clip_fraction")
    metrics = {name: float(told[f"train/{name}"]) for name in names}
    if not all(math.isfinite(value) for value in metrics.values()):
        raise MetarlError(f"the loss is {metrics['loss']}; take a lower agent.learning_rate")
    explained = float(told["train/explained_variance"])
    # It is not finite where all returns are equal.
    return {**metrics, "explained_variance": explained if math.isfinite(explained) else 0.0}


def policy_state(policy: Any) -> StateDict:
    """Return the parameters and the optimiser state of a policy with one optimiser."""
    return training_state(dict(policy.state_dict()), policy.optimizer, dict(policy.named_parameters()))


def load_policy_state(policy: Any, state: StateDict) -> None:
    """Restore a state of `policy_state`. Raises MetarlError where names or shapes differ."""
    require_fitting(policy_state(policy), state)
    load_training_state(dict(policy.state_dict()), policy.optimizer, dict(policy.named_parameters()), state)


def require_finite(*judged: Tensor) -> None:
    """Raise MetarlError where a number of the tensors is not finite."""
    if not all(tensor.isfinite().all() for tensor in judged):
        raise MetarlError("the policy or its values are not finite; take a lower agent.learning_rate")


_BAD_OUTPUTS = "the policy's outputs are not finite numbers; take a lower agent.learning_rate"


def _require_finite_outputs(outputs: Tensor) -> None:
    # torch looks at the parameters of its distributions only until a library, such as torchrl, turns that off.
    if not outputs.isfinite().all():
        raise MetarlError(_BAD_OUTPUTS)


@contextlib.contextmanager
def explain_bad_outputs() -> Iterator[None]:
    """Raise MetarlError in place of torch's error for a distribution with parameters that are not finite."""
    try:
        yield
    except ValueError as error:
        if not str(error).startswith("Expected parameter"):
            raise
        raise MetarlError(_BAD_OUTPUTS) from None
