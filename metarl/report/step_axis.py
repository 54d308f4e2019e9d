"""The axis of environment steps in a plot, linear or logarithmic."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

_WIDE = 8.0
"""Ratio of two agents' steps up to which the axis is linear. Beyond it the shorter curve would look like a point."""


@dataclass(frozen=True)
class StepAxis:
    """A linear axis, or a logarithmic one where some agents spend many times the steps of others."""

    furthest: float
    """Most steps that an agent has spent before a round."""
    unit: float | None
    """Unit of the logarithm, log(1 + steps / unit), which begins at zero; None for a linear axis."""

    def place(self, steps: np.ndarray) -> np.ndarray:
        """Return the places of steps on the axis."""
        return steps if self.unit is None else np.log10(1 + steps / self.unit)

    def ticks(self) -> tuple[np.ndarray, list[str]] | None:
        """Return places and labels of the ticks, zero and powers of ten; None for a linear axis."""
        if self.unit is None:
            return None
        powers = range(math.floor(math.log10(self.unit)) + 1, math.floor(math.log10(self.furthest)) + 1)
        marks = np.array([0.0, *(10.0**power for power in powers)])
        return self.place(marks), [f"{mark:,.0f}" for mark in marks]


def step_axis(spent: Sequence[np.ndarray]) -> StepAxis:
    """Return the axis for agents, from the steps that each had spent before its rounds, [round]."""
    furthest = [float(steps[-1]) for steps in spent if steps[-1] > 0]
    most = max(furthest, default=0.0)
    if not furthest or most <= _WIDE * min(furthest):
        return StepAxis(most, None)
    return StepAxis(most, min(float(steps[steps > 0].min()) for steps in spent if steps[-1] > 0))
