"""What agents are checked on: small families, and trials in them."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from gymnasium import spaces

from ..base.streams import Streams, generator
from ..families.arrays import ArrayFamily
from ..families.batch import State
from ..families.distributions import Uniform
from ..families.family import TaskFamily
from ..families.task import Parameter, Tasks, Values
from ..trials.agent import Agent, TrainableAgent, require_tensors
from ..trials.episodes import Trial
from ..trials.rollout import run_trial

NUM_TASKS, REPLICAS, ROUNDS = 4, 3, 2


@dataclass(frozen=True)
class Reach(ArrayFamily):
    """A point seeks a hidden goal. Episodes terminate by chance after 3 to 8 steps, and are truncated after 6."""

    name = "the checks' family with continuous actions"
    horizon: int = 6

    @property
    def parameters(self) -> Mapping[str, Parameter]:
        """The goal."""
        return {"goal": Parameter(Uniform(-1.0, 1.0, (2,)))}

    @property
    def observation_space(self) -> spaces.Box:
        """Position, and steps left before the episode terminates."""
        return spaces.Box(-np.inf, np.inf, (3,), dtype=np.float64)

    @property
    def action_space(self) -> spaces.Box:
        """Move, with another range in each direction."""
        return spaces.Box(np.array([-0.5, -0.2], np.float32), np.array([0.5, 0.6], np.float32))

    def initial(self, task: Values, streams: Streams) -> State:
        """Start at the origin, with a fuse of random length."""
        return {"position": np.zeros((*streams.shape, 2)), "fuse": 3.0 + streams.integers(6)}

    def transition(self, state: State, action: np.ndarray, task: Values, streams: Streams) -> State:
        """Move and burn."""
        return {"position": state["position"] + action, "fuse": state["fuse"] - 1}

    def observation(self, state: State) -> np.ndarray:
        """Return position and fuse."""
        return np.concatenate([state["position"], state["fuse"][:, None]], axis=1)

    def reward(self, before: State, action: np.ndarray, after: State, task: Values) -> np.ndarray:
        """Return minus the distance."""
        return -np.sqrt(np.square(after["position"] - task["goal"]).sum(axis=1))

    def terminated(self, state: State, task: Values) -> np.ndarray:
        """Return whether the fuse is burnt."""
        return state["fuse"] <= 0


@dataclass(frozen=True)
class Press(Reach):
    """The same with three buttons: stand, step towards (1, 1), step towards (-1, -1)."""

    name = "the checks' family with discrete actions"

    @property
    def action_space(self) -> spaces.Discrete:  # type: ignore[override]
        """The buttons."""
        return spaces.Discrete(3)

    def transition(self, state: State, action: np.ndarray, task: Values, streams: Streams) -> State:
        """Move and burn."""
        move = np.array([0.0, 0.3, -0.3])[action]
        return super().transition(state, np.stack([move, move], axis=1), task, streams)


@dataclass(frozen=True)
class Look(Reach):
    """The same through a camera, in a Dict, with two choices at once: back, stand or forth on each axis."""

    name = "the checks' family with a Dict of observations and MultiDiscrete actions"

    @property
    def observation_space(self) -> spaces.Dict:  # type: ignore[override]
        """The camera's picture, position and fuse, and which side the point is on."""
        camera = spaces.Box(0, 255, (6, 6, 1), dtype=np.uint8)
        return spaces.Dict({"camera": camera, "place": super().observation_space, "side": spaces.Discrete(2)})

    @property
    def action_space(self) -> spaces.MultiDiscrete:  # type: ignore[override]
        """The choices."""
        return spaces.MultiDiscrete([3, 3])

    def transition(self, state: State, action: np.ndarray, task: Values, streams: Streams) -> State:
        """Move and burn."""
        return super().transition(state, 0.3 * (action - 1.0), task, streams)

    def observation(self, state: State) -> Any:
        """Return a picture with the point in it, position and fuse, and the side."""
        row, column = np.clip(3 + np.floor(2 * state["position"]), 0, 5).astype(int).T
        camera = np.zeros((len(row), 6, 6, 1), dtype=np.uint8)
        camera[np.arange(len(row)), row, column] = 255
        return {"camera": camera, "place": super().observation(state), "side": (column > 2).astype(np.int64)}


@dataclass(frozen=True)
class Flip(Reach):
    """The same with two switches, and a number as its observation."""

    name = "the checks' family with Discrete observations and MultiBinary actions"

    @property
    def observation_space(self) -> spaces.Discrete:  # type: ignore[override]
        """Steps left before the episode terminates."""
        return spaces.Discrete(9)

    @property
    def action_space(self) -> spaces.MultiBinary:  # type: ignore[override]
        """The switches: one for each axis."""
        return spaces.MultiBinary(2)

    def transition(self, state: State, action: np.ndarray, task: Values, streams: Streams) -> State:
        """Move and burn."""
        return super().transition(state, np.where(action == 1, 0.3, -0.2), task, streams)

    def observation(self, state: State) -> np.ndarray:
        """Return the fuse."""
        return state["fuse"].astype(np.int64)


def probes() -> list[TaskFamily]:
    """Return the families whose spaces every agent is expected to play."""
    return [Reach(), Press()]


def other_spaces() -> list[TaskFamily]:
    """Return families with spaces of every other kind, which an agent plays, or refuses with a MetarlError."""
    return [Look(), Flip()]


@dataclass(frozen=True)
class Lesson:
    """The first update of a new agent, which several checks look at."""

    agent: TrainableAgent
    """The agent. A check that trains it on is the last that looks at it."""
    trial: Trial
    """What it learned from."""
    logged: Mapping[str, float]
    """What the update returned."""
    before: Mapping[str, np.ndarray]
    """The agent's state."""
    handed_out: Mapping[str, Any]
    """The same as the agent returned it, and not a copy."""
    after: Mapping[str, np.ndarray]
    """The state after the update."""


@dataclass(frozen=True)
class Subject:
    """An agent's class, and the family that it is checked on."""

    cls: type[Any]
    family: TaskFamily
    settings: Mapping[str, Any] = field(default_factory=dict)
    """Settings of the agent; its defaults where left out."""

    def make(self, seed: int = 0) -> Any:
        """Return a new agent, in float64 if its settings have a dtype."""
        precise = {"dtype": "float64"} if self.exact else {}
        config = self.cls.Config(**{**precise, **self.settings})
        return self.cls(config, self.family, seed=seed, device="cpu")

    @property
    def exact(self) -> bool:
        """Whether the agent computes in float64."""
        return "dtype" in self.cls.Config.model_fields

    def tasks(self) -> Tasks:
        """Return the tasks of the checks."""
        return self.family.sample("train", NUM_TASKS, seed=0)

    def trial(self, agent: Agent, tasks: Tasks | None = None, seed: int = 0, *, training: bool = False) -> Trial:
        """Return a trial in `tasks`."""
        with contextlib.closing(self.family.make_vec(tasks or self.tasks(), REPLICAS, threads=0)) as envs:
            return run_trial(agent, envs, ROUNDS, seed=seed, training=training)

    @functools.cached_property
    def lesson(self) -> Lesson:
        """The first update of an agent that can be trained."""
        agent: TrainableAgent = self.make()
        before, handed_out = state_arrays(agent), agent.state_dict()
        trial = self.trial(agent, training=True)
        logged = agent.update(trial, generator(0))
        return Lesson(agent, trial, logged, before, handed_out, state_arrays(agent))

    def same(self, a: np.ndarray, b: np.ndarray) -> bool:
        """Return whether two arrays are equal to the rounding of products of matrices of different sizes."""
        tolerance = 1e-7 if self.exact else 1e-3
        return a.shape == b.shape and np.allclose(a, b, rtol=tolerance, atol=tolerance)


def state_arrays(agent: TrainableAgent) -> dict[str, np.ndarray]:
    """Return a copy of an agent's state as arrays. Raises MetarlError unless it is a dict of tensors."""
    state = agent.state_dict()
    require_tensors(state)
    return {name: as_array(value) for name, value in state.items()}


def as_array(tensor: Any) -> np.ndarray:
    """Return a copy of a tensor."""
    return tensor.detach().cpu().numpy().copy()


def first_change(before: Mapping[str, np.ndarray], after: Mapping[str, np.ndarray]) -> str:
    """Return the first name whose array is missing from one state or differs in a bit, '' if both are the same."""
    for name in (*before, *after):
        if name not in before or name not in after or before[name].tobytes() != after[name].tobytes():
            return name
    return ""
