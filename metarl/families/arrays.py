"""Ways to write a family: as functions of arrays, or around a plain Gymnasium class."""

from __future__ import annotations

import functools
from abc import abstractmethod
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from ..base.errors import MetarlError
from ..base.streams import Streams
from .batch import Step
from .canvas import AxesCanvas
from .family import TaskFamily
from .task import Values

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from .batch import Batch, Step

State = dict[str, np.ndarray]
"""State of a batch of worlds by name, each array's first axis the world."""


class Dynamics(Protocol):
    """How the states of a batch of worlds begin and go on."""

    def start(self, state: State, where: np.ndarray, streams: Streams) -> State:
        """Return `state` with the worlds marked in `where` at the start of an episode; empty before the first."""
        ...

    def step(
        self, state: State, actions: np.ndarray, where: np.ndarray, streams: Streams
    ) -> tuple[State, np.ndarray | None]:
        """Return the state after a step of the marked worlds, and where physics broke down (None: they cannot)."""
        ...

    def change(self, state: State, where: np.ndarray, values: Values) -> State:
        """Return the state once the marked worlds have other parameter values."""
        ...

    def render(self, state: State, world: int) -> np.ndarray | None:
        """Return a picture of one world, or None where it is shown in a window."""
        ...

    def close(self) -> None:
        """Release windows and threads."""
        ...


class FunctionFamily(TaskFamily):
    """A family written once as functions of batches: observation, reward and end over arrays [world, ...].

    `observation` is not handed the task, so that no goal can leak through it.
    """

    @abstractmethod
    def observation(self, state: State) -> np.ndarray:
        """Return what the agent sees, [world, *observation]."""

    @abstractmethod
    def reward(self, before: State, action: np.ndarray, after: State, task: Values) -> np.ndarray:
        """Return the reward of the step from `before` to `after`, [world]."""

    def terminated(self, state: State, task: Values) -> np.ndarray | bool:
        """Return whether each episode has come to its end, bool [world], but for the time limit."""
        return False

    def success(self, state: State, task: Values) -> np.ndarray | None:
        """Return whether each world is at its goal, bool [world], or None where there is no such thing."""
        return None


class ArrayFamily(FunctionFamily):
    """A family whose worlds are rows of arrays."""

    @abstractmethod
    def initial(self, task: Values, streams: Streams) -> State:
        """Return the first state of an episode in every world; randomness comes from `streams`, one a world."""

    @abstractmethod
    def transition(self, state: State, action: np.ndarray, task: Values, streams: Streams) -> State:
        """Return the state after `action` [world, *action] as new arrays."""

    def draw(self, axes: Axes, state: State, task: Values, world: int) -> None:
        """Draw one world into `axes`; by default its state in words."""
        lines = [f"{name} = {np.array2string(array[world], precision=3)}" for name, array in state.items()]
        axes.text(0.5, 0.5, "\n".join(lines), ha="center", va="center", transform=axes.transAxes)
        axes.set_axis_off()

    def batch(self, values: Values, *, threads: int | None = None, render_mode: str | None = None) -> Batch:
        """Return the batch; array families run on the calling thread."""
        return FunctionBatch(self, values, _ArrayDynamics(self, values, render_mode))


class FunctionBatch:
    """Worlds of a FunctionFamily: a `Batch`."""

    def __init__(self, family: FunctionFamily, values: Values, dynamics: Dynamics) -> None:
        self.family, self.values, self.dynamics = family, values, dynamics
        self.state: State = {}

    def begin(self) -> None:
        """Nothing of a trial is kept here beyond its episodes."""

    def reset(self, where: np.ndarray, streams: Streams) -> np.ndarray:
        """Begin a new episode in the marked worlds, and return all observations."""
        self.state = self.dynamics.start(self.state, where if self.state else np.ones_like(where), streams)
        return self.family.observation(self.state)

    def step(self, actions: np.ndarray, where: np.ndarray, streams: Streams) -> Step:
        """Step the marked worlds."""
        before, family = self.state, self.family
        after, unstable = self.dynamics.step(before, actions, where, streams)
        self.state = after
        none = np.zeros(len(where), dtype=bool)
        rewards = family.reward(before, actions, after, self.values)
        if rewards.shape != where.shape:
            raise MetarlError(f"reward of family {family.name!r} has shape {rewards.shape}; it must be {where.shape}")
        return Step(
            observations=family.observation(after),
            rewards=rewards,
            terminations=none | family.terminated(after, self.values),
            truncations=none,
            successes=family.success(after, self.values),
            unstable=unstable,
        )

    def change(self, where: np.ndarray, values: Values) -> None:
        """Give the marked worlds other parameter values."""
        self.values = _merge(where, dict(values), dict(self.values))
        self.state = self.dynamics.change(self.state, where, self.values)

    def render(self, world: int) -> np.ndarray | None:
        """Return a picture of one world."""
        return self.dynamics.render(self.state, world)

    def close(self) -> None:
        """Release windows and threads."""
        self.dynamics.close()


def _placed(array: np.ndarray, rows: np.ndarray, values: np.ndarray) -> np.ndarray:
    """Return a copy of `array` with `values` in `rows`."""
    placed = array.copy()
    placed[rows] = values
    return placed


def _merge(where: np.ndarray, chosen: State, others: State) -> State:
    pick = {name: where.reshape(-1, *(1,) * (array.ndim - 1)) for name, array in chosen.items()}
    return {name: np.where(pick[name], array, others[name]) for name, array in chosen.items()}


class _ArrayDynamics:
    def __init__(self, family: ArrayFamily, values: Values, render_mode: str | None) -> None:
        self.family, self.values, self.render_mode = family, values, render_mode
        self._canvas: Any = None

    def start(self, state: State, where: np.ndarray, streams: Streams) -> State:
        if where.all():
            return self.family.initial(self.values, streams)
        chosen = np.flatnonzero(where)  # often few of thousands: the others cost only a copy
        task = {name: value[chosen] for name, value in self.values.items()}
        fresh = streams.at(chosen, functools.partial(self.family.initial, task))
        return {name: _placed(array, chosen, fresh[name]) for name, array in state.items()}

    def step(
        self, state: State, actions: np.ndarray, where: np.ndarray, streams: Streams
    ) -> tuple[State, np.ndarray | None]:
        after = self.family.transition(state, actions, self.values, streams)
        return (after if where.all() else _merge(where, after, state)), None

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
