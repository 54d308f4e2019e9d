"""Families of MuJoCo worlds, all of which step in one native call, each with its own model where physics are the task."""

from __future__ import annotations

import functools
from abc import abstractmethod
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from gymnasium import spaces

from ...base.errors import MetarlError
from ...base.streams import Streams
from ..batch import State
from ..functions import FunctionBatch, FunctionFamily
from ..task import Parameter, Values
from .canvas import MujocoCanvas
from .changes import Change, Physics, apply, lengthen, limbs

if TYPE_CHECKING:
    import mujoco

    from ..batch import Batch
    from .models import Blueprint, Sensors


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
        """Fields of mujoco.MjData to have in the state as they are after each step: `subtree_com`, `cinert`, `cvel`."""
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
    def has_own_models(self) -> bool:
        """Whether each task has a model of its own."""
        return bool(self.physics.changes) or type(self).edit_model is not MujocoFamily.edit_model

    @property
    def model(self) -> mujoco.MjModel:
        """The compiled model, before any task's changes."""
        return _compiled(self._blueprint)

    @property
    def _blueprint(self) -> Blueprint:
        from .models import Blueprint

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
        return FunctionBatch(self, values, _MujocoDynamics(self, changes, values, threads, render_mode))


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
        from .worlds import Worlds

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
        return bool(self.changes) or self.family.has_own_models

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

        from .models import edited_model

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
            from .models import contact_wrenches

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

    from .models import lowest_point

    floors = (model.geom_bodyid == 0) & (model.geom_type == mujoco.mjtGeom.mjGEOM_PLANE)
    model.geom_pos[floors, 2] += lowest_point(model) - lowest_point(original)
