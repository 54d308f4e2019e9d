"""What returns are compared with: each a small object that gives the value of every step of a round."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import NamedTuple, Protocol

import numpy as np
import torch
from torch import Tensor, nn

from metarl.trials.episodes import Episodes

from ..common.advantage import baseline_features, linear_baseline
from ..common.moments import RunningMoments, ValueScale
from ..common.state import StateDict, load_training_state, training_state


class Values(NamedTuple):
    """Values of one round."""

    steps: np.ndarray
    """Of each step's observation. [time, task, replica]"""
    final: np.ndarray
    """Of each episode's true final observation. [task, replica]"""


class Baseline(Protocol):
    """Gives values before an update, and may learn from what the update saw."""

    def values(self, episodes: Episodes, returns: np.ndarray) -> Values:
        """Return the values of a round whose discounted returns are `returns` [time, task, replica]."""
        ...

    def learn(self, rounds: Sequence[tuple[Episodes, np.ndarray]], rng: np.random.Generator) -> dict[str, float]:
        """Learn from all rounds of a trial, each with its returns, and return what to log of it."""
        ...

    def state_dict(self) -> StateDict:
        """Return what `learn` changes."""
        ...

    def load_state_dict(self, state: StateDict) -> None:
        """Restore what `state_dict` gave."""
        ...


def flat_observations(episodes: Episodes) -> tuple[np.ndarray, np.ndarray]:
    """Return the observations [time, task, replica, d] and the final ones [task, replica, d], each as one row."""
    shape = episodes.mask.shape
    return episodes.observations.reshape(*shape, -1), episodes.final_observations.reshape(*shape[1:], -1)


class LinearBaseline:
    """Linear in features of observation and time, fitted to each task's own round (Duan et al., 2016)."""

    def values(self, episodes: Episodes, returns: np.ndarray) -> Values:
        """Return the fit to `returns`."""
        return Values(*linear_baseline(*flat_observations(episodes), returns, episodes.mask))

    def learn(self, rounds: Sequence[tuple[Episodes, np.ndarray]], rng: np.random.Generator) -> dict[str, float]:
        """Do nothing: every round has a fit of its own."""
        return {}

    def state_dict(self) -> StateDict:
        """Return nothing."""
        return {}

    def load_state_dict(self, state: StateDict) -> None:
        """Do nothing."""


def _linear(fan_in: int, fan_out: int) -> nn.Linear:
    """Return a layer with its weights not yet set: drawing them would use torch's global generator, which is anybody's."""
    layer: nn.Linear = nn.utils.skip_init(nn.Linear, fan_in, fan_out)
    return layer


class NetworkBaseline:
    """A tanh network of the linear baseline's features, shared by all tasks and learned over all updates.

    It is not told the task, nor what was adapted. Features and targets are scaled by running moments.
    """

    def __init__(
        self,
        observation_size: int,
        hidden_sizes: Sequence[int],
        *,
        learning_rate: float,
        num_epochs: int,
        generator: torch.Generator,
        dtype: torch.dtype,
        device: str,
    ) -> None:
        self.num_epochs, self.dtype, self.device = num_epochs, dtype, device
        sizes = (2 * observation_size + 4, *hidden_sizes)
        layers: list[nn.Module] = []
        for fan_in, fan_out in itertools.pairwise(sizes):
            layers += [_linear(fan_in, fan_out), nn.Tanh()]
        self.value = _linear(sizes[-1], 1)
        self.network = nn.Sequential(*layers, self.value)
        with torch.no_grad():
            for parameter in self.network.parameters():
                scale = parameter.shape[-1] ** -0.5 if parameter.dim() > 1 else 0.0
                parameter.copy_(torch.randn(parameter.shape, generator=generator, dtype=torch.float64) * scale)
        self.network.to(device=device, dtype=dtype)
        self.optimizer = torch.optim.Adam(self.network.parameters(), lr=learning_rate)
        self.moments = RunningMoments(sizes[0])
        self.scale = ValueScale()

    def _features(self, observations: np.ndarray, time: np.ndarray) -> np.ndarray:
        return baseline_features(observations, time)

    def _input(self, features: np.ndarray) -> Tensor:
        return torch.as_tensor(self.moments.normalize(features), dtype=self.dtype, device=self.device)

    def _values(self, features: np.ndarray) -> np.ndarray:
        with torch.no_grad():
            outputs = self.network(self._input(features))[..., 0]
        return self.scale.to_returns(outputs).double().cpu().numpy()

    def values(self, episodes: Episodes, returns: np.ndarray) -> Values:
        """Return what the network says; `returns` play no part."""
        observations, final = flat_observations(episodes)
        steps = np.arange(len(observations)).reshape(-1, 1, 1)
        values = self._values(self._features(observations, steps)) * episodes.mask
        return Values(values, self._values(self._features(final, episodes.mask.sum(axis=0))))

    def learn(self, rounds: Sequence[tuple[Episodes, np.ndarray]], rng: np.random.Generator) -> dict[str, float]:
        """Move the network towards the returns, in minibatches of an eighth of all steps."""
        features, targets = [], []
        for episodes, returns in rounds:
            observations, _ = flat_observations(episodes)
            seen = self._features(observations, np.arange(len(observations)).reshape(-1, 1, 1))
            features.append(seen[episodes.mask])
            targets.append(returns[episodes.mask])
        rows, wanted = np.concatenate(features), np.concatenate(targets)
        self.moments.add(rows)
        self.scale.follow(wanted, self.value)
        inputs = self._input(rows)
        goals = torch.as_tensor(self.scale.from_returns(wanted), dtype=self.dtype, device=self.device)
        losses = []
        for _ in range(self.num_epochs):
            for chosen in np.array_split(rng.permutation(len(rows)), min(8, len(rows))):
                index = torch.as_tensor(chosen, device=self.device)
                loss = (self.network(inputs[index])[..., 0] - goals[index]).square().mean()
                self.optimizer.zero_grad()
                loss.backward()
                nn.utils.clip_grad_norm_(self.network.parameters(), 1.0)
                self.optimizer.step()
                losses.append(loss.item())
        return {"baseline_loss": float(np.mean(losses))}

    def _tensors(self) -> StateDict:
        return {
            **{f"network.{name}": value for name, value in self.network.named_parameters()},
            **{f"moments.{name}": value for name, value in self.moments.tensors.items()},
            **{f"scale.{name}": value for name, value in self.scale.tensors.items()},
        }

    def state_dict(self) -> StateDict:
        """Return the network, its scales and its optimiser's state."""
        return training_state(self._tensors(), self.optimizer, dict(self.network.named_parameters()))

    def load_state_dict(self, state: StateDict) -> None:
        """Restore what `state_dict` gave."""
        load_training_state(self._tensors(), self.optimizer, dict(self.network.named_parameters()), state)
