"""A neural process: answers from the task's answered questions, which a network reads as a set.

Conditional neural processes (Garnelo et al., ICML 2018) average what a network makes of each answered question;
attentive ones (Kim et al., ICLR 2019) let each new question look for those that are like it. Nothing is fitted: one
pass over the set adapts. In the notation of Kim et al., without the latent path, so that answers are not sampled:

    v_i = m(z_i, y_i)                        what an answered question says; z are features, y right answers
    r   = mean_i v_i                         the set, whatever is asked
    r*  = attention(Q z*, (K z_i), (v_i))    what is like the question, by several heads
    answer = g(z*, r, r*)

A learned slot (k_0, v_0) is part of every set, so that a task without answers has an answer too.
"""

from __future__ import annotations

import math
from typing import Annotated, ClassVar, Literal, Self

import torch
from pydantic import Field, model_validator
from torch import Tensor
from torch.nn import functional as F

from metarl.base.settings import Count, Settings, Width
from metarl.trials.registered import register_agent

from ..common.over_ranks import TaskNoise
from ..common.policy import MLP, Parameters
from .head_agent import ErrorSettings, HeadAgent, within
from .support import Fitted, Support

QUERY, KEY, NOTHING = "query", "key", "nothing"
"""Names of the projections of questions and answered questions, and of the slot for no answer."""
READ, GIVE = "read.", "give."
"""Beginnings of the names of the networks m and g."""


class Attention(Settings):
    """A question looks for answered questions like it: an attentive neural process."""

    name: Literal["attention"] = "attention"
    """Attention, beside the mean."""
    num_heads: Count = 4
    """Heads of the attention; they share `value_size` evenly."""


class Mean(Settings):
    """A question sees the mean of all answered questions: a conditional neural process."""

    name: Literal["mean"] = "mean"
    """The mean alone."""


class NeuralProcessConfig(ErrorSettings):
    """Settings of a neural process."""

    value_size: Width = 64
    """Numbers that stand for one answered question."""
    pools: Annotated[Attention | Mean, Field(discriminator="name")] = Attention()
    """What a question sees of the answered ones: attention or mean, by its name or with its settings."""

    @model_validator(mode="after")
    def _fit_together(self) -> Self:
        if isinstance(self.pools, Attention) and self.value_size % self.pools.num_heads:
            raise ValueError(
                f"value_size is {self.value_size}, which {self.pools.num_heads} heads cannot share; take a multiple of "
                "pools.num_heads"
            )
        return self


class SetHead:
    """Reads the answered questions of a task as a set. Its "head" is the set itself: values, mask, and keys if any."""

    def __init__(self, config: NeuralProcessConfig, size: int, num_outputs: int) -> None:
        self.size, self.num_outputs, self.width = size, num_outputs, config.value_size
        self.heads = config.pools.num_heads if isinstance(config.pools, Attention) else 0
        wide, seen = max(self.width, num_outputs), (2 if self.heads else 1) * self.width
        self.read = MLP((size + num_outputs, wide, self.width), activation=config.activation)
        self.give = MLP((size + seen, wide, num_outputs), activation=config.activation)

    def initial_parameters(self, generator: torch.Generator) -> dict[str, Tensor]:
        """Return Glorot-uniform weights, and a slot of zeros."""
        bound = math.sqrt(6 / (self.size + self.width))
        projections = {
            name: (2 * torch.rand(self.width, self.size, generator=generator, dtype=torch.float64) - 1) * bound
            for name in ((QUERY, KEY) if self.heads else ())
        }
        read = {READ + name: value for name, value in self.read.initial_parameters(generator).items()}
        give = {GIVE + name: value for name, value in self.give.initial_parameters(generator).items()}
        slot = torch.zeros((2 if self.heads else 1) * self.width, dtype=torch.float64)
        return {**projections, **read, **give, NOTHING: slot}

    def num_held(self, known: int, asked: int) -> int:
        """Return what is read, the attention of every question to all that is known, and what is given."""
        attention = 4 * self.heads * asked * (known + 1)
        return known * (2 * self.size + 8 * self.width) + attention + asked * (2 * self.size + 10 * self.width)

    def fit(self, parameters: Parameters, support: Support, noise: TaskNoise | None) -> Fitted:
        """Return the set of each task, the slot for no answer first. [task, 1 + question, packed]"""
        values = self.read(within(parameters, READ), torch.cat([support.features, support.answers], dim=-1))
        keys = [support.features @ parameters[KEY].T] if self.heads else []
        asked = torch.cat([support.mask[..., None], values, *keys], dim=-1)
        packed = torch.cat([self.empty(parameters, len(asked)), asked], dim=1)
        return Fitted(packed, packed.new_zeros(()), {})

    def empty(self, parameters: Parameters, num_tasks: int) -> Tensor:
        """Return the set of a task without answers, [task, 1, packed]."""
        slot = torch.cat([parameters[NOTHING].new_ones(1), parameters[NOTHING]])
        return slot.expand(num_tasks, 1, -1)

    def outputs(self, parameters: Parameters, weights: Tensor, features: Tensor) -> Tensor:
        """Return outputs [task, question, num_outputs] of features [task, question, size], given sets."""
        mask, values, keys = weights.split([1, self.width, self.width if self.heads else 0], dim=-1)
        whole = (values * mask).sum(1, keepdim=True) / mask.sum(1, keepdim=True)
        parts = [features, whole.expand(-1, features.shape[1], -1)]
        if self.heads:
            asks, offers, says = (
                each.unflatten(-1, (self.heads, -1)).transpose(1, 2)
                for each in (features @ parameters[QUERY].T, keys, values)
            )
            seen = (mask[..., 0] > 0)[:, None, None, :]
            found = F.scaled_dot_product_attention(asks, offers, says, attn_mask=seen)
            parts.append(found.transpose(1, 2).flatten(-2))
        return self.give(within(parameters, GIVE), torch.cat(parts, dim=-1))


@register_agent("neural-process")
class NeuralProcess(HeadAgent):
    """Reads answered questions as a set, by attention (Garnelo et al., ICML 2018; Kim et al., ICLR 2019)."""

    Config: ClassVar[type[Settings]] = NeuralProcessConfig
    shaped_by: ClassVar[tuple[str, ...]] = ("activation", "pools")
    title = "neural-process"

    def make_head(self, size: int) -> SetHead:
        """Return what reads sets."""
        config = self.config
        assert isinstance(config, NeuralProcessConfig)
        return SetHead(config, size, self.answers.num_outputs)

    def start(self, num_tasks: int) -> Tensor:
        """Return sets without answers, [task, 1, packed_size]."""
        assert isinstance(self.head, SetHead)
        return self.head.empty(self.of_head, num_tasks).detach()
