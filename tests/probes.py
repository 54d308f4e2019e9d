"""Families with a known answer: small enough to solve in seconds, or to compute by hand."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from gymnasium import spaces

from metarl.base.streams import Streams
from metarl.families.arrays import ArrayFamily
from metarl.families.batch import State
from metarl.families.distributions import Choice, Uniform
from metarl.families.task import Horizon, Parameter, Values


@dataclass(frozen=True)
class UnequalEpisodes(ArrayFamily):
    """Episodes last as many steps as the task says, up to `horizon`; every step is noisy and pays what is observed."""

    name: ClassVar[str] = "unequal-episodes"
    horizon: Horizon = 6

    @property
    def parameters(self) -> Mapping[str, Parameter]:
        return {"length": Parameter(Choice(tuple(float(n) for n in range(1, self.horizon + 3))))}

    @property
    def observation_space(self) -> spaces.Box:
        return spaces.Box(-np.inf, np.inf, (2,), dtype=np.float64)

    @property
    def action_space(self) -> spaces.Box:
        return spaces.Box(-1.0, 1.0, (2,), dtype=np.float32)

    def initial(self, task: Values, streams: Streams) -> State:
        return {"time": np.zeros(streams.shape), "noise": streams.normal()}

    def transition(self, state: State, action: np.ndarray, task: Values, streams: Streams) -> State:
        return {"time": state["time"] + 1, "noise": 0.5 * state["noise"] + action[:, 0] + streams.normal()}

    def observation(self, state: State) -> np.ndarray:
        return np.stack([state["time"], state["noise"]], axis=1)

    def reward(self, before: State, action: np.ndarray, after: State, task: Values) -> np.ndarray:
        return after["noise"]

    def terminated(self, state: State, task: Values) -> np.ndarray:
        return state["time"] >= task["length"]


@dataclass(frozen=True)
class RightArm(ArrayFamily):
    """Two arms, one of which always pays 1: the first pull tells which. The best return is horizon - 1/2."""

    name: ClassVar[str] = "right-arm"
    horizon: Horizon = 6

    @property
    def parameters(self) -> Mapping[str, Parameter]:
        return {"arm": Parameter(Choice((0.0, 1.0)))}

    @property
    def observation_space(self) -> spaces.Box:
        return spaces.Box(0.0, 1.0, (1,), dtype=np.float32)

    @property
    def action_space(self) -> spaces.Discrete:
        return spaces.Discrete(2)

    def initial(self, task: Values, streams: Streams) -> State:
        return {"paid": np.zeros(streams.shape)}

    def transition(self, state: State, action: np.ndarray, task: Values, streams: Streams) -> State:
        return {"paid": (action == task["arm"]).astype(np.float64)}

    def observation(self, state: State) -> np.ndarray:
        return np.zeros((len(state["paid"]), 1))

    def reward(self, before: State, action: np.ndarray, after: State, task: Values) -> np.ndarray:
        return after["paid"]


@dataclass(frozen=True)
class Target(ArrayFamily):
    """Name a number: each step pays minus the squared distance to the task's target."""

    name: ClassVar[str] = "target"
    horizon: Horizon = 5

    @property
    def parameters(self) -> Mapping[str, Parameter]:
        return {"target": Parameter(Uniform(-1.0, 1.0))}

    @property
    def observation_space(self) -> spaces.Box:
        return spaces.Box(0.0, 1.0, (1,), dtype=np.float32)

    @property
    def action_space(self) -> spaces.Box:
        return spaces.Box(-2.0, 2.0, (1,), dtype=np.float32)

    def initial(self, task: Values, streams: Streams) -> State:
        return {"named": np.zeros(streams.shape)}

    def transition(self, state: State, action: np.ndarray, task: Values, streams: Streams) -> State:
        return {"named": action[:, 0].astype(np.float64)}

    def observation(self, state: State) -> np.ndarray:
        return np.ones((len(state["named"]), 1))

    def reward(self, before: State, action: np.ndarray, after: State, task: Values) -> np.ndarray:
        return -np.square(after["named"] - task["target"])


@dataclass(frozen=True)
class Cue(ArrayFamily):
    """The first observation shows a cue, which nothing shows again: the last action must name it, to earn 1."""

    name: ClassVar[str] = "cue"
    horizon: Horizon = 50

    @property
    def parameters(self) -> Mapping[str, Parameter]:
        return {"cue": Parameter(Choice((0.0, 1.0)))}

    @property
    def observation_space(self) -> spaces.Box:
        return spaces.Box(-1.0, 1.0, (2,), dtype=np.float32)

    @property
    def action_space(self) -> spaces.Discrete:
        return spaces.Discrete(2)

    def initial(self, task: Values, streams: Streams) -> State:
        return {"time": np.zeros(streams.shape), "cue": task["cue"], "right": np.zeros(streams.shape)}

    def transition(self, state: State, action: np.ndarray, task: Values, streams: Streams) -> State:
        return {"time": state["time"] + 1, "cue": task["cue"], "right": (action == task["cue"]).astype(np.float64)}

    def observation(self, state: State) -> np.ndarray:
        shown = np.where(state["time"] == 0, 2 * state["cue"] - 1, 0.0)
        return np.stack([shown, state["time"] == self.horizon - 1], axis=1)

    def reward(self, before: State, action: np.ndarray, after: State, task: Values) -> np.ndarray:
        return after["right"] * (after["time"] == self.horizon)

    def terminated(self, state: State, task: Values) -> np.ndarray:
        return state["time"] >= self.horizon
