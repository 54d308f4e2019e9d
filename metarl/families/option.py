"""Families that `load` wraps around another family for an option such as `switch_at`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Self

import numpy as np
from gymnasium import spaces

from .family import TaskFamily
from .outcomes import Outcome, Played
from .spaces import ActionSpace
from .task import Measure, Reveal, Values


@dataclass(frozen=True)
class OptionFamily(TaskFamily):
    """A family with one more option. It takes over everything else from its base."""

    base: TaskFamily
    """The family without the option."""

    def __post_init__(self) -> None:
        for name in ("name", "source", "requires", "pauses", "side_by_side", "shows_task", "horizon"):
            object.__setattr__(self, name, getattr(self.base, name))

    def with_horizon(self, horizon: int) -> Self:
        """Return the same family with episodes of `horizon` steps."""
        return replace(self, base=self.base.with_horizon(horizon))

    @property
    def title(self) -> str:
        """The base's title."""
        return self.base.title

    @property
    def origin(self) -> type[TaskFamily]:
        """The registered class of the base."""
        return self.base.origin

    @property
    def observation_space(self) -> spaces.Space[Any]:
        """The base's observation space."""
        return self.base.observation_space

    @property
    def action_space(self) -> ActionSpace:
        """The base's action space."""
        return self.base.action_space

    @property
    def target_space(self) -> ActionSpace | None:
        """The base's space of targets."""
        return self.base.target_space

    @property
    def measure(self) -> Measure:
        """The base's measure."""
        return self.base.measure

    @property
    def reveal(self) -> Reveal:
        """The base's rule."""
        return self.base.reveal

    @property
    def outcomes(self) -> Mapping[str, Outcome]:
        """The base's outcomes."""
        return self.base.outcomes

    def measure_round(self, values: Values, number: int, played: Played) -> Mapping[str, np.ndarray]:
        """Return the base's outcomes of a round."""
        return self.base.measure_round(values, number, played)
