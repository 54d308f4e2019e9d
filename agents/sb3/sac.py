"""SAC of stable-baselines3 as an agent: one policy for all tasks, trained off-policy, that does not adapt."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import numpy as np
import torch
from gymnasium import spaces
from torch import Tensor

from metarl.base.errors import MetarlError
from metarl.base.settings import Count, Fraction, Positive, Settings, Widths
from metarl.base.streams import Streams
from metarl.base.terminal import one_line
from metarl.base.threads import acting, cpu_by_default, one_thread
from metarl.trials.agent import Learner, TrainableAgent
from metarl.trials.episodes import Episodes, TimeStep, Trial
from metarl.trials.registered import register_agent

from ..common.heads import require_scalable
from ..common.isolation import own_torch
from ..common.state import (
    StateDict,
    load_optimizer,
    load_tensors,
    optimizer_state,
    require_fitting,
    restore_on_error,
)
from .common import Spaces, explain_bad_outputs, new_model, select_steps
from .inputs import Inputs, fill
from .own import OwnNoise, ReplaySamples

if TYPE_CHECKING:
    from stable_baselines3 import SAC

_OBSERVATIONS = ("observations", "next_observations")
_REPLAY = (*_OBSERVATIONS, "actions", "rewards", "dones", "timeouts")
"""Arrays of stable-baselines3's replay buffer."""


class SB3SACConfig(Settings):
    """Settings of stable-baselines3's SAC, under its names. `buffer_size` and `gradient_steps` have other defaults."""

    hidden_sizes: Widths = (256, 256)
    """Units of each layer of the policy and of both critics (`net_arch`)."""
    learning_rate: Positive = 3e-4
    """Step size of Adam."""
    buffer_size: Count = 100_000
    """Steps in the replay buffer, the newest of all tasks. Every checkpoint holds them, so that a resumed run gives the
    same bits: 18 MB for HalfCheetah."""
    batch_size: Count = 256
    """Steps of a minibatch."""
    tau: Fraction = 0.005
    """Share of the way that the target critics move to the critics in each gradient step."""
    gamma: Fraction = 0.99
    """Discount of rewards over an episode."""
    gradient_steps: Count = 32
    """Gradient steps after each trial."""
    ent_coef: Literal["auto"] | Positive = "auto"
    """Weight of the entropy bonus. 'auto' learns it, for an entropy of minus the number of action dimensions."""


@register_agent("sb3-sac")
class SB3SAC(TrainableAgent):
    """One policy for all tasks, trained by stable-baselines3's SAC. It does not adapt to a new task.

    metarl plays the episodes and puts their steps into stable-baselines3's replay buffer; the library's `train` learns
    from it. Continuous actions only. All random numbers come from the run's seed.
    """

    Config: ClassVar[type[Settings]] = SB3SACConfig
    memory_setting: ClassVar[str] = "buffer_size"
    pools_replicas = False

    def __init__(self, config: SB3SACConfig, family: Spaces, *, seed: int, device: str) -> None:
        space = family.action_space
        if not isinstance(space, spaces.Box):
            raise MetarlError(f"sb3-sac plays continuous actions only, not {one_line(str(space))}; take sb3-ppo")
        require_scalable(space)
        self.config, self.action_shape = config, space.shape
        self.inputs = Inputs(family.observation_space)
        with one_thread(), own_torch(seed):
            self.model = _new_model(config, self.inputs, space, device)

    def begin(self, streams: Streams) -> SB3SACLearner:
        """Return a learner that plays the agent's policy."""
        return SB3SACLearner(self, streams)

    def update(self, trial: Trial, rng: np.random.Generator) -> dict[str, float]:
        """Add a trial's steps to the replay buffer, and take gradient steps with `SAC.train`.

        Raises MetarlError where numbers stop being finite, and leaves the agent as it was.
        """
        with restore_on_error(self.state_dict, self.load_state_dict):
            self.remember(trial.rounds)
            return self._train(rng)

    def remember(self, rounds: Sequence[Episodes]) -> None:
        """Put the steps of episodes into the replay buffer, in place of the oldest.

        A truncated step counts as a timeout: its target is bootstrapped from the final observation. Raises MetarlError
        for more steps than the buffer holds.
        """
        played = [_transitions(episodes) for episodes in rounds]
        arrays: dict[str, Any] = dict(
            zip(_REPLAY, (np.concatenate(parts) for parts in zip(*played, strict=True)), strict=True)
        )
        buffer: Any = self.model.replay_buffer
        count, size = len(arrays["rewards"]), buffer.buffer_size
        if count > size:
            raise MetarlError(
                f"agent.buffer_size is {size}, and a trial has {count} steps; take a larger one, or fewer tasks, "
                "replicas or rounds"
            )
        arrays["actions"] = np.clip(self.model.policy.scale_action(arrays["actions"].reshape(count, -1)), -1, 1)
        places = (buffer.pos + np.arange(count)) % size
        for name in _OBSERVATIONS:
            arrays[name] = self.inputs.arrays(arrays[name])
        for name, array in arrays.items():
            fill(getattr(buffer, name), array, places)
        buffer.full = buffer.full or buffer.pos + count >= size
        buffer.pos = (buffer.pos + count) % size

    def memory_estimate(self, num_tasks: int, replicas: int, rounds: int) -> int:
        """Return the bytes of a full replay buffer and its copies, for the last finished update and a checkpoint.

        The peak of a training with 330 MiB of images was measured at 4.9 times the buffer.
        """
        return 5 * sum(array.nbytes for array in self._replay().values())

    def _train(self, rng: np.random.Generator) -> dict[str, float]:
        with one_thread(), self._own_draws(rng), explain_bad_outputs():
            self.model.train(self.config.gradient_steps, self.config.batch_size)
        told = self.model.logger.name_to_value
        names = ["actor_loss", "critic_loss", "ent_coef", *(["ent_coef_loss"] if self._entropy() else [])]
        metrics = {name: float(told[f"train/{name}"]) for name in names}
        if bad := [name for name, value in metrics.items() if not math.isfinite(value)]:
            raise MetarlError(f"{bad[0]} is {metrics[bad[0]]}; take a lower agent.learning_rate")
        # Each loss is from before its step, so that the effect of the last step shows only in the networks.
        if not all(tensor.isfinite().all() for tensor in self._tensors().values()):
            raise MetarlError("the networks are not finite numbers; take a lower agent.learning_rate")
        return {**metrics, "replay_steps": float(self.model.replay_buffer.size())}  # type: ignore[union-attr]

    @contextlib.contextmanager
    def _own_draws(self, rng: np.random.Generator) -> Iterator[None]:
        """Have the library sample steps and actions from generators of the update, seeded from `rng`."""
        model: Any = self.model
        buffer, noise = model.replay_buffer, model.actor.action_dist
        model.replay_buffer = ReplaySamples(buffer, rng)
        generator = torch.Generator(model.device).manual_seed(int(rng.integers(2**63)))
        model.actor.action_dist = OwnNoise(noise, generator)
        try:
            yield
        finally:
            model.replay_buffer, model.actor.action_dist = buffer, noise

    def _entropy(self) -> dict[str, Tensor]:
        """Return the logarithm of the entropy bonus's weight by name, nothing if it is not learned."""
        weight = self.model.log_ent_coef
        return {} if weight is None else {"log_ent_coef": weight}

    def _tensors(self) -> StateDict:
        return {**self.model.policy.state_dict(), **self._entropy()}

    def _optimizers(self) -> list[tuple[Any, dict[str, Tensor]]]:
        """Return each optimiser, with its parameters by name."""
        model: Any = self.model
        networks = [
            (network.optimizer, {f"{name}.{key}": value for key, value in network.named_parameters()})
            for name, network in (("actor", model.actor), ("critic", model.critic))
        ]
        return networks + ([(model.ent_coef_optimizer, self._entropy())] if self._entropy() else [])

    def _replay(self) -> StateDict:
        """Return the replay buffer as tensors that share its memory, and its position."""
        buffer: Any = self.model.replay_buffer
        kept: StateDict = {}
        for name in _REPLAY:
            held = getattr(buffer, name)  # a dict for observations of several parts
            parts = held.items() if isinstance(held, dict) else [("", held)]
            kept |= {f"replay.{name}{key and '.' + key}": torch.from_numpy(array) for key, array in parts}
        return {**kept, "replay.pos": torch.tensor(buffer.pos), "replay.full": torch.tensor(buffer.full)}

    @cpu_by_default()
    def state_dict(self) -> StateDict:
        """Return parameters, optimiser states and the replay buffer."""
        state = {name: value.detach().clone() for name, value in {**self._tensors(), **self._replay()}.items()}
        for optimizer, parameters in self._optimizers():
            state |= optimizer_state(optimizer, parameters)
        return state

    @cpu_by_default()
    def load_state_dict(self, state: StateDict) -> None:
        """Restore a state. Raises MetarlError where names or shapes differ."""
        require_fitting(self.state_dict(), state)
        size = self.model.replay_buffer.buffer_size  # type: ignore[union-attr]
        if not 0 <= int(state["replay.pos"]) < size:
            raise MetarlError(
                f"the saved agent is damaged: 'replay.pos' is {int(state['replay.pos'])}, outside the {size} steps of "
                "the replay buffer; take another checkpoint"
            )
        load_tensors({**self._tensors(), **self._replay()}, state)
        for optimizer, parameters in self._optimizers():
            load_optimizer(optimizer, parameters, state)
        buffer: Any = self.model.replay_buffer
        buffer.pos, buffer.full = int(state["replay.pos"]), bool(state["replay.full"])


class SB3SACLearner(Learner):
    """Plays a squashed normal policy, with noise from each world's own stream."""

    def __init__(self, agent: SB3SAC, streams: Streams) -> None:
        self.agent, self.streams = agent, streams

    def act(self, timestep: TimeStep, *, deterministic: bool) -> np.ndarray:
        """Return actions [task, replica, *action] inside the action space."""
        model: Any = self.agent.model
        streams, shape = self.streams.where(timestep.active), self.streams.shape
        with acting():
            seen = self.agent.inputs.tensors(model.device, timestep.observations)
            mean, log_std, _ = model.actor.get_action_dist_params(seen)
            mean, deviations = (tensor.unflatten(0, shape).cpu().numpy() for tensor in (mean, log_std.exp()))
        actions = mean if deterministic else mean + deviations * streams.normal((mean.shape[-1],))
        if not np.isfinite(actions[timestep.active]).all():
            raise MetarlError("the policy's outputs are not finite numbers; take a lower agent.learning_rate")
        space = model.action_space
        actions = model.policy.unscale_action(np.tanh(actions)).clip(space.low, space.high)
        return np.asarray(actions.reshape(*shape, *self.agent.action_shape), dtype=space.dtype)


def _new_model(config: SB3SACConfig, inputs: Inputs, action: spaces.Box, device: str) -> SAC:
    from stable_baselines3 import SAC

    settings = config.model_dump()
    return new_model(
        SAC,
        inputs.policy,
        inputs,
        action,
        device=device,
        policy_kwargs={"net_arch": list(settings.pop("hidden_sizes"))},
        target_entropy=-float(np.prod(action.shape)),  # the library's 'auto' reads it from an environment
        **settings,
    )


def _transitions(episodes: Episodes) -> tuple[np.ndarray, ...]:
    """Return the arrays of `_REPLAY` for the steps of a round, [step, ...], one episode after the other."""
    following = np.concatenate([episodes.observations[1:], episodes.final_observations[None]])
    tasks, replicas = np.indices(episodes.lengths.shape)
    following[episodes.lengths - 1, tasks, replicas] = episodes.final_observations
    ends, cut_off = episodes.terminations | episodes.truncations, episodes.truncations & ~episodes.terminations
    told = (episodes.observations, following, episodes.actions, episodes.rewards, ends, cut_off)
    return tuple(select_steps(episodes, array) for array in told)
