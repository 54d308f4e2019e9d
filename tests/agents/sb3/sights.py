"""A family with observations of every kind that stable-baselines3 has a policy for, and more."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from gymnasium import spaces

from metarl.base.streams import Streams
from metarl.families.arrays import ArrayFamily
from metarl.families.batch import State
from metarl.families.distributions import Uniform
from metarl.families.spaces import ActionSpace, limits
from metarl.families.task import Horizon, Parameter, Values
from tests.families.kinds import ACTIONS, PLACE, pay

CAMERA = spaces.Box(0, 255, (36, 40, 3), dtype=np.uint8)
SIGHTS: Mapping[str, spaces.Space[Any]] = {
    "vector": PLACE,
    "image": CAMERA,
    "channels-first": spaces.Box(0, 255, (2, 36, 40), dtype=np.uint8),
    "floats": spaces.Box(0.0, 1.0, (3, 4, 5), dtype=np.float32),
    "discrete": spaces.Discrete(7, start=-3),
    "multi-discrete": spaces.MultiDiscrete([3, 5], start=[1, -1]),
    "multi-binary": spaces.MultiBinary([2, 3]),
    "dict": spaces.Dict({"camera": CAMERA, "place": PLACE, "way": spaces.Discrete(4, start=1)}),
    "flat": spaces.Dict({"place": PLACE, "on": spaces.MultiBinary(2), "way": spaces.MultiDiscrete([2, 3])}),
    "plain": spaces.Dict({"camera": CAMERA, "place": PLACE, "way": spaces.Discrete(4)}),
    "tuple": spaces.Tuple([CAMERA, spaces.Discrete(4)]),
    # Names that no module of torch can have.
    "nested": spaces.Dict(
        {"values": spaces.Dict({"a.b": CAMERA, "": PLACE}), "type": spaces.Tuple([spaces.MultiDiscrete([2, 3])])}
    ),
}
"""A space of observations of each kind, by name."""


def show(space: spaces.Space[Any], levels: np.ndarray) -> Any:
    """Return the observations of levels from 0 to 1, which differ in every number. [n, *observation]"""
    match space:
        case spaces.Dict():
            return {name: show(inner, levels) for name, inner in space.spaces.items()}
        case spaces.Tuple():
            return tuple(show(inner, levels) for inner in space.spaces)
        case spaces.Discrete():
            return int(space.start) + np.floor(levels * 0.999 * int(space.n)).astype(np.int64)
    shape = space.shape or ()
    waves = (levels[:, None] + 0.37 * np.arange(np.prod(shape))) % 1.0
    if isinstance(space, spaces.Box) and np.issubdtype(space.dtype, np.floating):
        return waves.reshape(-1, *shape).astype(space.dtype)
    low, high = limits(space)
    return (low + np.floor(waves.reshape(-1, *shape) * 0.999 * (high - low + 1.0))).astype(space.dtype)


FLOATS = spaces.Box(0.0, 1.0, (3, 36, 40), dtype=np.float32)
"""Images that are scaled already, as `normalize_images=False` of the library takes them."""


@dataclass(frozen=True)
class Sights(ArrayFamily):
    """Shows a level that wanders with the actions, pays actions near the task's, and ends early at a high level."""

    name: ClassVar[str] = "sights"
    horizon: Horizon = 5
    seen: str = "vector"
    acted: str = "box"

    @property
    def parameters(self) -> Mapping[str, Parameter]:
        return {"wanted": Parameter(Uniform(0.0, 1.0))}

    @property
    def observation_space(self) -> spaces.Space[Any]:
        return SIGHTS[self.seen]

    @property
    def action_space(self) -> ActionSpace:
        return ACTIONS[self.acted]

    def initial(self, task: Values, streams: Streams) -> State:
        return {"level": streams.uniform(), "place": np.zeros(streams.shape)}

    def transition(self, state: State, action: np.ndarray, task: Values, streams: Streams) -> State:
        place = pay(self.action_space, action)
        return {"level": (state["level"] + place) % 1.0, "place": place}

    def observation(self, state: State) -> Any:
        return show(self.observation_space, state["level"])

    def reward(self, before: State, action: np.ndarray, after: State, task: Values) -> np.ndarray:
        return -np.abs(after["place"] - task["wanted"])

    def terminated(self, state: State, task: Values) -> np.ndarray:
        return state["level"] > 0.85
