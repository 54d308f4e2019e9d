"""RecurrentPPO of sb3-contrib as an agent: RL^2 by an independent library."""

from __future__ import annotations

import operator
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, cast

import numpy as np
import torch
from gymnasium import spaces
from pydantic import Field
from torch import Tensor

from metarl.base.settings import Depth, Settings, Width
from metarl.base.streams import Streams
from metarl.base.threads import acting, cpu_by_default, one_thread
from metarl.families.layout import map_arrays
from metarl.families.spaces import ActionSpace
from metarl.trials.agent import Learner, TrainableAgent
from metarl.trials.episodes import TimeStep, Trial
from metarl.trials.registered import register_agent

from ..common.heads import action_head
from ..common.isolation import own_torch
from ..common.sequences import Sequences, sequences
from ..common.state import StateDict, restore_on_error
from .common import (
    Spaces,
    count_from_zero,
    draw_actions,
    explain_bad_outputs,
    load_policy_state,
    new_model,
    policy_state,
    require_finite,
    told_outputs,
    train_on,
)
from .inputs import Arrays, Inputs, as_tensors, fill
from .own import RecurrentMinibatches, own_policy
from .ppo import SB3PPOSettings

if TYPE_CHECKING:
    from sb3_contrib import RecurrentPPO
    from sb3_contrib.common.recurrent.buffers import RecurrentRolloutBuffer
    from stable_baselines3.common.torch_layers import CombinedExtractor

_MEMORIES = ("hidden_states_pi", "cell_states_pi", "hidden_states_vf", "cell_states_vf")
"""Arrays of sb3-contrib's buffer: the memories of policy and critic before each step."""


class SB3RecurrentPPOConfig(SB3PPOSettings):
    """Settings of sb3-contrib's RecurrentPPO, under its names and with its defaults."""

    batch_size: Annotated[int, Field(ge=2, strict=True)] = 128
    """Steps of a minibatch, in order of time. A trial cut between two minibatches goes on from its memory there."""
    lstm_hidden_size: Width = 256
    """Units of each of the two LSTMs, of the policy and of the critic."""
    n_lstm_layers: Depth = 1
    """Layers of each LSTM."""


@register_agent("sb3-recurrent-ppo")
class SB3RecurrentPPO(TrainableAgent):
    """Adapts by its memory: an LSTM over actions, rewards and episode ends, trained by sb3-contrib's RecurrentPPO.

    metarl plays the episodes, and hands a whole trial to the library as one episode. Policy, advantages and update are
    the library's own code. All random numbers come from the run's seed.
    """

    Config: ClassVar[type[Settings]] = SB3RecurrentPPOConfig
    requires: ClassVar[str] = "sb3_contrib"
    pools_replicas = False

    def __init__(self, config: SB3RecurrentPPOConfig, family: Spaces, *, seed: int, device: str) -> None:
        self.action_space = family.action_space
        self.inputs = Inputs(family.observation_space, _count_features(self.action_space) + 3)
        with one_thread(), own_torch(seed):
            self.model = _new_model(config, self.inputs, self.action_space, device)

    @property
    def policy(self) -> Any:
        """The library's policy, with an LSTM for actions and one for values."""
        return self.model.policy

    def begin(self, streams: Streams) -> SB3RecurrentLearner:
        """Return a learner with an empty memory in every replica of every task."""
        return SB3RecurrentLearner(self, streams)

    def told(self, timestep: TimeStep, first: np.ndarray) -> np.ndarray:
        """Return what the policy sees beside the observation of a time step with any leading axes [...], [..., number].

        It is the previous action (clipped to its space, or one-hot), the previous reward, and two flags: whether the
        previous step terminated or truncated an episode. All are zero where `first` [...] marks the first step of a
        trial.
        """
        space, before = self.action_space, timestep.previous_actions
        if isinstance(space, spaces.Box):
            actions = np.clip(before, space.low, space.high).reshape(*first.shape, -1)
        else:
            actions = action_head(space).features(before)
        ends = (timestep.previous_rewards, timestep.previous_terminations, timestep.previous_truncations)
        return np.concatenate([actions, np.stack(ends, axis=-1)], axis=-1) * ~first[..., None]

    def memory(self, num_trials: int) -> tuple[Tensor, Tensor]:
        """Return an empty memory of one LSTM, [layer, trial, unit] twice."""
        lstm = self.policy.lstm_actor
        empty = torch.zeros(
            lstm.num_layers, num_trials, lstm.hidden_size, dtype=torch.float32, device=self.model.device
        )
        return empty, empty

    def buffer(self, trial: Trial) -> RecurrentRolloutBuffer:
        """Return a full buffer of the steps of trials, one trial after the other, with the library's advantages.

        Values bootstrap through the end of an episode inside a trial, as the memory does. As in sb3-contrib, the last
        reward of a trial that ends by truncation includes the discounted value of what follows.
        """
        trials = sequences(trial)
        observations, values, log_prob, memories = self._read(trials)
        mask, ends = trials.mask.T, trials.mask.sum(axis=0)
        places = np.arange(len(ends))
        rewards = trials.rewards.copy()
        rewards[ends - 1, places] += self.model.gamma * np.where(trials.terminated, 0.0, values[ends, places])

        def select_steps(array: np.ndarray) -> np.ndarray:
            """Return the rows of `array` [time, trial, ...] where a step was taken, [step, ...]."""
            return np.asarray(array.swapaxes(0, 1)[mask])

        model, count = self.model, int(mask.sum())
        lstm, space = self.policy.lstm_actor, model.observation_space
        shape = (count, lstm.num_layers, 1, lstm.hidden_size)
        made = cast("type[RecurrentRolloutBuffer]", type(model.rollout_buffer))(
            count, space, model.action_space, shape, model.device, model.gae_lambda, model.gamma
        )
        fill(made.observations, map_arrays(lambda part: select_steps(part[:-1]), observations))
        # In place of the buffer's own, whose bytes of MultiBinary actions sb3-contrib's distribution does not take.
        made.actions = count_from_zero(self.action_space, select_steps(trials.actions)).reshape(count, 1, -1)
        made.rewards[:, 0], made.values[:, 0], made.log_probs[:, 0] = map(
            select_steps, (rewards, values[:-1], log_prob)
        )
        made.episode_starts[:, 0] = np.broadcast_to(np.arange(mask.shape[1]) == 0, mask.shape)[mask]
        for name, memory in zip(_MEMORIES, memories, strict=True):
            getattr(made, name)[:, :, 0] = select_steps(memory)
        made.pos, made.full = count, True
        made.compute_returns_and_advantage(torch.zeros(1, dtype=torch.float32), np.ones(1))
        return made

    def _read(self, trials: Sequences) -> tuple[Arrays, np.ndarray, np.ndarray, list[np.ndarray]]:
        """Return inputs [time + 1, trial, ...], values [time + 1, trial], log-probabilities [time, trial] and memories.

        The memories are those before each step, in the order of `_MEMORIES`, [time, trial, layer, unit].
        """
        from sb3_contrib.common.recurrent.type_aliases import RNNStates

        first = np.zeros(trials.timesteps.previous_rewards.shape, dtype=bool)
        first[0] = True
        arrays = self.inputs.arrays(trials.timesteps.observations, self.told(trials.timesteps, first))
        observations = map_arrays(lambda part: part.reshape(*first.shape, *part.shape[1:]), arrays)
        time, num_trials = trials.mask.shape
        index = count_from_zero(self.action_space, trials.actions.reshape(time * num_trials, *trials.actions.shape[2:]))
        actions = torch.as_tensor(index, device=self.model.device).unflatten(0, (time, num_trials))
        states = RNNStates(self.memory(num_trials), self.memory(num_trials))
        going_on = torch.zeros(num_trials, dtype=torch.float32, device=self.model.device)
        values, log_prob, memories = [], [], []
        with torch.no_grad():
            for t in range(time + 1):
                seen = as_tensors(map_arrays(operator.itemgetter(t), observations), self.model.device)
                if t < time:
                    memories.append([part.swapaxes(0, 1).cpu().numpy() for state in states for part in state])
                    log_prob.append(self.policy.evaluate_actions(seen, actions[t], states, going_on)[1])
                # Its actions are not used; deterministic ones draw no random numbers.
                _, value, _, states = self.policy(seen, states, going_on, deterministic=True)
                values.append(value.flatten())
        all_values, all_log_prob = torch.stack(values), torch.stack(log_prob)
        taken = torch.as_tensor(trials.mask, device=all_values.device)
        require_finite(all_values[:-1][taken], all_log_prob[taken])
        parts = [np.stack(part) for part in zip(*memories, strict=True)]
        return observations, all_values.cpu().numpy(), all_log_prob.cpu().numpy(), parts

    def update(self, trial: Trial, rng: np.random.Generator) -> dict[str, float]:
        """Make one update: `RecurrentPPO.train` on the trials.

        Raises MetarlError where numbers stop being finite, and leaves the agent as it was.
        """
        with restore_on_error(self.state_dict, self.load_state_dict):
            with one_thread(), explain_bad_outputs():
                metrics = train_on(self.model, RecurrentMinibatches(self.buffer(trial), rng))
            # Each loss is from before its step, so that the effect of the last step shows only in the policy.
            require_finite(*self.policy.state_dict().values())
            return metrics

    @cpu_by_default()
    def state_dict(self) -> StateDict:
        """Return parameters and optimiser state."""
        return policy_state(self.policy)

    @cpu_by_default()
    def load_state_dict(self, state: StateDict) -> None:
        """Restore a state. Raises MetarlError where names or shapes differ."""
        load_policy_state(self.policy, state)


class SB3RecurrentLearner(Learner):
    """Keeps a memory for each replica of each task through all rounds of a trial."""

    def __init__(self, agent: SB3RecurrentPPO, streams: Streams) -> None:
        self.agent, self.streams = agent, streams
        self.policy = own_policy(agent.policy)
        self.memory = agent.memory(int(np.prod(streams.shape)))
        self.begun = False

    def act(self, timestep: TimeStep, *, deterministic: bool) -> np.ndarray:
        """Advance the memory where the world is active, and return actions [task, replica, *action]."""
        agent, shape = self.agent, self.streams.shape
        device = agent.model.device
        with acting(), explain_bad_outputs():
            told = agent.told(timestep, np.full(shape, not self.begun))
            self.begun = True
            seen = agent.inputs.tensors(device, timestep.observations, told)
            going_on = torch.zeros(timestep.active.size, dtype=torch.float32, device=device)
            chances, memory = self.policy.get_distribution(seen, self.memory, going_on)
            # A memory that moved after its episode would depend on the length of the neighbours' episodes.
            moving = torch.as_tensor(timestep.active.reshape(1, -1, 1), device=device)
            hidden, cell = (torch.where(moving, *pair) for pair in zip(memory, self.memory, strict=True))
            self.memory = hidden, cell
            streams = self.streams.where(timestep.active)
            self.outputs = told_outputs([chances.distribution], agent.action_space, streams.shape)
            return draw_actions([chances.distribution], agent.action_space, streams, deterministic=deterministic)


def _count_features(space: ActionSpace) -> int:
    """Return how many numbers tell of an action."""
    return int(np.prod(space.shape)) if isinstance(space, spaces.Box) else action_head(space).num_features


def _new_model(config: SB3RecurrentPPOConfig, inputs: Inputs, action_space: ActionSpace, device: str) -> RecurrentPPO:
    from sb3_contrib import RecurrentPPO

    settings = config.model_dump()
    sizes = list(settings.pop("hidden_sizes"))
    names = ("log_std_init", "lstm_hidden_size", "n_lstm_layers")
    combined = {"features_extractor_class": _combine} if inputs.kind == "MultiInput" else {}
    return new_model(
        RecurrentPPO,
        f"{inputs.kind}LstmPolicy",
        inputs,
        action_space,
        device=device,
        n_steps=2,  # steps of the library's own buffer, which is never used
        policy_kwargs={
            "net_arch": {"pi": sizes, "vf": sizes},
            **combined,
            **{name: settings.pop(name) for name in names},
        },
        **settings,
    )


def _combine(space: spaces.Dict) -> CombinedExtractor:
    """Return the extractor of `MultiInputLstmPolicy` for observations of several parts."""
    from stable_baselines3.common.torch_layers import CombinedExtractor

    made = CombinedExtractor(space)
    # With a MultiDiscrete part the library counts features in a number of NumPy, which torch's LSTM does not take.
    made._features_dim = int(made.features_dim)
    return made
