"""PPO of stable-baselines3: multi-task training, and plain training on in a new task, by a library that others trust."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, cast

import numpy as np
import torch
from gymnasium import spaces
from pydantic import Field
from torch import Tensor

from metarl.base.errors import MetarlError
from metarl.base.settings import Count, Fraction, Positive, Settings
from metarl.base.streams import Streams
from metarl.base.threads import acting, one_thread
from metarl.trials.agent import Learner, TrainableAgent
from metarl.trials.episodes import Episodes, TimeStep, Trial, select_tasks
from metarl.trials.registered import register_agent

from ..common.state import StateDict
from .common import (
    Spaces,
    counted_from_zero,
    drawn_actions,
    flattened,
    load_policy_state,
    policy_state,
    require_finite,
    steps_taken,
    told_in_one_line,
    torch_seeded,
    trained_on,
)

if TYPE_CHECKING:
    from stable_baselines3 import PPO
    from stable_baselines3.common.buffers import RolloutBuffer


class SB3PPOSettings(Settings):
    """Settings of stable-baselines3's PPO, under its names and with its defaults."""

    hidden_sizes: tuple[Count, ...] = (64, 64)
    """Layers of the policy and of the value network, `net_arch`."""
    log_std_init: float = 0.0
    """Logarithm of the actions' standard deviation at the start, in the environment's units; of continuous actions only."""
    learning_rate: Positive = 3e-4
    """Step size of Adam."""
    n_epochs: Count = 10
    """Passes over each batch of episodes."""
    batch_size: Annotated[int, Field(ge=2, strict=True)] = 64
    """Steps of a minibatch."""
    gamma: Fraction = 0.99
    """Discount of rewards over an episode."""
    gae_lambda: Fraction = 0.95
    """Lambda of generalized advantage estimation."""
    clip_range: Positive = 0.2
    """How far the ratio of new to old action probability may move an objective."""
    ent_coef: float = 0.0
    """Weight of the entropy bonus."""
    vf_coef: Positive = 0.5
    """Weight of the value loss."""
    max_grad_norm: Positive = 0.5
    """Norm that the gradient is cut down to."""


class SB3PPOConfig(SB3PPOSettings):
    """The same, and whether it goes on learning in a new task."""

    adapts: bool = False
    """Whether a copy of the policy for each task is trained on, by the same update, on the episodes of each round in it: fine-tuning of a
    trained agent, learning from scratch of an untrained one. Train it with one round: later ones are not learned from."""


@register_agent("sb3-ppo")
class SB3PPO(TrainableAgent):
    """One policy for all tasks, trained by stable-baselines3's PPO; in a new task it stays as it is, or is trained on.

    Rollouts are metarl's, of as many tasks, replicas and rounds as the training's; the policy, the advantages and the update
    are stable-baselines3's own code. Random numbers are the run's, not the process's: a run repeats.
    """

    Config: ClassVar[type[Settings]] = SB3PPOConfig

    def __init__(self, config: SB3PPOConfig, family: Spaces, *, seed: int, device: str) -> None:
        self.config = config
        with one_thread(), torch_seeded(seed):
            self.model = _new_model(config, family, device)
        self.pools_replicas = config.adapts
        self.action_space = family.action_space

    def begin(self, streams: Streams) -> SB3Learner:
        """Return a learner that plays the policy."""
        return SB3Learner(self, streams)

    def observations(self, array: np.ndarray) -> Tensor:
        """Return observations [..., *observation] as stable-baselines3's policies take them, [n, *observation]."""
        flat = array.reshape(-1, *self.model.observation_space.shape)  # type: ignore[misc]
        return self.model.policy.obs_to_tensor(flat)[0]  # type: ignore[return-value]

    def buffer(self, rounds: Sequence[Episodes], model: PPO) -> RolloutBuffer:
        """Return the steps of episodes, one behind the other, with the advantages and returns that `model` gives them.

        What follows an episode that was cut off by its time limit is its last reward's, as in stable-baselines3.
        """
        from stable_baselines3.common.buffers import RolloutBuffer

        played = [steps_taken(episodes) for episodes in rounds]
        observations, actions, rewards, starts, ends, finals = (
            np.concatenate(parts) for parts in zip(*played, strict=True)
        )
        index = counted_from_zero(self.action_space, actions)
        values, log_prob = self._judged(model, observations, index)
        with torch.no_grad():
            after = model.policy.predict_values(self.observations(finals)).flatten()
        rewards = rewards.astype(np.float64)
        rewards[np.flatnonzero(ends >= 0)] += model.gamma * (ends[ends >= 0] * after.double().cpu().numpy())
        made = RolloutBuffer(
            len(rewards), model.observation_space, model.action_space, model.device, model.gae_lambda, model.gamma
        )
        made.observations[:] = observations.reshape(len(observations), 1, -1)
        made.actions[:] = index.reshape(len(index), 1, -1)
        made.rewards[:, 0], made.episode_starts[:, 0] = rewards, starts
        made.values[:, 0], made.log_probs[:, 0] = values.flatten().cpu().numpy(), log_prob.cpu().numpy()
        made.pos, made.full = len(rewards), True
        made.compute_returns_and_advantage(torch.zeros(1), np.ones(1))
        return made

    def _judged(self, model: PPO, observations: np.ndarray, index: np.ndarray) -> tuple[Tensor, Tensor]:
        """Return what `model` makes of steps: values and log-probabilities. Raises MetarlError where one is not finite."""
        with torch.no_grad():
            values, log_prob, _ = model.policy.evaluate_actions(
                self.observations(observations), torch.as_tensor(index, device=model.device)
            )
        require_finite(values, log_prob)
        return values, log_prob

    def update(self, trial: Trial, rng: np.random.Generator) -> dict[str, float]:
        """Make one update: `PPO.train` on the episodes of a trial, of its first round where later ones are an adapted policy's.

        Raises MetarlError where it comes to numbers that are not finite, and leaves the agent as it was.
        """
        before = self.state_dict()
        try:
            return self.train(self.model, trial.rounds[:1] if self.config.adapts else trial.rounds, rng)
        except MetarlError:
            self.load_state_dict(before)
            raise

    def train(self, model: PPO, rounds: Sequence[Episodes], rng: np.random.Generator) -> dict[str, float]:
        """Train `model` on episodes that it played, and return what it logs.

        Raises MetarlError where a loss, or what the policy has come to, is not a finite number.
        """
        with one_thread(), told_in_one_line():
            made = self.buffer(rounds, model)
            metrics = trained_on(model, made, rng)
            # The library looks at losses before each step. What the last one has led to shows in the policy alone.
            discrete = isinstance(self.action_space, spaces.Discrete)
            self._judged(model, made.observations, made.actions[:, 0] if discrete else made.actions)
        return metrics

    def state_dict(self) -> StateDict:
        """Return parameters and optimiser state."""
        return policy_state(self.model.policy)

    def load_state_dict(self, state: StateDict) -> None:
        """Restore what `state_dict` gave. Raises MetarlError where names or shapes differ."""
        load_policy_state(self.model.policy, state)


class SB3Learner(Learner):
    """Plays a policy of stable-baselines3, or one for each task, with random numbers of each task's own."""

    def __init__(self, agent: SB3PPO, streams: Streams) -> None:
        self.agent, self.streams = agent, streams
        self.models: list[PPO] = []
        """A copy for each task, once it has adapted."""

    def act(self, timestep: TimeStep, *, deterministic: bool) -> np.ndarray:
        """Return actions [task, replica, *action]."""
        streams = self.streams.where(timestep.active)
        with acting(), told_in_one_line():
            chances = self._chances(timestep.observations)
            return drawn_actions(chances, self.agent.action_space, streams, deterministic=deterministic)

    def _chances(self, observations: np.ndarray) -> list[Any]:
        """Return torch's distributions of actions, of all tasks at once or one for each."""
        pairs = zip(self.models, observations, strict=True) if self.models else [(self.agent.model, observations)]
        return [
            cast(Any, model.policy).get_distribution(self.agent.observations(seen)).distribution
            for model, seen in pairs
        ]

    def adapt(self, episodes: Episodes) -> None:
        """Train each task's copy of the policy on its episodes, where the agent adapts."""
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
    from stable_baselines3.common.logger import Logger

    settings = config.model_dump(exclude={"adapts"})
    sizes, log_std_init = list(settings.pop("hidden_sizes")), settings.pop("log_std_init")
    # Without an environment: rollouts come from metarl. Its own buffer, of two steps, is never used.
    model = PPO(
        "MlpPolicy",
        None,  # type: ignore[arg-type]
        n_steps=2,
        device=device,
        policy_kwargs={"net_arch": {"pi": sizes, "vf": sizes}, "log_std_init": log_std_init},
        _init_setup_model=False,
        **settings,
    )
    space = family.action_space
    model.observation_space = flattened(family.observation_space)
    model.action_space = spaces.Discrete(int(space.n)) if isinstance(space, spaces.Discrete) else flattened(space)
    model.n_envs = 1
    model._setup_model()
    model.set_logger(Logger(None, []))
    return model
