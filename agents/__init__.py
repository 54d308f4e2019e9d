"""Built-in agents. Importing this package registers them; a new agent is one file and one line here."""

from . import maml_presets, random, rl2

__all__ = ["maml_presets", "random", "rl2"]
