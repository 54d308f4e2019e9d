"""Makes a memory from its settings."""

from __future__ import annotations

from torch import nn

from .associative import Associative
from .config import (
    AssociativeSettings,
    GRUSettings,
    LinearSettings,
    LSTMSettings,
    MemorySettings,
    NoMemorySettings,
    TransformerSettings,
)
from .contract import Memory
from .linear_recurrence import LinearRecurrence
from .memoryless import Memoryless
from .recurrent import Recurrent
from .transformer import Transformer


def make_memory(settings: MemorySettings, num_inputs: int) -> Memory:
    """Return a memory that reads `num_inputs` numbers a step; its weights mean nothing before `initialize`."""
    size, layers = settings.hidden_size, settings.num_layers
    match settings:
        case GRUSettings():
            return Recurrent(nn.GRU(num_inputs, size, layers))
        case LSTMSettings():
            return Recurrent(nn.LSTM(num_inputs, size, layers))
        case TransformerSettings():
            return Transformer(num_inputs, size, layers, settings.num_heads)
        case LinearSettings():
            return LinearRecurrence(num_inputs, size, layers, settings.conv_width)
        case NoMemorySettings():
            return Memoryless(num_inputs, size, layers)
        case AssociativeSettings():
            return Associative(num_inputs, size, layers, settings.num_heads, settings.key_size, settings.conv_width)
