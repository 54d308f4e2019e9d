"""Ways to write a family: as functions of arrays, as a MuJoCo model, or around a plain Gymnasium class."""

from __future__ import annotations

import functools
from abc import abstractmethod
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar, Protocol

import numpy as np
from gymnasium import Env, spaces

from .errors import MetarlError
from .streams import Streams
from .task import TaskFamily, Values

if TYPE_CHECKING:
    import mujoco
    from matplotlib.axes import Axes

    from .vector import Batch, Step

State = dict[str, np.ndarray]
"""State of a batch of worlds by name, each array's first axis the world."""


class _Dynamics(Protocol):
    """How the states of a batch of worlds begin and go on."""

    def start(self, streams: Streams) -> State: ...
    def step(self, state: State, actions: np.ndarray, where: np.ndarray, streams: Streams) -> State: ...
    def render(self, state: State, world: int) -> np.ndarray | None: ...
    def close(self) -> None: ...


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
        """Return whether each episode has come to its end, bool [world]. The time limit is not the family's business."""
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
        return _FunctionBatch(self, values, _ArrayDynamics(self, values, render_mode))


class MujocoFamily(FunctionFamily):
    """A family of MuJoCo worlds on a model file that comes with Gymnasium."""

    asset: ClassVar[str]
    """Name of the model file among Gymnasium's assets."""
    frame_skip: ClassVar[int] = 5
    """Physics steps for each environment step."""

    @property
    def sensors(self) -> Mapping[str, tuple[mujoco.mjtSensor, mujoco.mjtObj, str]]:
        """Sensors to add to the model, by the name they have in the state: (type, object type, object name)."""
        return {}

    @abstractmethod
    def initial(self, model: mujoco.MjModel, streams: Streams) -> tuple[np.ndarray, np.ndarray]:
        """Return the positions [world, nq] and velocities [world, nv] at the start of an episode."""

    def edit_model(self, model: mujoco.MjModel, task: Values) -> None:
        """Change `model` for one task (values without the batch axis). Derived constants are recomputed afterwards.

        A family that overrides this gets a model of its own for each task.
        """

    @property
    def model(self) -> mujoco.MjModel:
        """The compiled model, before any task's changes."""
        return _compiled(self)

    @property
    def dt(self) -> float:
        """Seconds of one environment step."""
        return float(self.model.opt.timestep) * self.frame_skip

    @property
    def action_space(self) -> spaces.Box:
        """One number in the control range for each actuator."""
        low, high = self.model.actuator_ctrlrange.T.astype(np.float32)
        return spaces.Box(low, high, dtype=np.float32)

    def batch(self, values: Values, *, threads: int | None = None, render_mode: str | None = None) -> Batch:
        """Return the batch; physics run on `threads` native threads."""
        return _FunctionBatch(self, values, _MujocoDynamics(self, values, threads, render_mode))


class ClassFamily(TaskFamily):
    """A family around a plain Gymnasium environment with Box observations, one object a world, stepped in turn."""

    @abstractmethod
    def make(self, task: dict[str, Any], render_mode: str | None) -> Env[Any, Any]:
        """Return the environment of one task (numbers and lists by parameter name)."""

    @functools.cached_property
    def _spaces(self) -> tuple[spaces.Box, spaces.Box | spaces.Discrete]:
        env = self.make(self.sample("train", 1, seed=0)[0], None)
        observation, action = env.observation_space, env.action_space
        env.close()
        if not isinstance(observation, spaces.Box) or not isinstance(action, (spaces.Box, spaces.Discrete)):
            raise MetarlError(
                f"family {self.name!r} has spaces {observation} and {action}; observations must be a Box (see "
                "gymnasium.wrappers.FlattenObservation) and actions a Box or Discrete (see TransformAction)"
            )
        return observation, action

    @property
    def observation_space(self) -> spaces.Box:
        """The class's own."""
        return self._spaces[0]

    @property
    def action_space(self) -> spaces.Box | spaces.Discrete:
        """The class's own."""
        return self._spaces[1]

    def batch(self, values: Values, *, threads: int | None = None, render_mode: str | None = None) -> Batch:
        """Return the batch; plain classes run on the calling thread."""
        return _ClassBatch(self, values, render_mode)


class _FunctionBatch:
    """Worlds of a FunctionFamily."""

    def __init__(self, family: FunctionFamily, values: Values, dynamics: _Dynamics) -> None:
        self.family, self.values, self.dynamics = family, values, dynamics
        self.state: State = {}

    def reset(self, where: np.ndarray, streams: Streams) -> np.ndarray:
        fresh = self.dynamics.start(streams)
        self.state = fresh if where.all() or not self.state else _merge(where, fresh, self.state)
        return self.family.observation(self.state)

    def step(self, actions: np.ndarray, where: np.ndarray, streams: Streams) -> Step:
        from .vector import Step

        before, family = self.state, self.family
        after = self.dynamics.step(before, actions, where, streams)
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
        )

    def render(self, world: int) -> np.ndarray | None:
        return self.dynamics.render(self.state, world)

    def close(self) -> None:
        self.dynamics.close()


def _merge(where: np.ndarray, chosen: State, others: State) -> State:
    pick = {name: where.reshape(-1, *(1,) * (array.ndim - 1)) for name, array in chosen.items()}
    return {name: np.where(pick[name], array, others[name]) for name, array in chosen.items()}


class _ArrayDynamics:
    def __init__(self, family: ArrayFamily, values: Values, render_mode: str | None) -> None:
        self.family, self.values, self.render_mode = family, values, render_mode
        self._canvas: Any = None

    def start(self, streams: Streams) -> State:
        return self.family.initial(self.values, streams)

    def step(self, state: State, actions: np.ndarray, where: np.ndarray, streams: Streams) -> State:
        after = self.family.transition(state, actions, self.values, streams)
        return after if where.all() else _merge(where, after, state)

    def render(self, state: State, world: int) -> np.ndarray | None:
        from .render import AxesCanvas

        if self._canvas is None:
            self._canvas = AxesCanvas(self.render_mode)
        return self._canvas.render(lambda axes: self.family.draw(axes, state, self.values, world))

    def close(self) -> None:
        if self._canvas is not None:
            self._canvas.close()


@functools.lru_cache(maxsize=32)
def _compiled(family: MujocoFamily) -> mujoco.MjModel:
    from .physics import compile_model

    return compile_model(family.asset, family.sensors)


class _MujocoDynamics:
    def __init__(self, family: MujocoFamily, values: Values, threads: int | None, render_mode: str | None) -> None:
        from .physics import Worlds

        self.family, self.render_mode = family, render_mode
        num_worlds = len(next(iter(values.values())))
        self.worlds = Worlds(_models(family, values), num_worlds, family.frame_skip, threads)
        self._renderers: dict[int, Any] = {}

    def start(self, streams: Streams) -> State:
        return self.worlds.start(*self.family.initial(self.family.model, streams))

    def step(self, state: State, actions: np.ndarray, where: np.ndarray, streams: Streams) -> State:
        return self.worlds.step(state, actions, where)

    def render(self, state: State, world: int) -> np.ndarray | None:
        from .render import MujocoCanvas

        if world not in self._renderers:
            self._renderers[world] = MujocoCanvas(self.worlds.models[world], self.render_mode)
        return self._renderers[world].render(state["physics"][world])

    def close(self) -> None:
        for renderer in self._renderers.values():
            renderer.close()
        self.worlds.close()


def _models(family: MujocoFamily, values: Values) -> list[mujoco.MjModel]:
    """Return one model for all worlds, or one for each where tasks change the physics; replicas of a task share one."""
    from .physics import edited_model

    if type(family).edit_model is MujocoFamily.edit_model:
        return [family.model]
    made: dict[bytes, mujoco.MjModel] = {}
    models = []
    for world in range(len(next(iter(values.values())))):
        task = {name: value[world] for name, value in values.items()}
        key = b"".join(np.ascontiguousarray(value).tobytes() for value in task.values())
        if key not in made:
            made[key] = edited_model(family.model, functools.partial(family.edit_model, task=task))
        models.append(made[key])
    return models


class _ClassBatch:
    """Worlds of a ClassFamily."""

    def __init__(self, family: ClassFamily, values: Values, render_mode: str | None) -> None:
        self.family = family
        count = len(next(iter(values.values())))
        self.tasks = [{name: value[i].tolist() for name, value in values.items()} for i in range(count)]
        self.envs = [family.make(task, render_mode) for task in self.tasks]
        self.observations = np.zeros((count, *family.observation_space.shape), family.observation_space.dtype)

    def reset(self, where: np.ndarray, streams: Streams) -> np.ndarray:
        # A fresh seed for every episode, from the world's own stream: nothing random is left to the class.
        seeds = streams.integers(2**31)
        for i in np.flatnonzero(where):
            self.observations[i], _ = self.envs[i].reset(seed=int(seeds[i]))
        return self.observations

    def step(self, actions: np.ndarray, where: np.ndarray, streams: Streams) -> Step:
        from .vector import Step

        rewards = np.zeros(len(where))
        terminations, truncations, successes = (np.zeros(len(where), dtype=bool) for _ in range(3))
        knows_success = False
        for i in np.flatnonzero(where):
            self.observations[i], rewards[i], terminations[i], truncations[i], info = self.envs[i].step(actions[i])
            success = info.get("success", info.get("is_success"))
            if success is not None:
                knows_success, successes[i] = True, bool(success)
        return Step(self.observations, rewards, terminations, truncations, successes if knows_success else None)

    def render(self, world: int) -> np.ndarray | None:
        frame = self.envs[world].render()
        return frame if isinstance(frame, np.ndarray) else None

    def close(self) -> None:
        for env in self.envs:
            env.close()
