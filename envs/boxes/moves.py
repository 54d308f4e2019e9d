"""Moves of a box in an image."""

from __future__ import annotations

import numpy as np

STEP = 0.2
"""Share of its sides by which a box moves, and by which its sides change."""
LEAST_SIDE = 0.06
"""Least side of a box, as a share of the image's."""
MOVES = ("left", "right", "up", "down", "bigger", "smaller", "wider", "taller", "stop")
"""Names of the moves, in the order of the actions."""
STOP = MOVES.index("stop")
SHIFTS = np.array([[-1, 0], [1, 0], [0, -1], [0, 1], *[[0, 0]] * 5], dtype=np.float64)
"""Shift of each move across and down, in steps."""
GROWTHS = np.array([*[[0, 0]] * 4, [1, 1], [-1, -1], [0, -1], [-1, 0], [0, 0]], dtype=np.float64)
"""Growth of the width and of the height by each move, in steps: a box becomes wider as it becomes less tall."""


def move(boxes: np.ndarray, actions: np.ndarray) -> np.ndarray:
    """Return boxes [world, 4] after one move each [world]: left, top, right and bottom as shares of the image's sides.

    Sides change about the middle. What would lie outside of the image is cut off, and a box keeps `LEAST_SIDE`.
    """
    low, high = boxes[:, :2], boxes[:, 2:]
    sides = high - low
    shift, growth = STEP * SHIFTS[actions] * sides, STEP * GROWTHS[actions] * sides / 2
    low, high = (low + shift - growth).clip(0, 1), (high + shift + growth).clip(0, 1)
    short = np.maximum(LEAST_SIDE - (high - low), 0)
    low = (low - short / 2).clip(0, 1 - LEAST_SIDE)
    return np.concatenate([low, np.maximum(high + short / 2, low + LEAST_SIDE).clip(0, 1)], axis=1)
