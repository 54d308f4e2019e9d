"""Numbers and tables as text."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np


def aligned(rows: Sequence[tuple[str, ...]]) -> str:
    """Return rows as lines, the cells of a column under each other: words to the left, figures to the right."""
    columns = list(zip(*rows, strict=True))
    widths = [max(len(cell) for cell in column) for column in columns]
    words = [i == 0 or not any(cell[:1].isdigit() for cell in column[1:]) for i, column in enumerate(columns)]
    return "\n".join(
        "  ".join(
            cell.ljust(width) if left else cell.rjust(width)
            for cell, width, left in zip(row, widths, words, strict=True)
        ).rstrip()
        for row in rows
    )


def interval_text(ends: Sequence[float] | np.ndarray, number: Callable[[float], str]) -> str:
    """Return both ends of an interval, each written by `number`; 'none' where there is none."""
    low, high = ends
    return f"[{number(low)}, {number(high)}]" if math.isfinite(low) or math.isfinite(high) else "none"


def counted(number: int, noun: str) -> str:
    """Return a number with its noun, in the plural where there is not one of it."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def decimals_for(values: np.ndarray) -> int:
    """Return how many decimals numbers of this size ask for: four digits of the largest that is finite, at least."""
    sizes = np.abs(values[np.isfinite(values)])
    largest = float(sizes.max(initial=0.0))
    return 3 if largest < 1 else max(0, 3 - int(math.log10(largest)))


def number_text(value: float, decimals: int) -> str:
    """Return a number with so many decimals, and never -0; 'not finite' for one that is not."""
    return f"{value:z,.{decimals}f}" if math.isfinite(value) else "not finite"
