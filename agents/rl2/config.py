"""Settings of RL^2."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, ClassVar, Literal, Self

from pydantic import Field, model_validator

from metarl.base.schedule import Schedule, Scheduled, ScheduledFraction, ScheduledRate
from metarl.base.settings import Count, Positive, Settings

from ..common.encoders import AutoEncoder, EncoderSettings
from ..memories.config import GRUSettings, MemorySettings
from .exploring_starts import ExploringStarts


class PPOSettings(Settings):
    """Settings of PPO over batches of whole trials (Schulman et al., 2017)."""

    learning_rate: ScheduledRate = Schedule(start=1e-3)
    """Step size of Adam; may go from `start` to `end` over a number of `updates`."""
    num_epochs: Count = 4
    """Passes over each batch of trials."""
    num_minibatches: Count = 4
    """Minibatches of whole trials in a pass."""
    num_shards: Count = 2
    """Parts of a minibatch whose gradients are computed side by side, each on a core of its own. They add up to the
    gradient of the minibatch; the number fixes the order of the sum, so a result does not depend on the machine. More
    shards than cores only slow training."""
    clip_range: Positive = 0.2
    """Range of the ratio of new to old action probability, beyond which the objective is flat."""
    ent_coef: Scheduled = Schedule(start=0.0)
    """Weight of the entropy bonus; may go from `start` to `end` over a number of `updates`."""
    vf_coef: Positive = 0.5
    """Weight of the value loss, whose targets are in normalized units."""
    max_grad_norm: Positive = 1.0
    """Norm at which the gradient is clipped."""


_OF_REWARDS = ("reads_rewards", "initial_std", "discount", "gae_lambda", "trial_end", "critic", "exploring_starts")
"""Settings that mean nothing where no reward is learned from."""


class RL2Config(Settings):
    """Settings of RL^2."""

    moved: ClassVar[Mapping[str, str]] = {
        **{key: f"ppo.{key}" for key in PPOSettings.model_fields},
        **{key: f"memory.{key}" for key in ("hidden_size", "num_layers", "num_heads", "key_size", "conv_width")},
        "infer_task": "inference_coef: 1.0 for true, 0 for false",
    }

    learns_from: Literal["rewards", "targets"] = "rewards"
    """What an update learns from: rewards, by PPO; or targets, the right answers of a family that reveals them step by
    step. The network then reads the answer that would have been right before, in place of its action and its reward,
    and a step of training lowers the error of all answers of the trials. Of `ppo`, only epochs, minibatches, shards,
    learning rate and the norm of the gradient count."""
    reads_rewards: bool = True
    """Whether the network reads the reward of the step before. False makes an agent for uses that have no reward."""
    encoder: EncoderSettings = AutoEncoder()
    """How observations become numbers, by its name or with its settings: `auto` takes convolutions for images and
    one-hot vectors for discrete parts, `vector` flattens everything, `pixels` takes every box of rank 2 or 3 for an
    image."""
    memory: MemorySettings = GRUSettings()
    """Memory of the policy, by its name or with its settings."""
    initial_std: Positive = 0.6
    """Standard deviation of the first policy's actions, in half-ranges of the action space."""
    ppo: PPOSettings = PPOSettings()
    """How the network is trained."""
    bptt_steps: Count | None = None
    """Steps after which back-propagation through time is cut; it goes on from the stored memory. None never cuts: the
    gradient runs through the whole trial."""
    discount: ScheduledFraction = Schedule(start=0.99)
    """Discount of rewards over the trial, gamma; may go from `start` to `end` over a number of `updates`. A low one
    learns sooner (Francois-Lavet et al., 2015); 1, with trial_end: termination, is what evaluation measures."""
    gae_lambda: ScheduledFraction = Schedule(start=0.95)
    """Lambda of generalized advantage estimation over the trial; may go from `start` to `end` over a number of
    `updates`."""
    trial_end: Literal["truncation", "termination"] = "truncation"
    """How the time limit of a trial's last episode counts. A truncation bootstraps from the value of the final
    observation; a termination does not: the trial is all there is, as in the paper."""
    critic: Literal["memory", "informed"] = "memory"
    """Input of the value function: the memory, as in the paper, or the memory and the parameters of the task, which
    training knows and evaluation does not need. An informed critic credits at once the action that finds something out
    (Pinto et al., 2018); it sees the memory too, so the policy's gradient has no more bias than with any critic
    (Baisero and Amato, 2022)."""
    inference_coef: Annotated[float, Field(ge=0)] = 0.0
    """Train the memory to predict the task's parameters as well, by an auxiliary loss of this weight (Humplik et al.,
    2019): what was seen is then kept before it pays. The loss is the mean squared error, in units of each parameter's
    spread over training tasks. 0 leaves it out."""
    exploring_starts: ExploringStarts = ExploringStarts()
    """How trials of training begin. Trials of an evaluation never begin so."""
    normalize_inputs: bool = True
    """Shift and scale observations and rewards by the moments of those seen in training."""
    dtype: Literal["float32", "float64"] = "float32"
    """Floating-point type of the network."""

    @model_validator(mode="after")
    def _learns_from_one(self) -> Self:
        if self.learns_from == "targets":
            of_ppo = {f"ppo.{name}": self.ppo for name in ("clip_range", "ent_coef", "vf_coef")}
            own: dict[str, Settings] = dict.fromkeys(_OF_REWARDS, self)
            for key, holder in (own | of_ppo).items():
                name = key.rpartition(".")[2]
                if (value := getattr(holder, name)) != type(holder).model_fields[name].default:
                    raise ValueError(
                        f"{key} is {value}, but learns_from is 'targets', which has no use for it; leave it out"
                    )
        return self
