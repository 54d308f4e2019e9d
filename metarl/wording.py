"""How numbers and tables are written in what people read."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np


def counted(number: int, noun: str) -> str:
    """Return a number of things in words: '1 task', '40 tasks'."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def decimals_for(values: np.ndarray) -> int:
    """Return how many decimals numbers of this size ask for: four digits of the largest that is finite, at least."""
    sizes = np.abs(values[np.isfinite(values)])
    largest = float(sizes.max(initial=0.0))
    return 3 if largest < 1 else max(0, 3 - int(math.log10(largest)))


def in_digits(value: float, decimals: int) -> str:
    """Return a number with so many decimals, or what is to be said of one that is not finite."""
    return f"{value:z,.{decimals}f}" if math.isfinite(value) else "not finite"


def in_brackets(ends: Sequence[float] | np.ndarray, number: Callable[[float], str]) -> str:
    """Return an interval's two ends in brackets, each written by `number`; 'none' where there is no interval."""
    low, high = ends
    return f"[{number(low)}, {number(high)}]" if math.isfinite(low) or math.isfinite(high) else "none"


def aligned(rows: Sequence[Sequence[str]]) -> str:
    """Return rows of cells as lines whose columns line up at their right."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return "\n".join("  ".join(map(str.rjust, row, widths)) for row in rows)
