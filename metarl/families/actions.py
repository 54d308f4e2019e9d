"""Whether a batch of actions is one that a space holds, and what stands in for the actions of worlds that wait."""

from __future__ import annotations

from typing import Any

import numpy as np
from gymnasium import spaces

from .doors import find_infinite
from .spaces import limits

_SIGNED, _UNSIGNED = np.dtype(np.int64), np.dtype(np.uint64)


class ActionRange:
    """The actions that worlds take: of a box all finite ones, as the rollout clips them; of other spaces those inside.

    Actions are checked at every step, so the common cases are quick.
    """

    def __init__(self, space: spaces.Space[Any]) -> None:
        self.space = space
        self.dtype: np.dtype[Any] = np.dtype(space.dtype)
        self.low, self.high = limits(space)
        self._is_box = isinstance(space, spaces.Box)
        # Read as unsigned, numbers below zero are beyond every `high`: one comparison instead of two.
        self._top = None if self._is_box or self.low.any() else self.high.astype(_UNSIGNED)

    def can_store(self, actions: np.ndarray) -> bool:
        """Return whether the type of `actions` can become the space's. Fractions cannot become whole numbers."""
        return actions.dtype == self.dtype or np.can_cast(actions.dtype, self.dtype, "same_kind")

    def holds(self, actions: np.ndarray) -> bool:
        """Return whether all `actions`, [..., *action], are in the range."""
        if self._is_box:
            return find_infinite(actions) is None
        if self._top is not None and actions.dtype == _SIGNED:
            return not np.count_nonzero(actions.view(_UNSIGNED) > self._top)
        return not np.count_nonzero(self._outside(actions))

    def first_outside(self, actions: np.ndarray) -> np.ndarray | None:
        """Return the first of `actions`, [n, *action], that is not in the range; None where all are."""
        outside = ~np.isfinite(actions) if self._is_box else self._outside(actions)
        rows = outside.any(axis=tuple(range(1, outside.ndim)))
        return np.asarray(actions[rows.argmax()]) if rows.any() else None

    def _outside(self, actions: np.ndarray) -> np.ndarray:
        return np.asarray((actions < self.low) | (actions > self.high))

    def store(self, actions: np.ndarray) -> np.ndarray:
        """Return whole numbers in the space's type: an array of bools would index as a mask.

        Actions of a box keep their type, as rounding them here would move results.
        """
        return actions if self._is_box else actions.astype(self.dtype, copy=False)

    def settle(self, actions: np.ndarray, where: np.ndarray) -> np.ndarray:
        """Return `actions`, [*shape, *action], with the lowest one of the space outside `where`, bool [*shape].

        Nothing depends on the actions of worlds that wait, but families compute with them, and episodes keep them.
        """
        settled = np.empty_like(actions)
        settled[...] = self.low
        settled[where] = actions[where]
        return settled


def are_whole(actions: np.ndarray) -> bool:
    """Return whether all are floats without a fraction, as stable-baselines3 gives for MultiBinary."""
    return actions.dtype.kind == "f" and bool((actions == np.trunc(actions)).all())
