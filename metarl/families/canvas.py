"""Pictures of the worlds of array families."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np

from ..base.errors import MetarlError

if TYPE_CHECKING:
    from matplotlib.axes import Axes

WIDTH, HEIGHT = 480, 480
"""Size of a picture in pixels."""


class AxesCanvas:
    """A matplotlib figure for one world. Raises MetarlError for mode 'human' without a window."""

    def __init__(self, mode: str | None) -> None:
        from matplotlib.figure import Figure

        self.shows = mode == "human"
        size = (WIDTH / 100, HEIGHT / 100)
        if self.shows:
            from matplotlib import pyplot
            from matplotlib.backends.registry import BackendFilter, backend_registry

            backend = pyplot.get_backend().lower()
            if backend not in backend_registry.list_builtin(BackendFilter.INTERACTIVE):
                raise MetarlError(
                    f"render_mode 'human' needs a window, and matplotlib's backend {backend!r} has none; "
                    "install a GUI toolkit and use a display, or take render_mode 'rgb_array'"
                )
            self.figure = pyplot.figure(figsize=size, dpi=100)
        else:
            self.figure = Figure(figsize=size, dpi=100)

    def render(self, draw: Callable[[Axes], None]) -> np.ndarray | None:
        """Draw one world and return uint8 [height, width, 3], or None where a window shows it."""
        self.figure.clear()
        draw(self.figure.add_subplot())
        if self.shows:
            from matplotlib import pyplot

            pyplot.pause(0.001)
            return None
        from matplotlib.backends.backend_agg import FigureCanvasAgg

        canvas = FigureCanvasAgg(self.figure)
        canvas.draw()
        return np.asarray(canvas.buffer_rgba())[..., :3].copy()

    def close(self) -> None:
        """Close the window."""
        if self.shows:
            from matplotlib import pyplot

            pyplot.close(self.figure)
