"""Action distributions that the agents share: one kind for each kind of action space."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Protocol

import numpy as np
import torch
from gymnasium import spaces
from torch import Tensor
from torch.nn import functional as F

from metarl.base.errors import MetarlError
from metarl.base.streams import Streams
from metarl.families.spaces import ActionSpace, draw_actions, limits, shape_of


class ActionHead(Protocol):
    """A kind of action distribution; a network computes the `num_outputs` numbers that define one."""

    space: Any
    """Space of the actions."""
    num_outputs: int
    """Numbers that define one distribution."""
    num_features: int
    """Numbers that stand for one action in a network's input."""

    def log_prob(self, outputs: Tensor, actions: Tensor) -> Tensor:
        """Return the log-probability of `actions` [..., *action], summed over action dimensions, [...]."""
        ...

    def entropy(self, outputs: Tensor) -> Tensor:
        """Return the entropy in nats, [...]."""
        ...

    def kl(self, outputs: Tensor, others: Tensor) -> Tensor:
        """Return KL(distribution of `outputs` || distribution of `others`) in nats, [...]."""
        ...

    def sample(self, outputs: Tensor, streams: Streams) -> np.ndarray:
        """Return one action for each of the streams, [*streams.shape, *action]."""
        ...

    def mode(self, outputs: Tensor) -> np.ndarray:
        """Return the most likely actions."""
        ...

    def uniform(self, streams: Streams) -> np.ndarray:
        """Return one uniformly random action for each of the streams, [*streams.shape, *action]."""
        ...

    def features(self, actions: np.ndarray) -> np.ndarray:
        """Return the features of `actions` [..., *action] for a network's input, [..., num_features]."""
        ...

    def likeliest(self, outputs: Tensor) -> Tensor:
        """Return the most likely actions as the environment takes them, for an exported step. [..., *action]"""
        ...

    def described(self, outputs: Tensor) -> dict[str, Tensor]:
        """Return the numbers that define the distributions by name, in units of the action space."""
        ...

    def features_of(self, actions: Tensor) -> Tensor:
        """Return what `features` returns, as a tensor."""
        ...


def dtype_of(space: spaces.Space[Any]) -> torch.dtype:
    """Return torch's type for the elements of a space."""
    return torch.from_numpy(np.zeros(0, dtype=space.dtype)).dtype


def require_scalable(space: spaces.Box) -> None:
    """Raise MetarlError unless actions of the box can be scaled to [-1, 1]."""
    if not space.is_bounded():
        raise MetarlError(f"action space {space} has no bounds; give the family finite ones, to scale actions by")
    if not np.issubdtype(space.dtype, np.floating):
        raise MetarlError(f"action space {space} holds whole numbers; a policy of normal actions needs a float dtype")
    if not (space.high > space.low).all():
        raise MetarlError(f"action space {space} has a dimension without width; leave that dimension out")


def require_finite_outputs(outputs: Tensor, what: str) -> None:
    """Raise MetarlError unless the numbers that define the distributions of worlds, [..., num_outputs], are finite."""
    if outputs.isfinite().all():
        return
    wrong = ~outputs.isfinite().flatten(0, -2).all(-1)
    raise MetarlError(
        f"the policy's {what} are not finite in {int(wrong.sum())} of {len(wrong)} worlds; look at the family's "
        "observations and rewards, or train with a lower learning rate"
    )


class GaussianHead:
    """Independent normal actions in the box scaled to [-1, 1]; outputs are means, then logarithms of deviations.

    Log-probabilities are densities in the scaled box. Samples are not clipped: the rollout clips what the environment
    gets, and the density stays that of the sample, as in stable-baselines3.
    """

    def __init__(self, space: spaces.Box) -> None:
        require_scalable(space)
        self.dim = int(np.prod(space.shape))
        self.shape = space.shape
        self.num_outputs, self.num_features = 2 * self.dim, self.dim
        self.centre = ((space.high + space.low) / 2).astype(np.float64).reshape(-1)
        self.half = ((space.high - space.low) / 2).astype(np.float64).reshape(-1)
        self.space = space

    def _to_unit_box(self, actions: Tensor) -> Tensor:
        flat = actions.reshape(*actions.shape[: actions.dim() - len(self.shape)], self.dim)
        return (flat - flat.new_tensor(self.centre)) / flat.new_tensor(self.half)

    def log_prob(self, outputs: Tensor, actions: Tensor) -> Tensor:
        """Return the log-density, summed over action dimensions, [...]."""
        mean, log_std = outputs.chunk(2, dim=-1)
        z = (self._to_unit_box(actions) - mean) * torch.exp(-log_std)
        return (-0.5 * z.square() - log_std - 0.5 * math.log(2 * math.pi)).sum(-1)

    def entropy(self, outputs: Tensor) -> Tensor:
        """Return the differential entropy in nats, [...]."""
        return (outputs.chunk(2, dim=-1)[1] + 0.5 * math.log(2 * math.pi * math.e)).sum(-1)

    def kl(self, outputs: Tensor, others: Tensor) -> Tensor:
        """Return KL(outputs || others) in nats, summed over action dimensions, [...]."""
        (mean, log_std), (other_mean, other_log_std) = outputs.chunk(2, dim=-1), others.chunk(2, dim=-1)
        moved = (mean - other_mean).square() + torch.exp(2 * log_std)
        return (other_log_std - log_std + 0.5 * moved * torch.exp(-2 * other_log_std) - 0.5).sum(-1)

    def sample(self, outputs: Tensor, streams: Streams) -> np.ndarray:
        """Return one action for each of the streams."""
        require_finite_outputs(outputs, "means or deviations")
        mean, log_std = np.split(outputs.cpu().numpy(), 2, axis=-1)
        return self._from_unit_box(mean + streams.normal((self.dim,)) * np.exp(log_std))

    def mode(self, outputs: Tensor) -> np.ndarray:
        """Return the means."""
        require_finite_outputs(outputs, "means or deviations")
        return self._from_unit_box(outputs.chunk(2, dim=-1)[0].cpu().numpy())

    def uniform(self, streams: Streams) -> np.ndarray:
        """Return actions drawn uniformly from the box."""
        return self._from_unit_box(2 * streams.uniform((self.dim,)) - 1)

    def _from_unit_box(self, scaled: np.ndarray) -> np.ndarray:
        actions = scaled * self.half + self.centre
        return actions.reshape(*actions.shape[:-1], *self.shape).astype(np.float32)

    def features(self, actions: np.ndarray) -> np.ndarray:
        """Return the actions scaled to [-1, 1] and clipped, as the environment clips them."""
        flat = actions.reshape(*actions.shape[: actions.ndim - len(self.shape)], self.dim)
        return np.clip((flat - self.centre) / self.half, -1.0, 1.0)

    def likeliest(self, outputs: Tensor) -> Tensor:
        """Return the means, clipped to the box."""
        low, high = torch.from_numpy(self.space.low), torch.from_numpy(self.space.high)
        return self.described(outputs)["action_mean"].float().to(low.dtype).clamp(low, high)

    def described(self, outputs: Tensor) -> dict[str, Tensor]:
        """Return means and standard deviations, not clipped, float64 [..., *action]."""
        mean, log_std = outputs.double().chunk(2, dim=-1)
        half, centre = torch.from_numpy(self.half), torch.from_numpy(self.centre)
        shape = (*outputs.shape[:-1], *self.shape)
        return {
            "action_mean": (mean * half + centre).reshape(shape),
            "action_std": (log_std.exp() * half).reshape(shape),
        }

    def features_of(self, actions: Tensor) -> Tensor:
        """Return the actions scaled to [-1, 1] and clipped."""
        return self._to_unit_box(actions.double()).clamp(-1.0, 1.0)


class CategoricalHead:
    """One of n actions; outputs are logits."""

    def __init__(self, space: spaces.Discrete) -> None:
        self.space = space
        self.num_outputs = self.num_features = int(space.n)
        self.start = int(space.start)

    def log_prob(self, outputs: Tensor, actions: Tensor) -> Tensor:
        """Return the log-probability, [...]; a value outside the space counts as the nearest action.

        Zeros stand where no step was taken, and zero need not be an action.
        """
        index = (actions.long() - self.start).clamp(0, self.num_outputs - 1).unsqueeze(-1)
        return outputs.log_softmax(-1).gather(-1, index).squeeze(-1)

    def entropy(self, outputs: Tensor) -> Tensor:
        """Return the entropy in nats, [...]."""
        log_p = outputs.log_softmax(-1)
        return -(log_p.exp() * log_p).sum(-1)

    def kl(self, outputs: Tensor, others: Tensor) -> Tensor:
        """Return KL(outputs || others) in nats, [...]."""
        log_p = outputs.log_softmax(-1)
        return (log_p.exp() * (log_p - others.log_softmax(-1))).sum(-1)

    def sample(self, outputs: Tensor, streams: Streams) -> np.ndarray:
        """Return one action for each of the streams, by inversion of the distribution function."""
        require_finite_outputs(outputs, "logits")
        threshold = torch.as_tensor(streams.uniform()[..., None], dtype=torch.float64, device=outputs.device)
        below = (outputs.double().softmax(-1).cumsum(-1) <= threshold).sum(-1)
        return below.clamp(max=self.num_outputs - 1).cpu().numpy() + self.start

    def mode(self, outputs: Tensor) -> np.ndarray:
        """Return the likeliest actions."""
        require_finite_outputs(outputs, "logits")
        return outputs.argmax(-1).cpu().numpy() + self.start

    def uniform(self, streams: Streams) -> np.ndarray:
        """Return actions drawn uniformly."""
        return streams.integers(self.num_outputs) + self.start

    def features(self, actions: np.ndarray) -> np.ndarray:
        """Return the actions as one-hot vectors; a value outside the space counts as the nearest action."""
        index = np.clip(actions - self.start, 0, self.num_features - 1)
        return index[..., None] == np.arange(self.num_features)

    def likeliest(self, outputs: Tensor) -> Tensor:
        """Return the likeliest actions."""
        return outputs.argmax(-1) + self.start

    def described(self, outputs: Tensor) -> dict[str, Tensor]:
        """Return the logits, [..., n]."""
        return {"action_logits": outputs}

    def features_of(self, actions: Tensor) -> Tensor:
        """Return the actions as one-hot vectors."""
        index = (actions - self.start).clamp(0, self.num_features - 1)
        return index[..., None] == torch.arange(self.num_features, device=actions.device)


class MultiCategoricalHead:
    """Several choices at once, each independent of the others; outputs are the logits of all, one behind the other."""

    def __init__(self, space: spaces.MultiDiscrete) -> None:
        self.space = space
        counts, starts = np.ravel(space.nvec).tolist(), np.ravel(limits(space)[0]).tolist()
        self.sizes = [int(count) for count in counts]
        self.heads = [
            CategoricalHead(spaces.Discrete(count, start=start))
            for count, start in zip(self.sizes, starts, strict=True)
        ]
        self.num_outputs = self.num_features = sum(self.sizes)

    def _each(self, outputs: Tensor) -> list[tuple[CategoricalHead, Tensor]]:
        return list(zip(self.heads, outputs.split(self.sizes, dim=-1), strict=True))

    def _flat(self, actions: Any) -> Any:
        return actions.reshape(*actions.shape[: len(actions.shape) - len(self.space.shape)], len(self.sizes))

    def _stack(self, chosen: Sequence[np.ndarray]) -> np.ndarray:
        actions = np.stack(chosen, axis=-1)
        return actions.reshape(*actions.shape[:-1], *self.space.shape).astype(self.space.dtype)

    def log_prob(self, outputs: Tensor, actions: Tensor) -> Tensor:
        """Return the log-probability, summed over choices, [...]."""
        chosen = self._flat(actions).unbind(-1)
        return _sum(head.log_prob(logits, one) for (head, logits), one in zip(self._each(outputs), chosen, strict=True))

    def entropy(self, outputs: Tensor) -> Tensor:
        """Return the entropy in nats, summed over choices, [...]."""
        return _sum(head.entropy(logits) for head, logits in self._each(outputs))

    def kl(self, outputs: Tensor, others: Tensor) -> Tensor:
        """Return KL(outputs || others) in nats, summed over choices, [...]."""
        pairs = zip(self._each(outputs), others.split(self.sizes, dim=-1), strict=True)
        return _sum(head.kl(logits, other) for (head, logits), other in pairs)

    def sample(self, outputs: Tensor, streams: Streams) -> np.ndarray:
        """Return one action for each of the streams."""
        return self._stack([head.sample(logits, streams) for head, logits in self._each(outputs)])

    def mode(self, outputs: Tensor) -> np.ndarray:
        """Return the likeliest actions."""
        return self._stack([head.mode(logits) for head, logits in self._each(outputs)])

    def uniform(self, streams: Streams) -> np.ndarray:
        """Return actions drawn uniformly."""
        return draw_actions(self.space, streams)

    def features(self, actions: np.ndarray) -> np.ndarray:
        """Return the choices as one-hot vectors, one behind the other."""
        flat = self._flat(actions)
        return np.concatenate([head.features(flat[..., i]) for i, head in enumerate(self.heads)], axis=-1)

    def likeliest(self, outputs: Tensor) -> Tensor:
        """Return the likeliest actions."""
        chosen = torch.stack([head.likeliest(logits) for head, logits in self._each(outputs)], dim=-1)
        return chosen.reshape(*outputs.shape[:-1], *self.space.shape).to(dtype_of(self.space))

    def described(self, outputs: Tensor) -> dict[str, Tensor]:
        """Return the logits of all choices, one behind the other."""
        return {"action_logits": outputs}

    def features_of(self, actions: Tensor) -> Tensor:
        """Return the choices as one-hot vectors, one behind the other."""
        each = self._flat(actions).unbind(-1)
        return torch.cat([head.features_of(one) for head, one in zip(self.heads, each, strict=True)], dim=-1)


def _sum(terms: Iterable[Tensor]) -> Tensor:
    return torch.stack(list(terms)).sum(0)


class BernoulliHead:
    """Independent switches, on or off; outputs are the logits of on."""

    def __init__(self, space: spaces.MultiBinary) -> None:
        self.space, self.shape = space, shape_of(space)
        self.num_outputs = self.num_features = int(np.prod(self.shape))

    def _flat(self, actions: Any) -> Any:
        return actions.reshape(*actions.shape[: len(actions.shape) - len(self.shape)], self.num_outputs)

    def _shaped(self, on: np.ndarray) -> np.ndarray:
        return on.reshape(*on.shape[:-1], *self.shape).astype(self.space.dtype)

    def log_prob(self, outputs: Tensor, actions: Tensor) -> Tensor:
        """Return the log-probability, summed over switches, [...]."""
        return (self._flat(actions).to(outputs.dtype) * outputs - F.softplus(outputs)).sum(-1)

    def entropy(self, outputs: Tensor) -> Tensor:
        """Return the entropy in nats, summed over switches, [...]."""
        return (F.softplus(outputs) - outputs * outputs.sigmoid()).sum(-1)

    def kl(self, outputs: Tensor, others: Tensor) -> Tensor:
        """Return KL(outputs || others) in nats, summed over switches, [...]."""
        change = outputs.sigmoid() * (outputs - others)
        return (change - F.softplus(outputs) + F.softplus(others)).sum(-1)

    def sample(self, outputs: Tensor, streams: Streams) -> np.ndarray:
        """Return one action for each of the streams."""
        require_finite_outputs(outputs, "logits")
        return self._shaped(streams.uniform((self.num_outputs,)) < outputs.double().sigmoid().cpu().numpy())

    def mode(self, outputs: Tensor) -> np.ndarray:
        """Return the likeliest actions."""
        require_finite_outputs(outputs, "logits")
        return self._shaped((outputs > 0).cpu().numpy())

    def uniform(self, streams: Streams) -> np.ndarray:
        """Return actions drawn uniformly."""
        return draw_actions(self.space, streams)

    def features(self, actions: np.ndarray) -> np.ndarray:
        """Return the switches, one for on and zero for off."""
        return np.asarray(self._flat(actions))

    def likeliest(self, outputs: Tensor) -> Tensor:
        """Return the likeliest actions."""
        return (outputs > 0).reshape(*outputs.shape[:-1], *self.shape).to(dtype_of(self.space))

    def described(self, outputs: Tensor) -> dict[str, Tensor]:
        """Return the logits of on."""
        return {"action_logits": outputs}

    def features_of(self, actions: Tensor) -> Tensor:
        """Return the switches, one for on and zero for off."""
        features: Tensor = self._flat(actions)
        return features


HEADS: Mapping[type[Any], Callable[[Any], ActionHead]] = {
    spaces.Box: GaussianHead,
    spaces.Discrete: CategoricalHead,
    spaces.MultiDiscrete: MultiCategoricalHead,
    spaces.MultiBinary: BernoulliHead,
}
"""The kind of distribution for each kind of action space."""


def action_head(space: ActionSpace) -> ActionHead:
    """Return the distributions for an action space: normal for a box, categorical or Bernoulli for discrete ones.

    Raises MetarlError for any other space, and for a box whose actions cannot be scaled.
    """
    for kind, head in HEADS.items():
        if isinstance(space, kind):
            return head(space)
    raise MetarlError(f"action space {space} has no policy; give a Box, Discrete, MultiDiscrete or MultiBinary")
