"""MAML-PPO: policy-gradient adaptation whose starting point is learned by PPO through the adaptation itself.

Finn, Abbeel and Levine, ICML 2017; the clipped outer objective as in Rothfuss et al., ProMP, ICLR 2019. Unlike there,
advantages are estimated with lambda 0.97 and normalized within each task, and there is no penalty on the inner KL.
"""

from __future__ import annotations

import math
from typing import ClassVar, Literal, NamedTuple

import numpy as np
import torch
from gymnasium import spaces
from torch import Tensor

from metarl.advantage import (
    discounted_returns,
    explained_variance,
    generalized_advantages,
    linear_baseline,
    normalized,
)
from metarl.agent import Count, Fraction, Positive, Settings, register_agent
from metarl.errors import MetarlError
from metarl.streams import Streams
from metarl.trial import Episodes, TimeStep, Trial

from .policy import MLPPolicy, Parameters, action_head
from .ppo import Surrogate, clipped_surrogate, masked_mean
from .state import StateDict, load_optimizer, load_tensors, optimizer_state, require_same_shapes
from .threads import acting


class MAMLPPOConfig(Settings):
    """Settings of MAML-PPO. The number of inner steps is the number of rounds in a trial less one."""

    hidden_sizes: tuple[Count, ...] = (64, 64)
    """Units of each hidden layer of the tanh policy."""
    initial_std: Positive = 1.0
    """Standard deviation of the first policy's actions, in half-ranges of the action space."""
    min_std: Positive = 1e-3
    """Floor of that standard deviation, kept by the meta-update."""
    inner_lr: Positive = 0.1
    """Step size of the adaptation."""
    first_order: bool = False
    """Whether the meta-gradient takes the inner gradient for a constant."""
    learning_rate: Positive = 1e-3
    """Step size of Adam on the meta-parameters."""
    num_epochs: Count = 5
    """Outer steps on each trial."""
    clip_range: Positive = 0.3
    """How far the ratio of new to old action probability may move an objective."""
    max_grad_norm: Positive = 1.0
    """Norm that the meta-gradient is cut down to."""
    discount: Fraction = 0.99
    """Discount of rewards, gamma."""
    gae_lambda: Fraction = 0.97
    """Lambda of generalized advantage estimation."""
    dtype: Literal["float32", "float64"] = "float32"
    """Floating-point type of the policy."""


class Round(NamedTuple):
    """One round as the losses see it: the steps of each task in one row."""

    observations: Tensor
    """[task, step, d]"""
    actions: Tensor
    """[task, step, *action]"""
    advantages: Tensor
    """Normalized within each task. [task, step]"""
    mask: Tensor
    """One where a step was taken, else zero. [task, step]"""
    old_log_prob: Tensor
    """Log-probability under the policy that acted. [task, step]"""


@register_agent("maml-ppo")
class MAMLPPO:
    """Adapts by policy-gradient steps from a starting point that PPO has meta-learned through those steps."""

    Config: ClassVar[type[Settings]] = MAMLPPOConfig

    def __init__(
        self,
        config: MAMLPPOConfig,
        observation_space: spaces.Box,
        action_space: spaces.Box | spaces.Discrete,
        *,
        seed: int,
        device: str,
    ) -> None:
        self.config, self.device = config, device
        self.dtype = getattr(torch, config.dtype)
        self.head = action_head(action_space)
        self.policy = MLPPolicy(observation_space, self.head, config.hidden_sizes)
        self.parameters = self.policy.initial_parameters(
            torch.Generator().manual_seed(seed), initial_std=config.initial_std, dtype=self.dtype, device=device
        )
        for parameter in self.parameters.values():
            parameter.requires_grad_(True)
        self.optimizer = torch.optim.Adam(list(self.parameters.values()), lr=config.learning_rate)

    def begin(self, streams: Streams) -> MAMLLearner:
        """Return a learner at the meta-learned starting point in every task."""
        return MAMLLearner(self, streams)

    # The mathematics, for one task: everything below runs under vmap over the tasks.

    def log_prob(self, parameters: Parameters, played: Round) -> Tensor:
        """Return the log-probability of the actions played, [step]."""
        return self.head.log_prob(self.policy(parameters, played.observations), played.actions)

    def inner_loss(self, parameters: Parameters, played: Round) -> Tensor:
        """Return minus the likelihood-ratio objective; its gradient where `parameters` acted is the policy gradient.

        The ratio is to the policy that acted, so that the step stays right when an outer epoch has moved the
        starting point (Rothfuss et al., 2019, equation 8).
        """
        ratio = torch.exp(self.log_prob(parameters, played) - played.old_log_prob)
        return -masked_mean(ratio * played.advantages, played.mask)

    def inner_step(self, parameters: Parameters, played: Round) -> dict[str, Tensor]:
        """Return the parameters after one adaptation step."""
        gradients = torch.func.grad(self.inner_loss)(parameters, played)
        if self.config.first_order:
            gradients = {name: gradient.detach() for name, gradient in gradients.items()}
        return {name: value - self.config.inner_lr * gradients[name] for name, value in parameters.items()}

    def outer_loss(self, parameters: Parameters, rounds: tuple[Round, ...]) -> tuple[Surrogate, Tensor]:
        """Return the clipped surrogate of the last round after adapting to the others, and the entropy there."""
        for played in rounds[:-1]:
            parameters = self.inner_step(parameters, played)
        last = rounds[-1]
        outputs = self.policy(parameters, last.observations)
        log_prob = self.head.log_prob(outputs, last.actions)
        surrogate = clipped_surrogate(log_prob, last.old_log_prob, last.advantages, last.mask, self.config.clip_range)
        return surrogate, masked_mean(self.head.entropy(outputs), last.mask)

    def outer_losses(self, rounds: tuple[Round, ...]) -> tuple[Surrogate, Tensor]:
        """Return what `outer_loss` gives for every task, in one vmapped call; its fields are [task]."""
        return torch.vmap(self.outer_loss, in_dims=(None, 0))(self.parameters, rounds)

    # Arrays in, parameters out.

    def stacked(self, num_tasks: int) -> dict[str, Tensor]:
        """Return one copy of the starting point for each task, [task, ...]."""
        return {name: p.detach().expand(num_tasks, *p.shape).clone() for name, p in self.parameters.items()}

    def prepared(self, episodes: Episodes, parameters: Parameters) -> tuple[Round, float]:
        """Return a round of episodes ready for the losses, and how much of their returns the baseline explains.

        `parameters` [task, ...] are those that acted: their log-probabilities are computed here once.
        """
        advantages, explained = self.advantages(episodes)
        flat = episodes.observations.reshape(*episodes.mask.shape, -1)
        played = Round(
            observations=self._per_task(flat),
            actions=self._per_task(episodes.actions),
            advantages=self._per_task(advantages),
            mask=self._per_task(episodes.mask),
            old_log_prob=self._per_task(np.zeros_like(episodes.rewards)),
        )
        with torch.no_grad():
            old_log_prob = torch.vmap(self.log_prob)(parameters, played)
        return played._replace(old_log_prob=old_log_prob), explained

    def advantages(self, episodes: Episodes) -> tuple[np.ndarray, float]:
        """Return normalized advantages [time, task, replica] over a linear baseline of each task's own returns."""
        config, mask = self.config, episodes.mask
        flat = episodes.observations.reshape(*mask.shape, -1)
        final = episodes.final_observations.reshape(*mask.shape[1:], -1)
        returns = discounted_returns(episodes.rewards, mask, config.discount, np.zeros(mask.shape[1:]))
        values, final_values = linear_baseline(flat, final, returns, mask)
        # What follows a termination is worth nothing; what follows the time limit is worth what the baseline says.
        bootstrap = np.where(episodes.terminations.any(axis=0), 0.0, final_values)
        raw = generalized_advantages(
            episodes.rewards, values, mask, bootstrap, discount=config.discount, gae_lambda=config.gae_lambda
        )
        return normalized(raw, mask, axis=(0, 2)), explained_variance(values, returns, mask)

    def _per_task(self, array: np.ndarray) -> Tensor:
        """Return [time, task, replica, ...] as [task, time * replica, ...] on the device."""
        moved = np.moveaxis(array, 1, 0)
        merged = np.ascontiguousarray(moved).reshape(moved.shape[0], -1, *moved.shape[3:])
        dtype = None if array.dtype == np.int64 else self.dtype
        return torch.as_tensor(merged, dtype=dtype, device=self.device)

    def adapted(self, parameters: Parameters, played: Round) -> dict[str, Tensor]:
        """Return the parameters of every task after one step, [task, ...], in one vmapped call."""
        with torch.no_grad():
            return torch.vmap(self.inner_step)(parameters, played)

    def update(self, trial: Trial, rng: np.random.Generator) -> dict[str, float]:
        """Make one meta-update from a trial of two rounds or more. Raises MetarlError for fewer."""
        if len(trial.rounds) < 2:
            raise MetarlError(f"rounds is {len(trial.rounds)}; MAML-PPO needs at least 2: one to adapt, one to measure")
        rounds, explained = self._replayed(trial)
        history = [self._outer_step(rounds) for _ in range(self.config.num_epochs)]
        with torch.no_grad():
            surrogate, entropy = self.outer_losses(rounds)
        return {
            "loss": history[0]["loss"],
            "gradient_norm": float(np.mean([step["gradient_norm"] for step in history])),
            "clip_fraction": float(np.mean([step["clip_fraction"] for step in history])),
            "first_ratio_deviation": history[0]["ratio_deviation"],
            "kl": float(surrogate.kl.mean()),
            "entropy": float(entropy.mean()),
            "explained_variance": float(np.mean(explained)),
        }

    def _replayed(self, trial: Trial) -> tuple[tuple[Round, ...], list[float]]:
        """Return the rounds with the log-probabilities of the policies that played them, by adapting once more."""
        parameters = self.stacked(len(trial.tasks))
        rounds, explained = [], []
        for episodes in trial.rounds:
            played, share = self.prepared(episodes, parameters)
            rounds.append(played)
            explained.append(share)
            if len(rounds) < len(trial.rounds):
                parameters = self.adapted(parameters, played)
        return tuple(rounds), explained

    def _outer_step(self, rounds: tuple[Round, ...]) -> dict[str, float]:
        surrogate, _ = self.outer_losses(rounds)
        loss = surrogate.loss.mean()
        self.optimizer.zero_grad()
        loss.backward()
        norm = torch.nn.utils.clip_grad_norm_(self.parameters.values(), self.config.max_grad_norm)
        self.optimizer.step()
        if "log_std" in self.parameters:
            with torch.no_grad():
                self.parameters["log_std"].clamp_(min=math.log(self.config.min_std))
        return {
            "loss": loss.item(),
            "gradient_norm": float(norm),
            "clip_fraction": float(surrogate.clip_fraction.mean()),
            "ratio_deviation": float(surrogate.ratio_deviation.mean()),
        }

    def state_dict(self) -> StateDict:
        """Return parameters and optimiser state."""
        parameters = {name: p.detach().clone() for name, p in self.parameters.items()}
        return {**parameters, **optimizer_state(self.optimizer, self.parameters)}

    def load_state_dict(self, state: StateDict) -> None:
        """Restore what `state_dict` gave. Raises MetarlError where names or shapes differ."""
        require_same_shapes(self.state_dict(), state)
        load_tensors(self.parameters, state)
        load_optimizer(self.optimizer, self.parameters, state)


class MAMLLearner:
    """One set of parameters for each task, moved by one policy-gradient step after each round."""

    def __init__(self, agent: MAMLPPO, streams: Streams) -> None:
        self.agent, self.streams = agent, streams
        self.parameters = agent.stacked(streams.shape[0])

    def act(self, timestep: TimeStep, *, deterministic: bool) -> np.ndarray:
        """Return actions of each task's own policy, [task, replica, *action]."""
        agent = self.agent
        observations = timestep.observations.reshape(*self.streams.shape, -1)
        with acting():
            outputs = torch.vmap(agent.policy)(
                self.parameters, torch.as_tensor(observations, dtype=agent.dtype, device=agent.device)
            )
            if deterministic:
                return agent.head.mode(outputs)
            return agent.head.sample(outputs, self.streams.where(timestep.active))

    def adapt(self, episodes: Episodes) -> None:
        """Take one inner step in every task."""
        played, _ = self.agent.prepared(episodes, self.parameters)
        self.parameters = self.agent.adapted(self.parameters, played)
