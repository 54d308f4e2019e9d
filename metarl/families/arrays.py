"""Families whose worlds are rows of arrays: start and transition are functions of arrays as well."""

from __future__ import annotations

import functools
from abc import abstractmethod
from typing import TYPE_CHECKING

import numpy as np

from ..base.streams import Streams
from .batch import State, merge
from .canvas import AxesCanvas
from .functions import FunctionBatch, FunctionFamily
from .task import Values

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from .batch import Batch


class ArrayFamily(FunctionFamily):
    """A family whose worlds are rows of arrays."""

    @abstractmethod
    def initial(self, task: Values, streams: Streams) -> State:
        """Return the first state of an episode in every world. `streams` has one random stream for each world."""

    @abstractmethod
    def transition(self, state: State, action: np.ndarray, task: Values, streams: Streams) -> State:
        """Return the state after `action` [world, *action], as new arrays."""

    def draw(self, axes: Axes, state: State, task: Values, world: int) -> None:
        """Draw one world into `axes`. The default writes its state as text."""
        lines = [f"{name} = {np.array2string(array[world], precision=3)}" for name, array in state.items()]
        axes.text(0.5, 0.5, "\n".join(lines), ha="center", va="center", transform=axes.transAxes)
        axes.set_axis_off()

    def batch(self, values: Values, *, threads: int | None = None, render_mode: str | None = None) -> Batch:
        """Return the batch. Array families run on the calling thread."""
        return FunctionBatch(self, values, _ArrayDynamics(self, values, render_mode))


class _ArrayDynamics:
    """The `Dynamics` of an ArrayFamily."""

    def __init__(self, family: ArrayFamily, values: Values, render_mode: str | None) -> None:
        self.family, self.values, self.render_mode = family, values, render_mode
        self._canvas: AxesCanvas | None = None

    def start(self, state: State, where: np.ndarray, streams: Streams) -> State:
        if where.all():
            return self.family.initial(self.values, streams)
        chosen = np.flatnonzero(where)  # often few of thousands: the others cost only a copy
        task = {name: value[chosen] for name, value in self.values.items()}
        fresh = streams.at(chosen, functools.partial(self.family.initial, task))
        return {name: _replace_rows(array, chosen, fresh[name]) for name, array in state.items()}

    def step(self, state: State, actions: np.ndarray, where: np.ndarray, streams: Streams) -> tuple[State, None]:
        after = self.family.transition(state, actions, self.values, streams)
        everywhere = np.count_nonzero(where) == len(where)  # in a third of the time of `where.all()`
        return after if everywhere else merge(where, after, state), None

    def change(self, state: State, where: np.ndarray, values: Values) -> State:
        self.values = values
        return state

    def render(self, state: State, world: int) -> np.ndarray | None:
        if self._canvas is None:
            self._canvas = AxesCanvas(self.render_mode)
        return self._canvas.render(lambda axes: self.family.draw(axes, state, self.values, world))

    def close(self) -> None:
        if self._canvas is not None:
            self._canvas.close()


def _replace_rows(array: np.ndarray, rows: np.ndarray, values: np.ndarray) -> np.ndarray:
    """Return a copy of `array` with `values` in `rows`."""
    copy = array.copy()
    copy[rows] = values
    return copy
