"""Registered agents with smaller settings, where the default ones would take a test longest."""

from __future__ import annotations

from typing import Any

from pydantic import create_model

from metarl.base.settings import validate
from metarl.trials.agent import Agent
from metarl.trials.registered import AGENTS

ENCODER = {"encoder": {"channels": [2, 2, 2], "image_features": 8}}
PPO = {**ENCODER, "outer": {"num_epochs": 2}}
SMALLER: dict[str, dict[str, Any]] = {
    **dict.fromkeys(["anil", "cavia", "fomaml", "latent-maml", "maml-ppo", "meta-sgd", "multi-task-ppo", "promp"], PPO),
    "fine-tuned": {"fine_tuning": {"num_steps": 3}},
    "from-scratch": {"num_steps": 3},
    "in-context": {
        "network": {
            "width": 8,
            "num_heads": 2,
            "feedforward": 8,
            "encoder_layers": 1,
            "decoder_layers": 1,
            "meaning_layers": 1,
        }
    },
    "leo": {
        **ENCODER,
        "learns_from": {
            "name": "rewards",
            "outer": {"inner_lr_kind": "per-parameter", "rounds": "all", "num_epochs": 2},
        },
    },
    "maml-trpo": {**ENCODER, "outer": {"cg_iterations": 2, "line_search_steps": 3}},
    "reptile": ENCODER,
    "rl2": {**ENCODER, "memory": {"hidden_size": 16}, "ppo": {"num_epochs": 2, "num_minibatches": 2}},
    "sb3-ppo": {"n_epochs": 2},
    "sb3-ppo-oracle": {"n_epochs": 2},
    "sb3-recurrent-ppo": {"n_epochs": 2, "hidden_sizes": [16], "lstm_hidden_size": 16},
    "sb3-sac": {"gradient_steps": 4, "hidden_sizes": [32], "batch_size": 32},
    "varibad": {
        **ENCODER,
        "memory": {"hidden_size": 16},
        "belief": {"num_prefixes": 4, "num_decoded": 4, "policy_sizes": [16]},
        "ppo": {"num_epochs": 2, "num_minibatches": 2},
    },
}
"""Settings of agents by name. The rules that they keep are the same."""


def smaller(name: str) -> type[Agent]:
    """Return a registered agent's class, with smaller settings for defaults where it has some here."""
    cls, settings = AGENTS[name], SMALLER.get(name, {})
    made = validate(cls.Config, settings, where=name)
    fields: dict[str, Any] = {key: (cls.Config.model_fields[key].annotation, getattr(made, key)) for key in settings}
    return type(cls.__name__, (cls,), {"Config": create_model("Config", __base__=cls.Config, **fields)})
