"""The papers' algorithms by name: each is MAML with other defaults, and a config may change any of them."""

from __future__ import annotations

import copy
from typing import Any

from pydantic import create_model

from metarl.trials.registered import register_agent

from .adaptation import AdaptContext, AdaptLastLayers, AdaptLatent, AdaptNothing
from .agent import MAML
from .config import MAMLConfig
from .ppo import PPOConfig
from .reptile import ReptileConfig
from .trpo import TRPOConfig


def preset(name: str, doc: str, **defaults: Any) -> type[MAML]:
    """Register MAML under another name with other defaults, and return its class; `doc` names the paper."""
    fields: dict[str, Any] = {}
    for field, value in defaults.items():
        info = copy.copy(MAMLConfig.model_fields[field])
        info.default = value
        fields[field] = (info.annotation, info)
    words = "".join(word.capitalize() for word in name.split("-"))
    config = create_model(f"{words}Config", __base__=MAMLConfig, __doc__=MAMLConfig.__doc__, **fields)
    config(**defaults)  # refuses defaults that contradict each other
    cls = type(words, (MAML,), {"__doc__": doc, "__module__": __name__, "Config": config})
    return register_agent(name)(cls)


MAMLPPO = preset("maml-ppo", MAML.__doc__ or "")
MAMLTRPO = preset(
    "maml-trpo",
    """MAML as published: plain policy gradient inside, TRPO outside (Finn et al., ICML 2017).""",
    outer=TRPOConfig(),
    inner_objective="policy-gradient",
    gae_lambda=1.0,
)
ProMP = preset(
    "promp",
    """MAML-PPO with a penalty on how far the policies before adaptation move (Rothfuss et al., ICLR 2019).""",
    outer=PPOConfig(inner_kl_coef=5e-4),
    gae_lambda=1.0,
)
MetaSGD = preset(
    "meta-sgd",
    """MAML-PPO that learns a step size for each parameter (Li et al., 2017).""",
    outer=PPOConfig(inner_lr_kind="per-parameter"),
)
CAVIA = preset(
    "cavia",
    """Adapts only a context vector in the policy's input (Zintgraf et al., ICML 2019; PPO for its TRPO).""",
    adapts=AdaptContext(),
    inner_lr=1.0,
)
LatentMAML = preset(
    "latent-maml",
    """Adapts a latent vector that is decoded to parameters, a part of LEO (Rusu et al., ICLR 2019).""",
    adapts=AdaptLatent(),
    inner_lr=1.0,
)
ANIL = preset(
    "anil",
    """Adapts only the policy's last layer (Raghu et al., ICLR 2020; PPO for its TRPO).""",
    adapts=AdaptLastLayers(),
)
Reptile = preset(
    "reptile",
    """Moves the starting point to where tasks' adaptation ends (Nichol et al., 2018).""",
    outer=ReptileConfig(),
)
FOMAML = preset(
    "fomaml",
    """MAML-PPO that treats the inner gradient as a constant (Finn et al., ICML 2017, section 5.2).""",
    outer=PPOConfig(meta_gradient="first-order"),
)
MultiTaskPPO = preset(
    "multi-task-ppo",
    """PPO on all tasks alike, without adaptation: the baseline for agents that adapt.""",
    adapts=AdaptNothing(),
)
