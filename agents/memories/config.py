"""Settings of each memory: what it is made of, told apart by name."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from metarl.base.settings import Depth, Settings, Width


class _Layers(Settings):
    """Settings of every memory."""

    name: str
    hidden_size: Width = 128
    """Units of each layer."""
    num_layers: Depth = 1
    """Layers."""


class GRUSettings(_Layers):
    """A gated recurrent unit (Cho et al., 2014), as in the paper of RL^2."""

    name: Literal["gru"] = "gru"


class LSTMSettings(_Layers):
    """Long short-term memory (Hochreiter and Schmidhuber, 1997)."""

    name: Literal["lstm"] = "lstm"


class TransformerSettings(_Layers):
    """A causal Transformer over the trial, with rotary positions."""

    name: Literal["transformer"] = "transformer"
    num_heads: Width = 4
    """Attention heads of each layer."""

    @model_validator(mode="after")
    def _splits_evenly(self) -> Self:
        if self.hidden_size % (2 * self.num_heads):
            raise ValueError(
                f"hidden_size is {self.hidden_size}: each of {self.num_heads} heads needs an even number of units; "
                f"take a multiple of {2 * self.num_heads}"
            )
        return self


class LinearSettings(_Layers):
    """A gated linear recurrence, whose update is a parallel scan over time."""

    name: Literal["linear"] = "linear"
    conv_width: Width = 4
    """Steps that the convolution of each layer sees; 1 leaves the convolution out."""


class AssociativeSettings(_Layers):
    """Linear attention that recalls the mean of what was stored under a key."""

    name: Literal["associative"] = "associative"
    num_heads: Width = 4
    """Heads of each layer."""
    key_size: Width = 32
    """Size of the keys of each head."""
    conv_width: Width = 4
    """Steps that the convolution of each layer sees; 1 leaves the convolution out."""

    @model_validator(mode="after")
    def _splits_evenly(self) -> Self:
        if self.hidden_size % self.num_heads:
            raise ValueError(
                f"hidden_size is {self.hidden_size}: {self.num_heads} heads share the units evenly; take a multiple of "
                f"{self.num_heads}"
            )
        return self


class NoMemorySettings(_Layers):
    """No memory: a policy that sees the present step alone, and in it the last action and reward."""

    name: Literal["none"] = "none"


MemorySettings = Annotated[
    GRUSettings | LSTMSettings | TransformerSettings | LinearSettings | AssociativeSettings | NoMemorySettings,
    Field(discriminator="name"),
]
"""Settings of one memory; its name alone takes the defaults."""
