"""Families with every kind of space: plain Gymnasium classes and arrays."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import gymnasium
import numpy as np
from gymnasium import spaces

from metarl.base.streams import Streams
from metarl.families.arrays import ArrayFamily
from metarl.families.batch import State
from metarl.families.classes import ClassFamily
from metarl.families.distributions import Uniform
from metarl.families.spaces import ActionSpace, Tokens, action_at
from metarl.families.task import Horizon, Parameter, Values

PLACE = spaces.Box(-np.inf, np.inf, (2,), dtype=np.float32)
IMAGE = spaces.Box(0, 255, (6, 6, 1), dtype=np.uint8)
OBSERVATIONS: dict[str, spaces.Space[Any]] = {
    "vector": PLACE,
    "image": IMAGE,
    "floats": spaces.Box(0.0, 1.0, (2, 5, 5), dtype=np.float32),
    "discrete": spaces.Discrete(7, start=-3),
    "multi-discrete": spaces.MultiDiscrete([3, 300]),
    "multi-binary": spaces.MultiBinary(5),
    "tokens": Tokens(6, 9),
    "dict": spaces.Dict({"camera": IMAGE, "place": PLACE, "way": spaces.Discrete(4)}),
    "tuple": spaces.Tuple([spaces.Dict({"camera": IMAGE}), spaces.MultiBinary(2)]),
}
"""A space of observations of each kind, by name."""
ACTIONS: Mapping[str, ActionSpace] = {
    "box": spaces.Box(-1.0, 1.0, (2,), dtype=np.float32),
    "discrete": spaces.Discrete(4, start=1),
    "multi-discrete": spaces.MultiDiscrete([[2, 3], [2, 4]]),
    "multi-binary": spaces.MultiBinary(3),
}
"""A space of actions of each kind, by name."""

WANTED = {"wanted": Parameter(Uniform(0.0, 1.0))}
"""The task of a meter: the action that is paid best, as a place between the lowest and the highest."""


def shown(space: spaces.Space[Any], level: float) -> Any:
    """Return the observation of a level from 0 to 1."""
    match space:
        case spaces.Dict():
            return {name: shown(inner, level) for name, inner in space.spaces.items()}
        case spaces.Tuple():
            return tuple(shown(inner, level) for inner in space.spaces)
    chosen: Any = action_at(space, level)  # type: ignore[arg-type]
    return int(chosen) if isinstance(space, spaces.Discrete) else chosen


def pay(space: ActionSpace, actions: np.ndarray) -> np.ndarray:
    """Return the mean place of each of `actions` [n, *action] between the lowest and the highest."""
    low, high = action_at(space, 0.0), action_at(space, 1.0)
    return ((actions - low) / (high - low)).reshape(len(actions), -1).mean(axis=1)


class Meter(gymnasium.Env[Any, Any]):
    """Shows a level that wanders with the actions, and pays actions near the task's."""

    def __init__(self, seen: str, acted: str, wanted: float) -> None:
        self.observation_space, self.action_space = OBSERVATIONS[seen], ACTIONS[acted]
        self.wanted = wanted

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        super().reset(seed=seed)
        self.level = float(self.np_random.random())
        return shown(self.observation_space, self.level), {}

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        assert action in self.action_space
        place = float(pay(self.action_space, np.asarray(action)[None])[0])  # type: ignore[arg-type]
        self.level = (self.level + place) % 1.0
        return shown(self.observation_space, self.level), -abs(place - self.wanted), False, False, {}


@dataclass(frozen=True)
class Meters(ClassFamily):
    """A plain class with spaces of a kind."""

    name: ClassVar[str] = "meters"
    horizon: Horizon = 5
    seen: str = "vector"
    acted: str = "box"

    parameters = WANTED

    def make(self, task: dict[str, Any], render_mode: str | None) -> gymnasium.Env[Any, Any]:
        return Meter(self.seen, self.acted, task["wanted"])


@dataclass(frozen=True)
class ArrayMeters(ArrayFamily):
    """The same, of arrays."""

    name: ClassVar[str] = "array-meters"
    horizon: Horizon = 5
    seen: str = "vector"
    acted: str = "box"

    parameters = WANTED

    @property
    def observation_space(self) -> spaces.Space[Any]:
        return OBSERVATIONS[self.seen]

    @property
    def action_space(self) -> ActionSpace:
        return ACTIONS[self.acted]

    def initial(self, task: Values, streams: Streams) -> State:
        return {"level": streams.uniform(), "place": np.zeros(streams.shape)}

    def transition(self, state: State, action: np.ndarray, task: Values, streams: Streams) -> State:
        place = pay(self.action_space, action)
        return {"level": (state["level"] + place) % 1.0, "place": place}

    def observation(self, state: State) -> Any:
        return _stack(self.observation_space, [shown(self.observation_space, float(x)) for x in state["level"]])

    def reward(self, before: State, action: np.ndarray, after: State, task: Values) -> np.ndarray:
        return -np.abs(after["place"] - task["wanted"])


def _stack(space: spaces.Space[Any], rows: list[Any]) -> Any:
    match space:
        case spaces.Dict():
            return {name: _stack(inner, [row[name] for row in rows]) for name, inner in space.spaces.items()}
        case spaces.Tuple():
            return tuple(_stack(inner, [row[i] for row in rows]) for i, inner in enumerate(space.spaces))
    return np.stack(rows)
