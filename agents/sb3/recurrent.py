"""RecurrentPPO of sb3-contrib as an agent: RL^2 by a library that others trust."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, ClassVar

import numpy as np
import torch
from gymnasium import spaces
from pydantic import Field
from torch import Tensor

from metarl.base.errors import MetarlError
from metarl.base.settings import Count, Settings
from metarl.base.streams import Streams
from metarl.base.threads import acting, one_thread
from metarl.trials.agent import Learner, TrainableAgent
from metarl.trials.episodes import TimeStep, Trial
from metarl.trials.registered import register_agent

from ..common.sequences import Sequences, sequences
from ..common.state import StateDict
from .common import (
    Spaces,
    counted_from_zero,
    drawn_actions,
    flattened,
    load_policy_state,
    policy_state,
    require_finite,
    told_in_one_line,
    torch_seeded,
    trained_on,
)
from .ppo import SB3PPOSettings

if TYPE_CHECKING:
    from sb3_contrib import RecurrentPPO
    from sb3_contrib.common.recurrent.buffers import RecurrentRolloutBuffer

_MEMORIES = ("hidden_states_pi", "cell_states_pi", "hidden_states_vf", "cell_states_vf")
"""Arrays of sb3-contrib's buffer: the memories of policy and critic before each step."""


class SB3RecurrentPPOConfig(SB3PPOSettings):
    """Settings of sb3-contrib's RecurrentPPO, under its names and with its defaults."""

    batch_size: Annotated[int, Field(ge=2, strict=True)] = 128
    """Steps of a minibatch, in order of time; a trial that is cut by its end goes on from the memory that it had there."""
    lstm_hidden_size: Count = 256
    """Units of the LSTM of the policy, and of that of the critic."""
    n_lstm_layers: Count = 1
    """Layers of each LSTM."""


@register_agent("sb3-recurrent-ppo")
class SB3RecurrentPPO(TrainableAgent):
    """Adapts by remembering: an LSTM that sees actions, rewards and episode ends, trained by sb3-contrib's RecurrentPPO.

    To the library a whole trial is one episode. Rollouts are metarl's; policy, advantages and update are the library's own
    code. Random numbers are the run's, not the process's: a run repeats.
    """

    Config: ClassVar[type[Settings]] = SB3RecurrentPPOConfig
    requires: ClassVar[str] = "sb3_contrib"
    pools_replicas = False

    def __init__(self, config: SB3RecurrentPPOConfig, family: Spaces, *, seed: int, device: str) -> None:
        self.action_space = family.action_space
        with one_thread(), torch_seeded(seed):
            self.model = _new_model(config, family, device)

    @property
    def policy(self) -> Any:
        """The library's policy, with an LSTM for actions and one for values."""
        return self.model.policy

    def begin(self, streams: Streams) -> SB3RecurrentLearner:
        """Return a learner with an empty memory in every replica of every task."""
        return SB3RecurrentLearner(self, streams)

    def inputs(self, timestep: TimeStep, first: np.ndarray) -> np.ndarray:
        """Return what the policy sees of a time step of any leading shape [...], float32 [..., d].

        Observation, action before (as the environment took it; of discrete ones one of n), reward before, and whether an episode has
        just ended by termination or truncation. `first` [...] marks the first step of a trial: there was none before.
        """
        lead, space = first.shape, self.action_space
        before = timestep.previous_actions
        if isinstance(space, spaces.Discrete):
            actions = before[..., None] == space.start + np.arange(space.n)
        else:
            actions = np.clip(before, space.low, space.high).reshape(*lead, -1)
        ends = (timestep.previous_rewards, timestep.previous_terminations, timestep.previous_truncations)
        told = np.concatenate([actions, np.stack(ends, axis=-1)], axis=-1) * ~first[..., None]
        return np.concatenate([timestep.observations.reshape(*lead, -1), told], axis=-1).astype(np.float32)

    def memory(self, num_trials: int) -> tuple[Tensor, Tensor]:
        """Return an empty memory of one LSTM, [layer, trial, unit] twice."""
        lstm = self.policy.lstm_actor
        empty = torch.zeros(lstm.num_layers, num_trials, lstm.hidden_size, device=self.model.device)
        return empty, empty

    def buffer(self, trial: Trial) -> RecurrentRolloutBuffer:
        """Return the steps of trials, one trial behind the other, with the library's advantages, returns and memories.

        An episode's end inside a trial is bootstrapped through: the memory goes on. What follows a trial that its last episode's time
        limit cut off is its last reward's, as in sb3-contrib.
        """
        from sb3_contrib.common.recurrent.buffers import RecurrentRolloutBuffer

        trials = sequences(trial)
        observations, values, log_prob, memories = self._read(trials)
        mask, ends = trials.mask.T, trials.mask.sum(axis=0)
        places = np.arange(len(ends))
        rewards = trials.rewards.copy()
        rewards[ends - 1, places] += self.model.gamma * np.where(trials.terminated, 0.0, values[ends, places])

        def taken(array: np.ndarray) -> np.ndarray:
            """Return the rows of `array` [time, trial, ...] of steps that were taken, [step, ...]."""
            return np.asarray(array.swapaxes(0, 1)[mask])

        model, count = self.model, int(mask.sum())
        lstm, space = self.policy.lstm_actor, model.observation_space
        shape = (count, lstm.num_layers, 1, lstm.hidden_size)
        made = RecurrentRolloutBuffer(
            count, space, model.action_space, shape, model.device, model.gae_lambda, model.gamma
        )
        made.observations[:] = taken(observations[:-1])[:, None]
        made.actions[:] = counted_from_zero(self.action_space, taken(trials.actions)).reshape(count, 1, -1)
        made.rewards[:, 0], made.values[:, 0], made.log_probs[:, 0] = map(taken, (rewards, values[:-1], log_prob))
        made.episode_starts[:, 0] = np.broadcast_to(np.arange(mask.shape[1]) == 0, mask.shape)[mask]
        for name, memory in zip(_MEMORIES, memories, strict=True):
            getattr(made, name)[:, :, 0] = taken(memory)
        made.pos, made.full = count, True
        made.compute_returns_and_advantage(torch.zeros(1), np.ones(1))
        return made

    def _read(self, trials: Sequences) -> tuple[np.ndarray, np.ndarray, np.ndarray, list[np.ndarray]]:
        """Return what the policy makes of trials: inputs, values, both [time + 1, trial, ...], log-probabilities [time, trial].

        Last the memories before each step, in the order of `_MEMORIES`, [time, trial, layer, unit].
        """
        from sb3_contrib.common.recurrent.type_aliases import RNNStates

        first = np.zeros(trials.timesteps.previous_rewards.shape, dtype=bool)
        first[0] = True
        observations = self.inputs(trials.timesteps, first)
        time, num_trials = trials.mask.shape
        index = counted_from_zero(
            self.action_space, trials.actions.reshape(time * num_trials, *trials.actions.shape[2:])
        )
        actions = torch.as_tensor(index, device=self.model.device).unflatten(0, (time, num_trials))
        states = RNNStates(self.memory(num_trials), self.memory(num_trials))
        going_on = torch.zeros(num_trials, device=self.model.device)
        values, log_prob, memories = [], [], []
        with torch.no_grad():
            for t in range(time + 1):
                seen = torch.as_tensor(observations[t], device=self.model.device)
                if t < time:
                    memories.append([part.swapaxes(0, 1).cpu().numpy() for state in states for part in state])
                    log_prob.append(self.policy.evaluate_actions(seen, actions[t], states, going_on)[1])
                # Its own actions are not needed, and deterministic ones draw no random numbers.
                _, value, _, states = self.policy(seen, states, going_on, deterministic=True)
                values.append(value.flatten())
        told, judged = torch.stack(values), torch.stack(log_prob)
        taken = torch.as_tensor(trials.mask, device=told.device)
        require_finite(told[:-1][taken], judged[taken])
        parts = [np.stack(part) for part in zip(*memories, strict=True)]
        return observations, told.cpu().numpy(), judged.cpu().numpy(), parts

    def update(self, trial: Trial, rng: np.random.Generator) -> dict[str, float]:
        """Make one update: `RecurrentPPO.train` on the trials.

        Raises MetarlError where it comes to numbers that are not finite, and leaves the agent as it was.
        """
        before = self.state_dict()
        try:
            with one_thread(), told_in_one_line():
                metrics = trained_on(self.model, self.buffer(trial), rng)
            # The library looks at losses before each step. What the last one has led to shows in the policy alone.
            require_finite(*self.policy.state_dict().values())
        except MetarlError:
            self.load_state_dict(before)
            raise
        return metrics

    def state_dict(self) -> StateDict:
        """Return parameters and optimiser state."""
        return policy_state(self.policy)

    def load_state_dict(self, state: StateDict) -> None:
        """Restore what `state_dict` gave. Raises MetarlError where names or shapes differ."""
        load_policy_state(self.policy, state)


class SB3RecurrentLearner(Learner):
    """One memory for each replica of each task, kept through all rounds of a trial."""

    def __init__(self, agent: SB3RecurrentPPO, streams: Streams) -> None:
        self.agent, self.streams = agent, streams
        self.memory = agent.memory(int(np.prod(streams.shape)))
        self.begun = False

    def act(self, timestep: TimeStep, *, deterministic: bool) -> np.ndarray:
        """Advance the memory where the world is active, and return actions [task, replica, *action]."""
        agent, shape = self.agent, self.streams.shape
        device = agent.model.device
        with acting(), told_in_one_line():
            inputs = agent.inputs(timestep, np.full(shape, not self.begun))
            self.begun = True
            seen = torch.as_tensor(inputs.reshape(-1, inputs.shape[-1]), device=device)
            going_on = torch.zeros(len(seen), device=device)
            chances, memory = agent.policy.get_distribution(seen, self.memory, going_on)
            # Held still where the episode is over: a memory that ran on would tell of the neighbours' longer episodes.
            moving = torch.as_tensor(timestep.active.reshape(1, -1, 1), device=device)
            hidden, cell = (torch.where(moving, *pair) for pair in zip(memory, self.memory, strict=True))
            self.memory = hidden, cell
            streams = self.streams.where(timestep.active)
            return drawn_actions([chances.distribution], agent.action_space, streams, deterministic=deterministic)


def _new_model(config: SB3RecurrentPPOConfig, family: Spaces, device: str) -> RecurrentPPO:
    from sb3_contrib import RecurrentPPO
    from stable_baselines3.common.logger import Logger

    settings, space = config.model_dump(), family.action_space
    sizes = list(settings.pop("hidden_sizes"))
    names = ("log_std_init", "lstm_hidden_size", "n_lstm_layers")
    no_environment: Any = None
    # Without an environment: rollouts come from metarl. Its own buffer, of two steps, is never used.
    model = RecurrentPPO(
        "MlpLstmPolicy",
        no_environment,
        n_steps=2,
        device=device,
        policy_kwargs={"net_arch": {"pi": sizes, "vf": sizes}, **{name: settings.pop(name) for name in names}},
        _init_setup_model=False,
        **settings,
    )
    model.action_space = spaces.Discrete(int(space.n)) if isinstance(space, spaces.Discrete) else flattened(space)
    # Beside the observation the action before, and three numbers: its reward, and whether it ended an episode, in two ways.
    num_actions = int(space.n) if isinstance(space, spaces.Discrete) else int(np.prod(space.shape))
    size = int(np.prod(family.observation_space.shape)) + num_actions + 3
    model.observation_space = spaces.Box(-np.inf, np.inf, (size,), dtype=np.float32)
    model.n_envs = 1
    model._setup_model()
    model.set_logger(Logger(None, []))
    return model
