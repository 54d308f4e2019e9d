"""Makes a memory from its name."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

from torch import nn

from .associative import Associative
from .contract import Memory
from .linear_recurrence import LinearRecurrence
from .recurrent import Recurrent
from .transformer import Transformer

MemoryName = Literal["gru", "lstm", "transformer", "linear", "associative"]
"""The memories there are."""


def make_memory(
    name: MemoryName, num_inputs: int, size: int, num_layers: int, *, num_heads: int, key_size: int, conv_width: int
) -> Memory:
    """Return a memory of `num_layers` layers of `size` units, without weights of meaning yet: see `initialize`.

    `num_heads` is the Transformer's and the associative memory's, `key_size` the latter's, `conv_width` its and the linear recurrence's.
    """
    makers: dict[MemoryName, Callable[[], Memory]] = {
        "gru": lambda: Recurrent(nn.GRU(num_inputs, size, num_layers)),
        "lstm": lambda: Recurrent(nn.LSTM(num_inputs, size, num_layers)),
        "transformer": lambda: Transformer(num_inputs, size, num_layers, num_heads),
        "linear": lambda: LinearRecurrence(num_inputs, size, num_layers, conv_width),
        "associative": lambda: Associative(num_inputs, size, num_layers, num_heads, key_size, conv_width),
    }
    return makers[name]()
