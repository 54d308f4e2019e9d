"""Where environment steps stand on an axis of a picture."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

_WIDE = 8.0
"""By how much agents' steps may differ before the fewest of them would be drawn as one point."""


@dataclass(frozen=True)
class StepAxis:
    """Steps in proportion; by logarithm where some agents spend many times what others do."""

    furthest: float
    """The most steps that an agent spends."""
    unit: float | None
    """Steps below which the axis is nearly in proportion, log(1 + steps / unit): it begins at zero. None: it is throughout."""

    def at(self, steps: np.ndarray) -> np.ndarray:
        """Return where steps stand on the axis."""
        return steps if self.unit is None else np.log10(1 + steps / self.unit)

    def ticks(self) -> tuple[np.ndarray, list[str]] | None:
        """Return where marks stand and what they say: zero and powers of ten; None where the axis is in proportion."""
        if self.unit is None:
            return None
        powers = range(math.floor(math.log10(self.unit)) + 1, math.floor(math.log10(self.furthest)) + 1)
        marks = np.array([0.0, *(10.0**power for power in powers)])
        return self.at(marks), [f"{mark:,.0f}" for mark in marks]


def step_axis(spent: Sequence[np.ndarray]) -> StepAxis:
    """Return the axis for agents that had spent so many steps before their rounds, each [round]."""
    furthest = [float(steps[-1]) for steps in spent if steps[-1] > 0]
    most = max(furthest, default=0.0)
    if not furthest or most <= _WIDE * min(furthest):
        return StepAxis(most, None)
    return StepAxis(most, min(float(steps[steps > 0].min()) for steps in spent if steps[-1] > 0))
