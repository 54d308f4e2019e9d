"""Built-in agents. Importing this package registers them; a new agent is one file and one line here."""

from . import (
    bandit_references,
    gridnavi_references,
    maml_presets,
    mdp_references,
    oracles,
    random,
    rl2,
    sb3,
    sb3_oracle,
    sb3_recurrent,
    sb3_sac,
)

__all__ = [
    "bandit_references",
    "gridnavi_references",
    "maml_presets",
    "mdp_references",
    "oracles",
    "random",
    "rl2",
    "sb3",
    "sb3_oracle",
    "sb3_recurrent",
    "sb3_sac",
]
