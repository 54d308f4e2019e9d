"""Built-in task families. Importing this package registers them; a new family is one file and one line here."""

from . import bernoulli_bandit, half_cheetah, navigation_2d, point_sparse

__all__ = ["bernoulli_bandit", "half_cheetah", "navigation_2d", "point_sparse"]
