"""Settings of VariBAD."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from metarl.base.settings import Count, Positive, Settings, Width, Widths

from ..rl2.config import RL2Config


class BeliefSettings(Settings):
    """What the belief is, how it is learned, and what acts on it."""

    size: Width = 5
    """Numbers of the latent task; the belief has a mean and a variance for each."""
    decodes: Literal["rewards", "rewards+observations"] = "rewards"
    """What is decoded of every step of the trial: its reward, or the next observation as well, where tasks differ in
    their dynamics. Observations that are images or tokens are not decoded."""
    decoder_sizes: Widths = (64, 32)
    """Units of each layer of a decoder."""
    noise: Positive = 1.0
    """Standard deviation of what is decoded, in units of its spread over training: of rewards and observations, given
    the task. A smaller one makes the decoder count for more against the prior."""
    kl_coef: Annotated[float, Field(ge=0)] = 0.1
    """Weight of the divergence of each belief from the one before it; 1 is the evidence lower bound."""
    prior: Literal["previous", "fixed"] = "previous"
    """What a belief is compared with: the belief a step before, as Bayes' rule has it, or always the standard normal
    one. The first belief is compared with the latter in both cases."""
    num_prefixes: Count | None = 32
    """Beliefs of a trial, at steps drawn at random, whose bound an update raises; None takes all of them."""
    num_decoded: Count | None = 64
    """Steps of a trial, drawn at random, that each of these beliefs decodes; None takes all of them."""
    coef: Positive = 1.0
    """Weight of minus the bound, a mean over steps, in the loss."""
    policy_sizes: Annotated[Widths, Field(min_length=1)] = (64, 64)
    """Units of each layer between observation and belief, and the heads of actions and values."""
    policy_gradient: bool = False
    """Whether the gradient of the policy and the values reaches the encoder, as in RL^2. In the paper it does not."""


class VariBADConfig(RL2Config):
    """Settings of VariBAD. Those that RL^2 has are its own; `memory` and `encoder` are those of the belief."""

    belief: BeliefSettings = BeliefSettings()
    """What the belief is, how it is learned, and what acts on it."""

    @model_validator(mode="after")
    def _fits_belief(self) -> Self:
        if self.learns_from == "targets":
            raise ValueError("learns_from is 'targets', and a belief is learned from rewards; leave it out")
        if self.bptt_steps is not None:
            raise ValueError(f"bptt_steps is {self.bptt_steps}, and a belief decodes the whole trial; leave it out")
        if self.memory.name == "none":
            raise ValueError("memory is 'none', which remembers nothing to believe; take another, such as gru")
        if not self.reads_rewards:
            raise ValueError("reads_rewards is false, and a belief is learned from rewards; leave it out")
        return self
