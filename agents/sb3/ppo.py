"""PPO of stable-baselines3 as an agent: one policy for all tasks, and fine-tuning in a new task."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, cast

import numpy as np
import torch
from gymnasium import spaces
from pydantic import Field
from torch import Tensor

from metarl.base.settings import Count, Fraction, Positive, Settings, Widths
from metarl.base.streams import Streams
from metarl.base.threads import acting, cpu_by_default, one_thread
from metarl.families.spaces import ActionSpace
from metarl.trials.agent import Learner, TrainableAgent
from metarl.trials.episodes import Episodes, TimeStep, Trial, select_tasks
from metarl.trials.registered import register_agent

from ..common.isolation import own_torch
from ..common.state import StateDict, restore_on_error
from .common import (
    Spaces,
    count_from_zero,
    draw_actions,
    explain_bad_outputs,
    list_steps,
    load_policy_state,
    new_model,
    policy_state,
    require_finite,
    select_steps,
    told_outputs,
    train_on,
)
from .inputs import Arrays, Inputs, as_tensors, fill
from .own import Minibatches, own_policy

if TYPE_CHECKING:
    from stable_baselines3 import PPO
    from stable_baselines3.common.buffers import RolloutBuffer


class SB3PPOSettings(Settings):
    """Settings of stable-baselines3's PPO, under its names and with its defaults."""

    hidden_sizes: Widths = (64, 64)
    """Units of each layer of the policy and of the value network (`net_arch`)."""
    log_std_init: float = 0.0
    """Logarithm of the first standard deviation of continuous actions, in the environment's units."""
    learning_rate: Positive = 3e-4
    """Step size of Adam."""
    n_epochs: Count = 10
    """Passes over the episodes of each update."""
    batch_size: Annotated[int, Field(ge=2, strict=True)] = 64
    """Steps of a minibatch."""
    gamma: Fraction = 0.99
    """Discount of rewards over an episode."""
    gae_lambda: Fraction = 0.95
    """Lambda of generalized advantage estimation."""
    clip_range: Positive = 0.2
    """Clip range of the ratio of new to old action probabilities."""
    ent_coef: float = 0.0
    """Weight of the entropy bonus."""
    vf_coef: Positive = 0.5
    """Weight of the value loss."""
    max_grad_norm: Positive = 0.5
    """Largest norm of a gradient; longer ones are scaled down to it."""


class SB3PPOConfig(SB3PPOSettings):
    """Settings of stable-baselines3's PPO, and of its fine-tuning in a new task."""

    adapts: bool = False
    """Whether a copy of the policy is trained in each new task, by the same update, on the episodes of each round. This
    fine-tunes a trained agent; an untrained one learns from scratch. Train with one round: an update uses no more."""


@register_agent("sb3-ppo")
class SB3PPO(TrainableAgent):
    """One policy for all tasks, trained by stable-baselines3's PPO. With `adapts`, each new task fine-tunes a copy.

    metarl plays the episodes. Policy, advantages and update are stable-baselines3's own code. All random numbers come
    from the run's seed.
    """

    Config: ClassVar[type[Settings]] = SB3PPOConfig

    def __init__(self, config: SB3PPOConfig, family: Spaces, *, seed: int, device: str, num_told: int = 0) -> None:
        self.config, self.action_space = config, family.action_space
        self.inputs = Inputs(family.observation_space, num_told)
        with one_thread(), own_torch(seed):
            self.model = _new_model(config, self.inputs, family.action_space, device)
        self.pools_replicas = config.adapts

    def begin(self, streams: Streams, told: np.ndarray | None = None) -> SB3Learner:
        """Return a learner that plays the agent's policy, and sees what it is `told` of each task, [task, number]."""
        return SB3Learner(self, streams, told)

    def buffer(self, rounds: Sequence[Episodes], model: PPO, told: np.ndarray | None = None) -> RolloutBuffer:
        """Return a full buffer of the steps of episodes, one episode after the other, with advantages by `model`.

        As in stable-baselines3, the last reward of a truncated episode includes the discounted value of its final
        observation. `told` is what the policy sees of each task, [task, number].
        """
        played = [list_steps(episodes) for episodes in rounds]
        observations, actions, rewards, starts, ends, finals = (
            np.concatenate(parts) for parts in zip(*played, strict=True)
        )
        shown, shown_last = (None, None) if told is None else _tell(rounds, told)
        seen, index = self.inputs.arrays(observations, shown), count_from_zero(self.action_space, actions)
        values, log_prob = self._evaluate(model, seen, index)
        after = self._values(model, self.inputs.arrays(finals, shown_last))
        rewards = rewards.astype(np.float64)
        rewards[np.flatnonzero(ends >= 0)] += model.gamma * (ends[ends >= 0] * after.double().cpu().numpy())
        made = type(model.rollout_buffer)(
            len(rewards), model.observation_space, model.action_space, model.device, model.gae_lambda, model.gamma
        )
        fill(made.observations, seen)
        made.actions[:] = index.reshape(len(index), 1, -1)
        made.rewards[:, 0], made.episode_starts[:, 0] = rewards, starts
        made.values[:, 0], made.log_probs[:, 0] = values.flatten().cpu().numpy(), log_prob.cpu().numpy()
        made.pos, made.full = len(rewards), True
        made.compute_returns_and_advantage(torch.zeros(1, dtype=torch.float32), np.ones(1))
        return made

    def _evaluate(self, model: PPO, seen: Arrays, index: np.ndarray) -> tuple[Tensor, Tensor]:
        """Return values and log-probabilities of steps under `model`. Raises MetarlError where one is not finite."""
        actions = torch.as_tensor(index, device=model.device)
        with torch.no_grad():
            read = [
                model.policy.evaluate_actions(as_tensors(part, model.device), actions[piece])[:2]
                for piece, part in self.inputs.pieces(seen)
            ]
        values, log_prob = (torch.cat(parts) for parts in zip(*read, strict=True))
        require_finite(values, log_prob)
        return values, log_prob

    def _values(self, model: PPO, seen: Arrays) -> Tensor:
        """Return values of observations under `model`, [n]."""
        with torch.no_grad():
            read = [model.policy.predict_values(as_tensors(part, model.device)) for _, part in self.inputs.pieces(seen)]
        return torch.cat(read).flatten()

    def update(self, trial: Trial, rng: np.random.Generator, told: np.ndarray | None = None) -> dict[str, float]:
        """Make one update: `PPO.train` on the episodes of a trial, or of its first round if the agent adapts.

        Later rounds are then an adapted policy's. `told` is what the policy saw of each task, [task, number]. Raises
        MetarlError where numbers stop being finite, and leaves the agent as it was.
        """
        with restore_on_error(self.state_dict, self.load_state_dict):
            return self.train(self.model, trial.rounds[:1] if self.config.adapts else trial.rounds, rng, told)

    def train(
        self, model: PPO, rounds: Sequence[Episodes], rng: np.random.Generator, told: np.ndarray | None = None
    ) -> dict[str, float]:
        """Train `model` on episodes that it played, and return its metrics.

        Raises MetarlError where a loss or an output of the trained policy is not finite.
        """
        with one_thread(), explain_bad_outputs():
            made = self.buffer(rounds, model, told)
            metrics = train_on(model, Minibatches(made, rng))
            # Each loss is from before its step, so that the effect of the last step shows only in the policy.
            index = made.actions[:, 0] if isinstance(self.action_space, spaces.Discrete) else made.actions
            several = isinstance(self.action_space, (spaces.MultiDiscrete, spaces.MultiBinary))
            self._evaluate(model, made.observations, index.astype(np.float32) if several else index)
        return metrics

    @cpu_by_default()
    def state_dict(self) -> StateDict:
        """Return parameters and optimiser state."""
        return policy_state(self.model.policy)

    @cpu_by_default()
    def load_state_dict(self, state: StateDict) -> None:
        """Restore a state. Raises MetarlError where names or shapes differ."""
        load_policy_state(self.model.policy, state)


class SB3Learner(Learner):
    """Plays the agent's policy or, after adapting, a copy for each task; noise comes from each world's own stream."""

    def __init__(self, agent: SB3PPO, streams: Streams, told: np.ndarray | None = None) -> None:
        self.agent, self.streams, self.told = agent, streams, told
        self.policy = own_policy(agent.model.policy)
        self.models: list[PPO] = []
        """A fine-tuned copy for each task; empty before the first adaptation."""

    def act(self, timestep: TimeStep, *, deterministic: bool) -> np.ndarray:
        """Return actions [task, replica, *action]."""
        streams = self.streams.where(timestep.active)
        with acting(), explain_bad_outputs():
            chances = self._chances(timestep.observations)
            self.outputs = told_outputs(chances, self.agent.action_space, streams.shape)
            return draw_actions(chances, self.agent.action_space, streams, deterministic=deterministic)

    def _chances(self, observations: np.ndarray) -> list[Any]:
        """Return torch's distributions of actions: one of all tasks, or one for each task."""
        inputs, device = self.agent.inputs, self.agent.model.device
        if self.models:
            policies = [cast(Any, model.policy) for model in self.models]
            pairs = zip(policies, observations, strict=True)
            return [policy.get_distribution(inputs.tensors(device, part)).distribution for policy, part in pairs]
        told = None if self.told is None else _repeat(self.told, self.streams.shape)
        return [self.policy.get_distribution(inputs.tensors(device, observations, told)).distribution]

    def adapt(self, episodes: Episodes) -> None:
        """Train each task's copy of the policy on its episodes, if the agent adapts."""
        if not self.agent.config.adapts:
            return
        num_tasks = self.streams.shape[0]
        self.models = self.models or [copy.deepcopy(self.agent.model) for _ in range(num_tasks)]
        seeds = self.streams.integers(2**53)[:, 0]
        for task, model in enumerate(self.models):
            own = select_tasks(episodes, slice(task, task + 1))
            self.agent.train(model, [own], np.random.default_rng(int(seeds[task])))


def _repeat(told: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """Return the row of each task, [task, number], in every place of [..., task, replica]. [..., number]"""
    return np.broadcast_to(told[:, None], (*shape, told.shape[-1]))


def _tell(rounds: Sequence[Episodes], told: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return what is `told` of each task, [task, number], for the steps and the episodes of `list_steps`."""
    steps = [select_steps(episodes, _repeat(told, episodes.mask.shape)) for episodes in rounds]
    finals = [np.repeat(told, episodes.lengths.shape[1], axis=0) for episodes in rounds]
    return np.concatenate(steps), np.concatenate(finals)


def _new_model(config: SB3PPOConfig, inputs: Inputs, action_space: ActionSpace, device: str) -> PPO:
    from stable_baselines3 import PPO

    settings = config.model_dump(exclude={"adapts"})
    sizes, log_std_init = list(settings.pop("hidden_sizes")), settings.pop("log_std_init")
    return new_model(
        PPO,
        inputs.policy,
        inputs,
        action_space,
        device=device,
        n_steps=2,  # steps of the library's own buffer, which is never used
        policy_kwargs={"net_arch": {"pi": sizes, "vf": sizes}, "log_std_init": log_std_init},
        **settings,
    )
