"""RL^2: a recurrent policy that learns to learn, trained by PPO over whole trials.

Duan et al., RL^2: Fast Reinforcement Learning via Slow Reinforcement Learning, 2016; Wang et al., 2016.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Annotated, ClassVar, Literal, NamedTuple

import numpy as np
import torch
from pydantic import Field
from torch import Tensor, nn

from metarl.advantage import explained_variance, generalized_advantages
from metarl.agent import Count, Fraction, Positive, Settings, register_agent
from metarl.streams import Streams
from metarl.task import TaskFamily
from metarl.trial import Episodes, TimeStep, Trial

from .moments import RunningMoments, ValueScale
from .policy import ActionHead, GaussianHead, action_head
from .ppo import clipped_surrogate, masked_mean
from .state import StateDict, load_training_state, require_same_shapes, training_state
from .threads import acting, one_thread


class RL2Config(Settings):
    """Settings of RL^2."""

    hidden_size: Count = 128
    """Units of the GRU's memory."""
    initial_std: Positive = 0.6
    """Standard deviation of the first policy's actions, in half-ranges of the action space."""
    learning_rate: Positive = 1e-3
    """Step size of Adam."""
    num_epochs: Count = 4
    """Passes over each batch of trials."""
    num_minibatches: Count = 4
    """Minibatches of whole trials in a pass."""
    clip_range: Positive = 0.2
    """How far the ratio of new to old action probability may move an objective."""
    ent_coef: Annotated[float, Field(ge=0)] = 0.0
    """Weight of the entropy bonus."""
    vf_coef: Positive = 0.5
    """Weight of the value loss, whose targets are in normalized units."""
    max_grad_norm: Positive = 1.0
    """Norm that the gradient is cut down to."""
    discount: Fraction = 0.99
    """Discount of rewards over the trial, gamma."""
    gae_lambda: Fraction = 0.95
    """Lambda of generalized advantage estimation over the trial."""
    dtype: Literal["float32", "float64"] = "float32"
    """Floating-point type of the network."""


class RecurrentNetwork(nn.Module):
    """A GRU with a head for actions and one for values."""

    def __init__(self, num_inputs: int, head: ActionHead, config: RL2Config) -> None:
        super().__init__()
        self.gaussian = isinstance(head, GaussianHead)
        outputs = head.num_outputs // 2 if self.gaussian else head.num_outputs
        self.gru = nn.GRU(num_inputs, config.hidden_size)
        self.policy = nn.Linear(config.hidden_size, outputs)
        self.value = nn.Linear(config.hidden_size, 1)
        if self.gaussian:
            self.log_std = nn.Parameter(torch.full((outputs,), math.log(config.initial_std)))

    def initialize(self, generator: torch.Generator) -> None:
        """Draw all weights from `generator`: orthogonal, with a nearly uniform first policy; biases are zero."""
        gains = {"policy.weight": 0.01, "value.weight": 1.0}
        for name, parameter in self.named_parameters():
            if name.endswith("weight") or ".weight_" in name:
                # One orthogonal block for each of the GRU's three gates.
                blocks = parameter.chunk(3) if name.startswith("gru") else (parameter,)
                for block in blocks:
                    nn.init.orthogonal_(block.data, gains.get(name, 1.0), generator=generator)
            elif "bias" in name:
                nn.init.zeros_(parameter)

    def initial_state(self, num_trials: int) -> Tensor:
        """Return the memory at the start of a trial, [trial, hidden]."""
        return self.value.weight.new_zeros(num_trials, self.gru.hidden_size)

    def step(self, state: Tensor, inputs: Tensor) -> tuple[Tensor, Tensor]:
        """Return the memory after one step and the outputs of the action head; inputs are [trial, d]."""
        _, following = self.gru(inputs[None], state[None])
        return following[0], self._outputs(following[0])

    def sequence(self, inputs: Tensor) -> tuple[Tensor, Tensor]:
        """Return action outputs [time, trial, n] and values in normalized units [time, trial] of whole trials."""
        memory, _ = self.gru(inputs)
        return self._outputs(memory), self.value(memory).squeeze(-1)

    def _outputs(self, memory: Tensor) -> Tensor:
        outputs = self.policy(memory)
        return torch.cat([outputs, self.log_std.expand_as(outputs)], dim=-1) if self.gaussian else outputs


class Trials(NamedTuple):
    """Whole trials, one after another in time without a gap: steps that were not taken stand at the end, masked."""

    inputs: Tensor
    """What the network was given at each step, and last what follows a trial's last step. [time + 1, trial, d]"""
    actions: Tensor
    """[time, trial, *action]"""
    rewards: np.ndarray
    """[time, trial]"""
    mask: np.ndarray
    """Whether a step was taken. bool [time, trial]"""
    terminated: np.ndarray
    """Whether the trial's last step was a termination. bool [trial]"""


class Minibatch(NamedTuple):
    """What one gradient step is taken on, a few whole trials; all [time, trial, ...]."""

    inputs: Tensor
    actions: Tensor
    mask: Tensor
    advantages: Tensor
    targets: Tensor
    old_log_prob: Tensor


@register_agent("rl2")
class RL2:
    """Adapts by remembering: a GRU that sees actions, rewards and episode ends, trained by PPO over whole trials."""

    Config: ClassVar[type[Settings]] = RL2Config
    pools_replicas: ClassVar[bool] = False

    def __init__(self, config: RL2Config, family: TaskFamily, *, seed: int, device: str) -> None:
        self.config, self.device = config, device
        self.dtype = getattr(torch, config.dtype)
        self.head = action_head(family.action_space)
        self.num_observed = int(np.prod(family.observation_space.shape))
        # Observation, previous action, previous reward, and the two ways in which an episode may just have ended.
        self.network = RecurrentNetwork(self.num_observed + self.head.num_features + 3, self.head, config)
        self.network.initialize(torch.Generator().manual_seed(seed))
        self.network.to(device=device, dtype=self.dtype)
        self.optimizer = torch.optim.Adam(self.network.parameters(), lr=config.learning_rate)
        self.input_moments = RunningMoments(self.num_observed + 1)
        self.value_scale = ValueScale()

    def begin(self, streams: Streams) -> RL2Learner:
        """Return a learner with an empty memory in every replica of every task."""
        return RL2Learner(self, streams)

    def inputs(self, timestep: TimeStep, first: np.ndarray) -> Tensor:
        """Return the network's input of a time step of any leading shape [...], [..., d].

        `first` [...] marks the first step of a trial: there is no previous action and reward to be told of.
        """
        lead = timestep.previous_rewards.shape
        observed = timestep.observations.reshape(*lead, self.num_observed)
        seen = self.input_moments.normalize(np.concatenate([observed, timestep.previous_rewards[..., None]], axis=-1))
        known = ~first[..., None]
        rest = np.stack([timestep.previous_terminations, timestep.previous_truncations], axis=-1)
        seen[..., -1:] *= known
        actions = torch.as_tensor(timestep.previous_actions, device=self.device)
        return torch.cat(
            [
                self._tensor(seen),
                self.head.features(actions).to(self.dtype) * self._tensor(known),
                self._tensor(rest),
            ],
            dim=-1,
        )

    def _tensor(self, array: np.ndarray) -> Tensor:
        return torch.as_tensor(array, dtype=self.dtype, device=self.device)

    def update(self, trial: Trial, rng: np.random.Generator) -> dict[str, float]:
        """Make one meta-update: PPO over a batch of whole trials."""
        with one_thread():
            return self._updated(trial, rng)

    def _updated(self, trial: Trial, rng: np.random.Generator) -> dict[str, float]:
        trials = self.gathered(trial)
        with torch.no_grad():
            old_outputs, old_values = self.network.sequence(trials.inputs)
            old_log_prob = self.head.log_prob(old_outputs[:-1], trials.actions)
        values = self.value_scale.to_returns(old_values).double().cpu().numpy()
        advantages = self.advantages(trials, values)
        targets = advantages + values[:-1]
        chosen = advantages[trials.mask]
        batch = Minibatch(
            inputs=trials.inputs[:-1],
            actions=trials.actions,
            mask=self._tensor(trials.mask),
            advantages=self._tensor((advantages - chosen.mean()) / (chosen.std() + 1e-8)),
            targets=self._tensor(self._normalized_targets(targets, trials.mask)),
            old_log_prob=old_log_prob,
        )
        history = [self._step(minibatch) for minibatch in self._minibatches(batch, rng)]
        self._observe(trial)
        metrics = {name: float(np.mean([step[name] for step in history])) for name in history[0]}
        metrics["first_ratio_deviation"] = history[0]["ratio_deviation"]
        metrics["explained_variance"] = explained_variance(values[:-1], targets, trials.mask)
        return metrics

    def gathered(self, trial: Trial) -> Trials:
        """Return the rounds of a trial as unbroken sequences, one for each replica of each task."""
        steps, first = _timesteps(trial.rounds)
        mask = np.concatenate([*(episodes.mask for episodes in trial.rounds), np.ones_like(first[:1])])
        actions = np.concatenate([episodes.actions for episodes in trial.rounds])
        rewards = np.concatenate([episodes.rewards for episodes in trial.rounds])
        inputs = self.inputs(steps, first)
        # Stable: steps keep their order, and what follows the last one comes right behind it.
        order = np.argsort(~mask, axis=0, kind="stable")
        place = torch.as_tensor(order, device=self.device)
        packed = inputs.gather(0, place[..., None].expand_as(inputs)) if not mask.all() else inputs
        real = np.take_along_axis(mask, order, axis=0)
        # The marked steps less the last: what follows a trial is no step of it.
        taken = real[1:]
        inner = np.argsort(~mask[:-1], axis=0, kind="stable")
        return Trials(
            inputs=packed.flatten(1, 2),
            actions=torch.as_tensor(_flat(_take(actions, inner)), device=self.device),
            rewards=_flat(_take(rewards, inner)),
            mask=_flat(taken),
            terminated=trial.rounds[-1].last_step.previous_terminations.reshape(-1),
        )

    def advantages(self, trials: Trials, values: np.ndarray) -> np.ndarray:
        """Return advantages over the trial, [time, trial]; `values` [time + 1, trial] in units of return.

        An episode's end inside the trial is bootstrapped through: the trial goes on. At the trial's own end, a
        termination is worth nothing, and a truncation what the value of the true final observation says.
        """
        after_last = trials.mask.sum(axis=0)
        bootstrap = np.where(trials.terminated, 0.0, values[after_last, np.arange(values.shape[1])])
        return generalized_advantages(
            trials.rewards,
            values[:-1],
            trials.mask,
            bootstrap,
            discount=self.config.discount,
            gae_lambda=self.config.gae_lambda,
        )

    def _normalized_targets(self, targets: np.ndarray, mask: np.ndarray) -> np.ndarray:
        self.value_scale.follow(targets[mask], self.network.value)
        return self.value_scale.from_returns(targets)

    def _minibatches(self, batch: Minibatch, rng: np.random.Generator) -> Iterator[Minibatch]:
        num_trials = batch.mask.shape[1]
        for _ in range(self.config.num_epochs):
            for chosen in np.array_split(rng.permutation(num_trials), min(self.config.num_minibatches, num_trials)):
                index = torch.as_tensor(chosen, device=self.device)
                yield Minibatch(*(values.index_select(1, index) for values in batch))

    def _step(self, batch: Minibatch) -> dict[str, float]:
        config = self.config
        outputs, values = self.network.sequence(batch.inputs)
        log_prob = self.head.log_prob(outputs, batch.actions)
        surrogate = clipped_surrogate(log_prob, batch.old_log_prob, batch.advantages, batch.mask, config.clip_range)
        value_loss = 0.5 * masked_mean((values - batch.targets).square(), batch.mask)
        entropy = masked_mean(self.head.entropy(outputs), batch.mask)
        loss = surrogate.loss + config.vf_coef * value_loss - config.ent_coef * entropy
        self.optimizer.zero_grad()
        loss.backward()
        norm = nn.utils.clip_grad_norm_(self.network.parameters(), config.max_grad_norm)
        self.optimizer.step()
        return {
            "loss": loss.item(),
            "value_loss": value_loss.item(),
            "entropy": entropy.item(),
            "kl": surrogate.kl.item(),
            "clip_fraction": surrogate.clip_fraction.item(),
            "ratio_deviation": surrogate.ratio_deviation.item(),
            "gradient_norm": float(norm),
        }

    def _observe(self, trial: Trial) -> None:
        """Count this trial's observations and rewards in, after it was learned from: the next one is scaled by them."""
        for episodes in trial.rounds:
            observed = episodes.observations[episodes.mask].reshape(-1, self.num_observed)
            rewards = episodes.rewards[episodes.mask][:, None]
            self.input_moments.add(np.concatenate([observed, rewards], axis=1))

    def _tensors(self) -> StateDict:
        return {
            **dict(self.network.named_parameters()),
            **{f"input_moments.{name}": value for name, value in self.input_moments.tensors.items()},
            **{f"value_scale.{name}": value for name, value in self.value_scale.tensors.items()},
        }

    def state_dict(self) -> StateDict:
        """Return parameters, running statistics and optimiser state."""
        return training_state(self._tensors(), self.optimizer, dict(self.network.named_parameters()))

    def load_state_dict(self, state: StateDict) -> None:
        """Restore what `state_dict` gave. Raises MetarlError where names or shapes differ."""
        require_same_shapes(self.state_dict(), state)
        load_training_state(self._tensors(), self.optimizer, dict(self.network.named_parameters()), state)


def _flat(array: np.ndarray) -> np.ndarray:
    """Return [time, task, replica, ...] as [time, trial, ...]."""
    return array.reshape(array.shape[0], -1, *array.shape[3:])


def _take(array: np.ndarray, order: np.ndarray) -> np.ndarray:
    """Return `array` [time, task, replica, ...] reordered in time by `order` [time, task, replica]."""
    return np.take_along_axis(array, order.reshape(*order.shape, *(1,) * (array.ndim - 3)), axis=0)


def _timesteps(rounds: tuple[Episodes, ...]) -> tuple[TimeStep, np.ndarray]:
    """Return every time step of a trial along a new first axis, with what follows its last step, and where it begins.

    [time + 1, task, replica, ...]; the second is True at index 0 alone.
    """
    ends = [episodes.last_step for episodes in rounds]
    fields = {
        "previous_actions": [episodes.actions for episodes in rounds],
        "previous_rewards": [episodes.rewards for episodes in rounds],
        "previous_terminations": [episodes.terminations for episodes in rounds],
        "previous_truncations": [episodes.truncations for episodes in rounds],
    }
    shifted = {}
    for name, arrays in fields.items():
        before = [np.zeros_like(arrays[0][0]), *(getattr(end, name) for end in ends)]
        parts = [part for first, array in zip(before, arrays, strict=False) for part in (first[None], array[:-1])]
        shifted[name] = np.concatenate([*parts, before[-1][None]])
    observations = np.concatenate([*(e.observations for e in rounds), ends[-1].observations[None]])
    active = np.ones(observations.shape[:3], dtype=bool)
    first = np.zeros_like(active)
    first[0] = True
    return TimeStep(observations=observations, active=active, **shifted), first


class RL2Learner:
    """One memory for each replica of each task, kept through all rounds of a trial."""

    def __init__(self, agent: RL2, streams: Streams) -> None:
        self.agent, self.streams = agent, streams
        self.memory = agent.network.initial_state(int(np.prod(streams.shape)))
        self.begun = False

    def act(self, timestep: TimeStep, *, deterministic: bool) -> np.ndarray:
        """Advance the memory where the world is active, and return actions [task, replica, *action]."""
        agent, shape = self.agent, self.streams.shape
        with acting():
            inputs = agent.inputs(timestep, np.full(shape, not self.begun))
            self.begun = True
            following, outputs = agent.network.step(self.memory, inputs.flatten(0, 1))
            # Held still where the episode is over: a memory that ran on would tell of the neighbours' longer episodes.
            moving = torch.as_tensor(timestep.active.reshape(-1, 1), device=agent.device)
            self.memory = torch.where(moving, following, self.memory)
            outputs = outputs.unflatten(0, shape)
            if deterministic:
                return agent.head.mode(outputs)
            return agent.head.sample(outputs, self.streams.where(timestep.active))

    def adapt(self, episodes: Episodes) -> None:
        """Keep the memory: what was learned is in it."""
