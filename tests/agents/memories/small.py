"""Memories of a few units."""

from __future__ import annotations

from metarl.agents.memories.contract import Memory
from metarl.agents.memories.make import make_memory
from metarl.agents.memories.paired import Paired
from metarl.agents.rl2.config import RL2Config

from metarl.base.settings import choices

CHOICES = choices(RL2Config.model_fields["memory"])
MEMORIES = tuple(CHOICES)
"""Names of the memories."""


PAIRED = "paired "
"""Beginning of the name of a memory that sees each input beside the one before it."""


def small_memory(name: str, num_inputs: int, size: int, num_layers: int) -> Memory:
    """Return a memory whose heads, keys and convolution are as small as they can be and still differ."""
    if name.startswith(PAIRED):
        return Paired(small_memory(name.removeprefix(PAIRED), 2 * num_inputs, size, num_layers), num_inputs)
    cls = CHOICES[name]
    small = {"hidden_size": size, "num_layers": num_layers, "num_heads": 2, "key_size": 3, "conv_width": 3}
    return make_memory(cls(**{key: value for key, value in small.items() if key in cls.model_fields}), num_inputs)
