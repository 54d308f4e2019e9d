"""Numbers and tables as text."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np

from .terminal import one_line


def align_columns(rows: Sequence[tuple[str, ...]]) -> str:
    """Return rows as lines with aligned columns: words to the left, figures to the right."""
    rows = [tuple(map(one_line, row)) for row in rows]
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
    """Return an interval as '[low, high]', each end written by `number`; 'none' if neither is finite."""
    low, high = ends
    return f"[{number(low)}, {number(high)}]" if math.isfinite(low) or math.isfinite(high) else "none"


def with_noun(number: int, noun: str) -> str:
    """Return a number with its noun, in the plural unless the number is one."""
    ending = "" if number == 1 else "es" if noun.endswith("s") else "s"
    return f"{number} {noun}{ending}"


def ordinal(number: int) -> str:
    """Return a number as '1st', '2nd', '3rd', '4th', ..., '11th', ..., '21st'."""
    ending = {1: "st", 2: "nd", 3: "rd"}.get(number % 10, "th")
    return f"{number}{'th' if number % 100 in (11, 12, 13) else ending}"


def decimals_for(values: np.ndarray) -> int:
    """Return the decimals that show at least four digits of the largest finite number."""
    sizes = np.abs(values[np.isfinite(values)])
    largest = float(sizes.max(initial=0.0))
    return 3 if largest < 1 else max(0, 3 - int(math.log10(largest)))


def number_text(value: float, decimals: int) -> str:
    """Return a number with `decimals` decimals, without a negative zero; 'not finite' for NaN and infinity."""
    return f"{value:z,.{decimals}f}" if math.isfinite(value) else "not finite"
