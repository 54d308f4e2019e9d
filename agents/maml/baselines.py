"""Baselines of the advantages: each choice is its settings and a small object that values every step of a round."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Annotated, Literal, NamedTuple, Protocol

import numpy as np
import torch
from pydantic import Field
from torch import Tensor, nn

from metarl.base.settings import Count, Positive, Settings
from metarl.trials.episodes import Episodes

from ..common.adam import Adam
from ..common.advantage import baseline_features, linear_baseline
from ..common.moments import RunningMoments, ValueScale
from ..common.over_ranks import place_of, sum_over_ranks
from ..common.state import StateDict, load_training_state, training_state
from .baseline_inputs import MOST_FEATURES, BaselineInputs, project


class LinearBaselineConfig(Settings):
    """A linear fit to each task's own round (Duan et al., 2016)."""

    name: Literal["linear"] = "linear"
    """Linear in features of observation and time."""


class NetworkBaselineConfig(Settings):
    """A value network, shared by all tasks and learned over all updates."""

    name: Literal["network"] = "network"
    """Tanh network of the linear baseline's features."""
    learning_rate: Positive = 1e-3
    """Step size of Adam on the value network."""
    num_epochs: Count = 5
    """Passes of the value network over each trial."""


BaselineConfig = Annotated[LinearBaselineConfig | NetworkBaselineConfig, Field(discriminator="name")]
"""The baseline and its settings."""


class Values(NamedTuple):
    """Values of one round."""

    steps: np.ndarray
    """Value of each step's observation. [time, task, replica]"""
    final: np.ndarray
    """Value of each episode's true final observation. [task, replica]"""


class Baseline(Protocol):
    """Values the steps of a round, and may learn from the rounds of an update."""

    def values(self, episodes: Episodes, returns: np.ndarray) -> Values:
        """Return the values of a round, given its discounted returns [time, task, replica]."""
        ...

    def learn(self, rounds: Sequence[tuple[Episodes, np.ndarray]], rng: np.random.Generator) -> dict[str, float]:
        """Learn from all rounds of a trial, each with its returns, and return what to log."""
        ...

    def state_dict(self) -> StateDict:
        """Return the tensors that `learn` changes."""
        ...

    def load_state_dict(self, state: StateDict) -> None:
        """Restore the result of `state_dict`."""
        ...


class LinearBaseline:
    """Fits a linear function of observation and time to each task's own round (Duan et al., 2016).

    Observations of more than `MOST_FEATURES` numbers are first projected to as many random directions, which are the
    same in every run.
    """

    def __init__(self, inputs: BaselineInputs) -> None:
        self.inputs = inputs

    def values(self, episodes: Episodes, returns: np.ndarray) -> Values:
        """Return the values of the fit to `returns`."""
        observations, final = self.inputs(episodes)
        if not self.inputs.encoder.encoded and observations.shape[-1] > MOST_FEATURES:
            observations, final = project(observations, final, episodes.mask)
        return Values(*linear_baseline(observations, final, returns, episodes.mask))

    def learn(self, rounds: Sequence[tuple[Episodes, np.ndarray]], rng: np.random.Generator) -> dict[str, float]:
        """Do nothing: every round is fitted anew."""
        return {}

    def state_dict(self) -> StateDict:
        """Return nothing."""
        return {}

    def load_state_dict(self, state: StateDict) -> None:
        """Do nothing."""


def _linear(fan_in: int, fan_out: int) -> nn.Linear:
    """Return a layer with unset weights: torch would draw them from its global generator, which others use too."""
    layer: nn.Linear = nn.utils.skip_init(nn.Linear, fan_in, fan_out, dtype=torch.float32)
    return layer


class NetworkBaseline:
    """Learns a tanh network of the linear baseline's features over all updates; all tasks share it.

    It sees neither the task nor the adapted parameters. Running moments scale its features and targets.
    """

    hidden_sizes = (64, 64)

    def __init__(
        self,
        config: NetworkBaselineConfig,
        inputs: BaselineInputs,
        *,
        generator: torch.Generator,
        dtype: torch.dtype,
        device: str,
    ) -> None:
        self.inputs = inputs
        self.num_epochs, self.dtype, self.device = config.num_epochs, dtype, device
        sizes = (2 * inputs.size + 4, *self.hidden_sizes)
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
        self.optimizer = Adam(self.network.parameters(), config.learning_rate)
        self.moments = RunningMoments(sizes[0])
        self.scale = ValueScale()

    def _input(self, features: np.ndarray) -> Tensor:
        return torch.as_tensor(self.moments.normalize(features), dtype=self.dtype, device=self.device)

    def _values(self, features: np.ndarray) -> np.ndarray:
        with torch.no_grad():
            outputs = self.network(self._input(features))[..., 0]
        return self.scale.to_returns(outputs).double().cpu().numpy()

    def values(self, episodes: Episodes, returns: np.ndarray) -> Values:
        """Return the network's values; `returns` are not used."""
        observations, final = self.inputs(episodes)
        steps = np.arange(len(observations)).reshape(-1, 1, 1)
        values = self._values(baseline_features(observations, steps)) * episodes.mask
        return Values(values, self._values(baseline_features(final, episodes.mask.sum(axis=0))))

    def learn(self, rounds: Sequence[tuple[Episodes, np.ndarray]], rng: np.random.Generator) -> dict[str, float]:
        """Fit the network to the returns, in minibatches of an eighth of all steps."""
        rows, returns_to_go = self._rows(rounds)
        self.moments.add(rows)
        self.scale.follow(returns_to_go, self.value)
        inputs = self._input(rows)
        goals = torch.as_tensor(self.scale.from_returns(returns_to_go), dtype=self.dtype, device=self.device)
        parameters, losses = list(self.network.parameters()), []
        first, total = place_of(len(rows))
        for _ in range(self.num_epochs):
            for chosen in np.array_split(rng.permutation(total), min(8, total)):
                own = chosen[(chosen >= first) & (chosen < first + len(rows))] - first
                index = torch.as_tensor(own, device=self.device)
                loss = (self.network(inputs[index])[..., 0] - goals[index]).square().sum() / len(chosen)
                *gradients, loss = sum_over_ranks([*torch.autograd.grad(loss, parameters), loss.detach()[None]])
                for parameter, gradient in zip(parameters, gradients, strict=True):
                    parameter.grad = gradient
                nn.utils.clip_grad_norm_(parameters, 1.0)
                self.optimizer.step()
                losses.append(loss.item())
        return {"baseline_loss": float(np.mean(losses))}

    def _rows(self, rounds: Sequence[tuple[Episodes, np.ndarray]]) -> tuple[np.ndarray, np.ndarray]:
        """Return features and returns of all steps, those of a task behind those of the task before it."""
        features, targets = [], []
        for episodes, returns in rounds:
            observations, _ = self.inputs(episodes)
            seen = baseline_features(observations, np.arange(len(observations)).reshape(-1, 1, 1))
            features.append([seen[:, task][mask] for task, mask in enumerate(episodes.mask.swapaxes(0, 1))])
            targets.append([returns[:, task][mask] for task, mask in enumerate(episodes.mask.swapaxes(0, 1))])
        by_task = [np.concatenate(parts) for parts in zip(*features, strict=True)]
        return np.concatenate(by_task), np.concatenate([np.concatenate(parts) for parts in zip(*targets, strict=True)])

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
        """Restore the result of `state_dict`."""
        load_training_state(self._tensors(), self.optimizer, dict(self.network.named_parameters()), state)
