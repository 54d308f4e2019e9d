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
from metarl.trials.agent import Learner, TrainableAgent
from metarl.trials.episodes import Episodes, TimeStep, Trial, select_tasks
from metarl.trials.registered import register_agent

from ..common.isolation import own_torch
from ..common.state import StateDict, restore_on_error
from .common import (
    Spaces,
    channels_first,
    count_from_zero,
    draw_actions,
    explain_bad_outputs,
    is_image,
    list_steps,
    load_policy_state,
    new_model,
    plain_actions,
    policy_for,
    policy_state,
    require_finite,
    train_on,
)
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

    def __init__(self, config: SB3PPOConfig, family: Spaces, *, seed: int, device: str) -> None:
        self.config = config
        with one_thread(), own_torch(seed):
            self.model = _new_model(config, family, device)
        self.pools_replicas = config.adapts
        self.action_space = plain_actions(family.action_space)
        self.sees_images = is_image(family.observation_space)

    def begin(self, streams: Streams) -> SB3Learner:
        """Return a learner that plays the agent's policy."""
        return SB3Learner(self, streams)

    def observations(self, array: np.ndarray) -> Tensor:
        """Return observations [..., *observation] as input of the library's policies, [n, *observation]."""
        return self.model.policy.obs_to_tensor(self._laid_out(array))[0]  # type: ignore[return-value]

    def _laid_out(self, array: np.ndarray) -> np.ndarray:
        """Return observations as the library lays them out, [n, *observation]."""
        shown = channels_first(array) if self.sees_images else array
        return shown.reshape(-1, *self.model.observation_space.shape)  # type: ignore[misc]

    def buffer(self, rounds: Sequence[Episodes], model: PPO) -> RolloutBuffer:
        """Return a full buffer of the steps of episodes, one episode after the other, with advantages by `model`.

        As in stable-baselines3, the last reward of a truncated episode includes the discounted value of its final
        observation.
        """
        from stable_baselines3.common.buffers import RolloutBuffer

        played = [list_steps(episodes) for episodes in rounds]
        observations, actions, rewards, starts, ends, finals = (
            np.concatenate(parts) for parts in zip(*played, strict=True)
        )
        index = count_from_zero(self.action_space, actions)
        values, log_prob = self._evaluate(model, self._laid_out(observations), index)
        with torch.no_grad():
            after = model.policy.predict_values(self.observations(finals)).flatten()
        rewards = rewards.astype(np.float64)
        rewards[np.flatnonzero(ends >= 0)] += model.gamma * (ends[ends >= 0] * after.double().cpu().numpy())
        made = RolloutBuffer(
            len(rewards), model.observation_space, model.action_space, model.device, model.gae_lambda, model.gamma
        )
        made.observations[:] = self._laid_out(observations)[:, None]
        made.actions[:] = index.reshape(len(index), 1, -1)
        made.rewards[:, 0], made.episode_starts[:, 0] = rewards, starts
        made.values[:, 0], made.log_probs[:, 0] = values.flatten().cpu().numpy(), log_prob.cpu().numpy()
        made.pos, made.full = len(rewards), True
        made.compute_returns_and_advantage(torch.zeros(1, dtype=torch.float32), np.ones(1))
        return made

    def _evaluate(self, model: PPO, observations: np.ndarray, index: np.ndarray) -> tuple[Tensor, Tensor]:
        """Return values and log-probabilities of steps under `model`. Raises MetarlError where one is not finite."""
        with torch.no_grad():
            values, log_prob, _ = model.policy.evaluate_actions(
                model.policy.obs_to_tensor(observations)[0],
                torch.as_tensor(index, device=model.device),
            )
        require_finite(values, log_prob)
        return values, log_prob

    def update(self, trial: Trial, rng: np.random.Generator) -> dict[str, float]:
        """Make one update: `PPO.train` on the episodes of a trial, or of its first round if the agent adapts.

        Later rounds are then an adapted policy's. Raises MetarlError where numbers stop being finite, and leaves the
        agent as it was.
        """
        with restore_on_error(self):
            return self.train(self.model, trial.rounds[:1] if self.config.adapts else trial.rounds, rng)

    def train(self, model: PPO, rounds: Sequence[Episodes], rng: np.random.Generator) -> dict[str, float]:
        """Train `model` on episodes that it played, and return its metrics.

        Raises MetarlError where a loss or an output of the trained policy is not finite.
        """
        with one_thread(), explain_bad_outputs():
            made = self.buffer(rounds, model)
            metrics = train_on(model, Minibatches(made, rng))
            # Each loss is from before its step, so that the effect of the last step shows only in the policy.
            discrete = isinstance(self.action_space, spaces.Discrete)
            self._evaluate(model, made.observations, made.actions[:, 0] if discrete else made.actions)
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

    def __init__(self, agent: SB3PPO, streams: Streams) -> None:
        self.agent, self.streams = agent, streams
        self.policy = own_policy(agent.model.policy)
        self.models: list[PPO] = []
        """A fine-tuned copy for each task; empty before the first adaptation."""

    def act(self, timestep: TimeStep, *, deterministic: bool) -> np.ndarray:
        """Return actions [task, replica, *action]."""
        streams = self.streams.where(timestep.active)
        with acting(), explain_bad_outputs():
            chances = self._chances(timestep.observations)
            return draw_actions(chances, self.agent.action_space, streams, deterministic=deterministic)

    def _chances(self, observations: np.ndarray) -> list[Any]:
        """Return torch's distributions of actions: one of all tasks, or one for each task."""
        policies = [cast(Any, model.policy) for model in self.models] or [self.policy]
        seen = observations if self.models else [observations]
        return [
            policy.get_distribution(self.agent.observations(part)).distribution
            for policy, part in zip(policies, seen, strict=True)
        ]

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


def _new_model(config: SB3PPOConfig, family: Spaces, device: str) -> PPO:
    from stable_baselines3 import PPO

    settings = config.model_dump(exclude={"adapts"})
    sizes, log_std_init = list(settings.pop("hidden_sizes")), settings.pop("log_std_init")
    return new_model(
        PPO,
        *policy_for(family.observation_space),
        plain_actions(family.action_space),
        device=device,
        n_steps=2,  # steps of the library's own buffer, which is never used
        policy_kwargs={"net_arch": {"pi": sizes, "vf": sizes}, "log_std_init": log_std_init},
        **settings,
    )
