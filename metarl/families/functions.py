"""Families written as functions of arrays: observation, reward and end of all worlds of a batch at once."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from typing import Any, Protocol

import numpy as np

from ..base.errors import MetarlError
from ..base.streams import Streams
from .batch import DEFAULT_FPS, State, Step, merge
from .family import TaskFamily
from .layout import layout_of
from .successes import are_unknown
from .task import Values


class Dynamics(Protocol):
    """Start and transition of a batch of worlds."""

    def start(self, state: State, where: np.ndarray, streams: Streams) -> State:
        """Return `state` with the worlds marked in `where` at the start of an episode. It is empty at first."""
        ...

    def step(
        self, state: State, actions: np.ndarray, where: np.ndarray, streams: Streams
    ) -> tuple[State, np.ndarray | None]:
        """Return the state after a step of the marked worlds, and which of them became unstable (None: none can)."""
        ...

    def change(self, state: State, where: np.ndarray, values: Values) -> State:
        """Return the state after the marked worlds took over other parameter values."""
        ...

    def render(self, state: State, world: int) -> np.ndarray | None:
        """Return a picture of one world, or None where a window shows it."""
        ...

    def close(self) -> None:
        """Release windows and threads."""
        ...


class FunctionFamily(TaskFamily):
    """A family whose observation, reward and end are functions of arrays [world, ...].

    `observation` does not receive the task, so no goal can leak through it.
    """

    @property
    def render_fps(self) -> int:
        """Steps a second at which an episode plays in its own time; where a step has no duration, any number."""
        return DEFAULT_FPS

    @abstractmethod
    def observation(self, state: State) -> Any:
        """Return the observation of each world, [world, *observation]."""

    @abstractmethod
    def reward(self, before: State, action: np.ndarray, after: State, task: Values) -> np.ndarray:
        """Return the reward of the step from `before` to `after`, [world]."""

    def terminated(self, state: State, task: Values) -> np.ndarray | bool:
        """Return whether each episode terminates, bool [world]. The time limit does not count."""
        return False

    def success(self, state: State, task: Values) -> np.ndarray | None:
        """Return whether each world is at its goal, bool [world], or None in a family without one."""
        return None

    def infos(self, state: State) -> Mapping[str, np.ndarray] | None:
        """Return what else the state after a step tells, by name, as Gymnasium's `info` [world, ...]; None: nothing.

        Agents never see it: it is for people, and for libraries that know a name, such as `objectives`.
        """
        return None


class FunctionBatch:
    """The `Batch` of a FunctionFamily."""

    def __init__(self, family: FunctionFamily, values: Values, dynamics: Dynamics) -> None:
        self.family, self.values, self.dynamics = family, values, dynamics
        self.state: State = {}
        self.layout = layout_of(family.observation_space, family.name)
        # Kind of numbers of an observation that is its own array; no array has the kind '' of a composed one.
        self._kind = "" if self.layout.composed else self.layout.dtype.kind

    @property
    def render_fps(self) -> int:
        """Steps a second at which an episode plays in its own time."""
        return self.family.render_fps

    def begin(self, where: np.ndarray) -> None:
        """Do nothing: all state belongs to the episodes."""

    def reset(self, where: np.ndarray, streams: Streams) -> np.ndarray:
        """Begin a new episode in the marked worlds and return all observations, [world, *observation].

        Raises MetarlError where the family's observation has a wrong shape.
        """
        self.state = self.dynamics.start(self.state, where if self.state else np.ones_like(where), streams)
        return self._observe(len(where))

    def step(self, actions: np.ndarray, where: np.ndarray, streams: Streams) -> Step:
        """Step the marked worlds. Raises MetarlError where the family's reward or observation has a wrong shape."""
        before, family = self.state, self.family
        after, unstable = self.dynamics.step(before, actions, where, streams)
        self.state = after
        none = np.zeros(len(where), dtype=bool)
        rewards = self._row("reward", family.reward(before, actions, after, self.values), "biuf", where.shape)
        ended = family.terminated(after, self.values)
        over = none if ended is False else self._read_end(ended, none)
        successes, known = self._read_successes(family.success(after, self.values), where.shape)
        return Step(
            observations=self._observe(len(where)),
            rewards=rewards,
            terminations=over,
            truncations=none,
            successes=successes,
            unstable=unstable,
            known=known,
            infos=family.infos(after),
        )

    def _row(self, name: str, given: Any, kinds: str, shape: tuple[int, ...]) -> np.ndarray:
        """Return what a function of the family gave. Raises MetarlError for another shape or kind of numbers."""
        array = given if isinstance(given, np.ndarray) else np.asarray(given)
        if array.shape != shape:
            raise MetarlError(f"{name} of family {self.family.name!r} has shape {array.shape}; it must be {shape}")
        if array.dtype.kind not in kinds:
            kind = "bool" if kinds == "b" else "numbers"
            raise MetarlError(f"{name} of family {self.family.name!r} has dtype {array.dtype}; it must be {kind}")
        return array

    def _read_end(self, given: Any, none: np.ndarray) -> np.ndarray:
        """Return whether each episode terminates, bool [world], of what the family gave: one bool holds for all."""
        array = np.asarray(given)
        array = np.broadcast_to(array, none.shape) if array.ndim == 0 else array
        return self._row("terminated", array, "b", none.shape)

    def _read_successes(self, given: Any, shape: tuple[int, ...]) -> tuple[np.ndarray | None, np.ndarray | None]:
        """Return the successes and of which worlds they are known; None in place of both where nothing is."""
        if given is None:
            return None, None
        flags = self._row("success", given, "bfO", shape)
        if flags.dtype == np.bool_:
            return flags, None
        known = ~are_unknown(flags)
        return (known & (flags == 1), known) if known.any() else (None, None)

    def _observe(self, num_worlds: int) -> np.ndarray:
        """Return the observation of every world, [world, *observation]. Raises MetarlError for a wrong shape."""
        observations = self.family.observation(self.state)
        if not isinstance(observations, np.ndarray) or observations.dtype.kind != self._kind:
            observations = self.layout.flatten(observations, (num_worlds,))
        if observations.shape != (num_worlds, *self.layout.shape):
            first = "world" if observations.shape[:1] == (num_worlds,) else "other"
            found, right = ([first, *observations.shape[1:]], ["world", *self.layout.shape])
            raise MetarlError(
                f"observation of family {self.family.name!r} has shape [{', '.join(map(str, found))}]; it must be "
                f"[{', '.join(map(str, right))}], as in observation_space"
            )
        return observations

    def change(self, where: np.ndarray, values: Values) -> None:
        """Replace the parameter values of the marked worlds."""
        self.values = merge(where, dict(values), dict(self.values))
        self.state = self.dynamics.change(self.state, where, self.values)

    def render(self, world: int) -> np.ndarray | None:
        """Return a picture of one world."""
        return self.dynamics.render(self.state, world)

    def close(self) -> None:
        """Release windows and threads."""
        self.dynamics.close()
