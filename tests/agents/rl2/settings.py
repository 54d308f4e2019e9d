"""Settings of RL^2 written flat, as tests want them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from metarl.agents.rl2.config import PPOSettings

OF_MEMORY = frozenset({"hidden_size", "num_layers", "num_heads", "key_size", "conv_width"})


def nest(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Return flat settings with those of the memory and of PPO in their places."""
    memory = {"name": settings.get("memory", "gru"), **{k: v for k, v in settings.items() if k in OF_MEMORY}}
    ppo = {key: value for key, value in settings.items() if key in PPOSettings.model_fields}
    rest = {key: value for key, value in settings.items() if key not in {"memory", *memory, *ppo}}
    return {**rest, "memory": memory, "ppo": ppo}
