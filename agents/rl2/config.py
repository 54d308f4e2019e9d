"""Settings of RL^2."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import model_validator

from metarl.base.settings import Count, Positive, Settings

from ..common.schedule import Schedule, Scheduled, ScheduledFraction, ScheduledRate
from ..memories.make import MemoryName
from .exploring_starts import ExploringStarts


class RL2Config(Settings):
    """Settings of RL^2."""

    memory: MemoryName = "gru"
    """What remembers: a GRU, as in the paper; an LSTM; a causal Transformer over the trial; a gated linear recurrence,
    whose update is a parallel scan over time; or associations, linear attention that recalls the mean of what a key was stored with."""
    hidden_size: Count = 128
    """Units of each layer of the memory."""
    num_layers: Count = 1
    """Layers of the memory."""
    num_heads: Count = 4
    """Heads of each layer, for the Transformer and the associative memory."""
    key_size: Count = 32
    """Keys of each head that things are stored under, for the associative memory."""
    conv_width: Count = 4
    """Steps that the convolution of each layer sees, for the linear recurrence and the associative memory; 1 is without one."""
    initial_std: Positive = 0.6
    """Standard deviation of the first policy's actions, in half-ranges of the action space."""
    learning_rate: ScheduledRate = Schedule(start=1e-3)
    """Step size of Adam; may go from `start` to `end` in so many `updates`."""
    num_epochs: Count = 4
    """Passes over each batch of trials."""
    num_minibatches: Count = 4
    """Minibatches of whole trials in a pass."""
    num_shards: Count = 2
    """Parts of a minibatch whose gradients are computed side by side, each on a core of its own where there are as many.
    They add up to the same gradient; in which order is a part of the config, not of the machine."""
    bptt_steps: Count | None = None
    """Steps after which back-propagation through time is cut, and goes on from the memory as it was stored; None never
    cuts: a trial is learned from as a whole."""
    clip_range: Positive = 0.2
    """How far the ratio of new to old action probability may move an objective."""
    ent_coef: Scheduled = Schedule(start=0.0)
    """Weight of the entropy bonus; may go from `start` to `end` in so many `updates`."""
    vf_coef: Positive = 0.5
    """Weight of the value loss, whose targets are in normalized units."""
    max_grad_norm: Positive = 1.0
    """Norm that the gradient is cut down to."""
    discount: ScheduledFraction = Schedule(start=0.99)
    """Discount of rewards over the trial, gamma; may go from `start` to `end` in so many `updates`. A low one is learned
    from sooner (Francois-Lavet et al., 2015); 1, with trial_end: termination, is what evaluation measures."""
    gae_lambda: ScheduledFraction = Schedule(start=0.95)
    """Lambda of generalized advantage estimation over the trial; may go from `start` to `end` in so many `updates`."""
    trial_end: Literal["truncation", "termination"] = "truncation"
    """What the time limit of a trial's last episode is: a truncation, behind which what was learned goes on to be worth
    something, or a termination: the trial is all there is, as in the paper."""
    critic: Literal["memory", "informed"] = "memory"
    """What values are made of: the memory, as in the paper, or the memory and the parameters of the task, which training
    knows and evaluation need not: an informed critic can credit at once what an action finds out (Pinto et al., 2018). As
    it sees the memory too, it biases the policy's gradient no more than any critic (Baisero and Amato, 2022)."""
    infer_task: bool = False
    """Whether what the memory holds is also to tell the parameters of the task, which training knows and evaluation need not: an
    auxiliary loss, so that what was seen is kept before it pays (Humplik et al., 2019)."""
    inference_coef: Positive = 1.0
    """Weight of that loss: the mean square of what is inferred wrongly, in units of each parameter's spread over training tasks."""
    exploring_starts: ExploringStarts = ExploringStarts()
    """How trials of training begin; an evaluation's never begin so."""
    normalize_inputs: bool = True
    """Whether observations and rewards are shifted and scaled by the moments of those trained on, for the network's eyes."""
    dtype: Literal["float32", "float64"] = "float32"
    """Floating-point type of the network."""

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        if self.memory == "transformer" and self.hidden_size % (2 * self.num_heads):
            raise ValueError(
                f"hidden_size is {self.hidden_size}: of each of {self.num_heads} heads of a transformer it must be an even "
                f"part; take a multiple of {2 * self.num_heads}"
            )
        if self.memory == "associative" and self.hidden_size % self.num_heads:
            raise ValueError(
                f"hidden_size is {self.hidden_size}: {self.num_heads} heads of an associative memory share it evenly; take a "
                f"multiple of {self.num_heads}"
            )
        return self
