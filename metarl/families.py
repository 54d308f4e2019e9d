"""Ways to write a family: as functions of arrays, as a MuJoCo model, or around a plain Gymnasium class."""

from __future__ import annotations

import functools
from abc import abstractmethod
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar, Protocol

import numpy as np
from gymnasium import Env, spaces

from .dynamics import Change, Physics, apply, lengthen, limbs
from .errors import MetarlError
from .streams import Streams
from .task import Parameter, TaskFamily, Values

if TYPE_CHECKING:
    import mujoco
    from matplotlib.axes import Axes

    from .physics import Blueprint, Sensors
    from .vector import Batch, Step

State = dict[str, np.ndarray]
"""State of a batch of worlds by name, each array's first axis the world."""


class _Dynamics(Protocol):
    """How the states of a batch of worlds begin and go on."""

    def start(self, state: State, where: np.ndarray, streams: Streams) -> State: ...
    def step(
        self, state: State, actions: np.ndarray, where: np.ndarray, streams: Streams
    ) -> tuple[State, np.ndarray | None]: ...
    def change(self, state: State, where: np.ndarray, values: Values) -> State: ...
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
        return _FunctionBatch(self, values, _ArrayDynamics(self, values, render_mode))


class MujocoFamily(FunctionFamily):
    """A family of MuJoCo worlds on a model file that comes with Gymnasium.

    Where physics are the task, `physics` says which fields of the model each parameter acts on; every task then has a
    model of its own, and all worlds still step in one native call.
    """

    asset: ClassVar[str]
    """Name of the model file among Gymnasium's assets."""
    frame_skip: ClassVar[int] = 5
    """Physics steps for each environment step."""
    timestep: ClassVar[float] = 0.0
    """Seconds of a physics step; 0 for the model file's own."""

    @property
    def sensors(self) -> Sensors:
        """Sensors to add to the model, by the name they have in the state: (type, object type, object name)."""
        return {}

    @property
    def derived(self) -> tuple[str, ...]:
        """Fields of mujoco.MjData to have in the state as they are after each step: see `metarl.physics.DERIVED`."""
        return ()

    @property
    def reads_contacts(self) -> bool:
        """Whether the state has `cfrc_ext`, the contact wrench on each body [world, body, 6]: torque, N m; force, N."""
        return False

    @property
    def physics(self) -> Physics:
        """What of the physics is the task: nothing, unless the family says so."""
        return Physics({})

    @property
    def parameters(self) -> Mapping[str, Parameter]:
        """Those of the physics, unless the family has others."""
        return self.physics.parameters

    @abstractmethod
    def initial(self, model: mujoco.MjModel, streams: Streams) -> tuple[np.ndarray, np.ndarray]:
        """Return the positions [world, nq] and velocities [world, nv] at the start of an episode."""

    def edit_model(self, model: mujoco.MjModel, task: Values) -> None:
        """Change `model` for one task (values without the batch axis). Derived constants are recomputed afterwards.

        For what `physics` cannot say. A family that overrides this gets a model of its own for each task.
        """

    @property
    def model(self) -> mujoco.MjModel:
        """The compiled model, before any task's changes."""
        return _compiled(self._blueprint)

    @property
    def _blueprint(self) -> Blueprint:
        from .physics import Blueprint

        return Blueprint(self.asset, tuple(self.sensors.items()), self.reads_contacts, self.timestep)

    @functools.cached_property
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
        return self.varied_batch(values, {}, threads=threads, render_mode=render_mode)

    def varied_batch(
        self,
        values: Values,
        more: Mapping[str, tuple[Change, ...]],
        *,
        threads: int | None = None,
        render_mode: str | None = None,
    ) -> Batch:
        """Return the batch with `more` changes to the models, by parameters that the family itself does not know."""
        changes = {**self.physics.changes, **more}
        return _FunctionBatch(self, values, _MujocoDynamics(self, changes, values, threads, render_mode))


def usable_spaces(
    name: str, observation: spaces.Space[Any], action: spaces.Space[Any], wrappers: str
) -> tuple[spaces.Box, spaces.Box | spaces.Discrete]:
    """Return both spaces. Raises MetarlError that names the remedy in `wrappers` where agents do not take them."""
    if not isinstance(observation, spaces.Box) or not isinstance(action, (spaces.Box, spaces.Discrete)):
        raise MetarlError(
            f"family {name!r} has spaces {observation} and {action}; observations must be a Box (see "
            f"{wrappers}.FlattenObservation) and actions a Box or Discrete (see TransformAction)"
        )
    return observation, action


class ClassFamily(TaskFamily):
    """A family around a plain Gymnasium environment with Box observations, one object a world, stepped in turn."""

    @abstractmethod
    def make(self, task: dict[str, Any], render_mode: str | None) -> Env[Any, Any]:
        """Return the environment of one task (numbers and lists by parameter name)."""

    def change(self, env: Env[Any, Any], task: dict[str, Any]) -> None:
        """Give a running environment another task in mid-episode. Raises MetarlError unless the family says how."""
        raise self._unchangeable

    def require_changeable(self) -> None:
        """Raise MetarlError unless the family says how a running environment changes."""
        if type(self).change is ClassFamily.change:
            raise self._unchangeable

    @property
    def _unchangeable(self) -> MetarlError:
        return MetarlError(
            f"family {self.name!r} does not say how the task of a running environment changes; write its method "
            "`change(env, task)`, or load it without switch_at"
        )

    @functools.cached_property
    def _spaces(self) -> tuple[spaces.Box, spaces.Box | spaces.Discrete]:
        env = self.make(self.sample("train", 1, seed=0)[0], None)
        env.close()
        return usable_spaces(self.name, env.observation_space, env.action_space, "gymnasium.wrappers")

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

    def begin(self) -> None:
        """Nothing of a trial is kept here beyond its episodes."""

    def reset(self, where: np.ndarray, streams: Streams) -> np.ndarray:
        self.state = self.dynamics.start(self.state, where if self.state else np.ones_like(where), streams)
        return self.family.observation(self.state)

    def step(self, actions: np.ndarray, where: np.ndarray, streams: Streams) -> Step:
        from .vector import Step

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
        self.values = _merge(where, dict(values), dict(self.values))
        self.state = self.dynamics.change(self.state, where, self.values)

    def render(self, world: int) -> np.ndarray | None:
        return self.dynamics.render(self.state, world)

    def close(self) -> None:
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
        from .render import AxesCanvas

        if self._canvas is None:
            self._canvas = AxesCanvas(self.render_mode)
        return self._canvas.render(lambda axes: self.family.draw(axes, state, self.values, world))

    def close(self) -> None:
        if self._canvas is not None:
            self._canvas.close()


@functools.lru_cache(maxsize=32)
def _compiled(blueprint: Blueprint) -> mujoco.MjModel:
    return blueprint.compile()


class _MujocoDynamics:
    """Worlds of a MuJoCo family. `changes` may hold more than the family's own, for parameters it does not know."""

    def __init__(
        self,
        family: MujocoFamily,
        changes: Mapping[str, tuple[Change, ...]],
        values: Values,
        threads: int | None,
        render_mode: str | None,
    ) -> None:
        from .physics import Worlds

        self.family, self.changes, self.values, self.render_mode = family, changes, values, render_mode
        self.num_worlds = len(next(iter(values.values())))
        self._made: dict[bytes, mujoco.MjModel] = {}
        self._scratch: mujoco.MjData | None = None
        self.worlds = Worlds(self._models(), self.num_worlds, family.frame_skip, threads, family.derived)
        self.delay = family.physics.delay
        self._longest_delay = _longest(family, values) if self.delay else 0
        self._renderers: dict[int, Any] = {}

    @property
    def _varies(self) -> bool:
        """Whether tasks have models of their own."""
        return bool(self.changes) or type(self.family).edit_model is not MujocoFamily.edit_model

    def _models(self) -> list[mujoco.MjModel]:
        """Return one model for all worlds, or one a world where tasks change it; replicas of a task share one."""
        if not self._varies:
            return [self.family.model]
        models = []
        for world in range(self.num_worlds):
            task = {name: value[world] for name, value in self.values.items()}
            key = b"".join(np.ascontiguousarray(value).tobytes() for value in task.values())
            if key not in self._made:
                self._made[key] = self._model(task)
            models.append(self._made[key])
        return models

    def _model(self, task: Values, *, textures: bool = False) -> mujoco.MjModel:
        """Return the model of one task (values without the batch axis)."""
        import mujoco

        from .physics import edited_model

        family, blueprint = self.family, self.family._blueprint
        factors = limbs(family.model, self.changes, task)
        if factors:
            model = blueprint.compile(functools.partial(lengthen, factors=factors), textures=textures)
            _move_floor(model, family.model)
        else:
            model = blueprint.compile(textures=True) if textures else family.model

        def edit(model: mujoco.MjModel) -> None:
            apply(model, self.changes, task)
            family.edit_model(model, task)

        if self._scratch is None:
            self._scratch = mujoco.MjData(family.model)
        return edited_model(model, edit, self._scratch)

    def start(self, state: State, where: np.ndarray, streams: Streams) -> State:
        chosen = np.flatnonzero(where)
        qpos, qvel = streams.at(chosen, functools.partial(self.family.initial, self.family.model))
        begun = self._with_contacts(self.worlds.start(state, qpos, qvel, chosen))
        if self.delay:
            rest = np.zeros((self.num_worlds, self._longest_delay + 1, self.family.model.nu))
            begun["sent"] = np.where(where[:, None, None], rest, state.get("sent", rest))
        return begun

    def step(self, state: State, actions: np.ndarray, where: np.ndarray, streams: Streams) -> tuple[State, np.ndarray]:
        if not self.delay:
            after, unstable = self.worlds.step(state, actions, where)
            return self._with_contacts(after), unstable
        sent = np.concatenate([state["sent"][:, 1:], actions[:, None]], axis=1)
        arriving = sent.shape[1] - 1 - self.values[self.delay].astype(np.int64)
        after, unstable = self.worlds.step(state, sent[np.arange(self.num_worlds), arriving], where)
        return {**self._with_contacts(after), "sent": np.where(where[:, None, None], sent, state["sent"])}, unstable

    def _with_contacts(self, state: State) -> State:
        if self.family.reads_contacts:
            from .physics import contact_wrenches

            state["cfrc_ext"] = contact_wrenches(state)
        return state

    def change(self, state: State, where: np.ndarray, values: Values) -> State:
        self.values = values
        if self.delay and (late := _longest(self.family, values)) > self._longest_delay:
            raise MetarlError(
                f"task parameter {self.delay!r} becomes {late}; at most {self._longest_delay} are kept here"
            )
        chosen = np.flatnonzero(where)
        for world in chosen:
            if renderer := self._renderers.pop(int(world), None):
                renderer.close()
        if not self._varies:
            return state
        self.worlds.models = self._models()
        return self.worlds.rederived(state, chosen) if state else state

    def render(self, state: State, world: int) -> np.ndarray | None:
        from .render import MujocoCanvas

        if world not in self._renderers:
            task = {name: value[world] for name, value in self.values.items()}
            self._renderers[world] = MujocoCanvas(self._model(task, textures=True), self.render_mode)
        return self._renderers[world].render(state["qpos"][world])

    def close(self) -> None:
        for renderer in self._renderers.values():
            renderer.close()
        self.worlds.close()


MAX_DELAY = 1000
"""Longest delay of controls, in environment steps, that is kept."""


def _longest(family: MujocoFamily, values: Values) -> int:
    """Return the longest delay of any task, of which a switch may come to the worlds in mid-episode.

    Raises MetarlError for one that is no whole number from 0 to MAX_DELAY.
    """
    name = family.physics.delay
    given = values[name]
    wrong = given[(given != np.floor(given)) | (given < 0) | (given > MAX_DELAY)]
    if wrong.size:
        raise MetarlError(
            f"task parameter {name!r} is {wrong[0]:g}; it must be a whole number of steps, 0 to {MAX_DELAY}"
        )
    distributions = filter(None, (family.parameters[name].train, family.parameters[name].extrapolation))
    return int(max(given.max(), *(distribution.range[1] for distribution in distributions)))


def _move_floor(model: mujoco.MjModel, original: mujoco.MjModel) -> None:
    """Move the floor until a body whose limbs were lengthened stands on it as the original does.

    Not the body: its height is observed, and would tell the task.
    """
    import mujoco

    from .physics import lowest_point

    floors = (model.geom_bodyid == 0) & (model.geom_type == mujoco.mjtGeom.mjGEOM_PLANE)
    model.geom_pos[floors, 2] += lowest_point(model) - lowest_point(original)


class _ClassBatch:
    """Worlds of a ClassFamily."""

    def __init__(self, family: ClassFamily, values: Values, render_mode: str | None) -> None:
        self.family = family
        count = len(next(iter(values.values())))
        self.tasks = [{name: value[i].tolist() for name, value in values.items()} for i in range(count)]
        self.envs = [family.make(task, render_mode) for task in self.tasks]
        self.observations = np.zeros((count, *family.observation_space.shape), family.observation_space.dtype)

    def begin(self) -> None:
        """Nothing of a trial is kept here beyond its episodes."""

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

    def change(self, where: np.ndarray, values: Values) -> None:
        for i in np.flatnonzero(where):
            self.family.change(self.envs[i], {name: value[i].tolist() for name, value in values.items()})

    def render(self, world: int) -> np.ndarray | None:
        frame = self.envs[world].render()
        return frame if isinstance(frame, np.ndarray) else None

    def close(self) -> None:
        for env in self.envs:
            env.close()
