"""Families of MuJoCo worlds, which all step in one native call."""

from __future__ import annotations

import functools
from abc import abstractmethod
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from gymnasium import spaces

from ...base.errors import MetarlError
from ...base.streams import Streams
from ..batch import State
from ..functions import FunctionBatch, FunctionFamily
from ..model_files import fingerprint
from ..task import Parameter, Values
from .canvas import MujocoCanvas
from .changes import Change, Physics, apply
from .limbs import lengthen, limb_factors, move_floor

if TYPE_CHECKING:
    import mujoco

    from ..batch import Batch
    from .models import Blueprint, Sensors


class MujocoFamily(FunctionFamily):
    """A family of MuJoCo worlds with a model file that comes with Gymnasium.

    Where physics are the task, `physics` says which fields of the model each parameter changes. Every task then has a
    model of its own, and all worlds still step in one native call.
    """

    asset: ClassVar[str]
    """Model file: a name among Gymnasium's assets, or an absolute path."""
    frame_skip: ClassVar[int] = 5
    """Physics steps for each environment step."""
    timestep: ClassVar[float] = 0.0
    """Seconds of a physics step; 0 for the model file's own."""

    @property
    def sensors(self) -> Sensors:
        """Sensors to add to the model, by their name in the state: (type, object type, object name)."""
        return {}

    @property
    def derived(self) -> tuple[str, ...]:
        """Fields of mujoco.MjData that the state has after each step, of `subtree_com`, `cinert` and `cvel`."""
        return ()

    @property
    def reads_contacts(self) -> bool:
        """Whether the state has `cfrc_ext`, the contact wrench on each body [world, body, 6]: torque, N m; force, N."""
        return False

    @property
    def physics(self) -> Physics:
        """Physics that are the task. The default is none."""
        return Physics({})

    @property
    def parameters(self) -> Mapping[str, Parameter]:
        """The parameters of a task, by name. The default is those of the physics."""
        return self.physics.parameters

    @abstractmethod
    def initial(self, model: mujoco.MjModel, streams: Streams) -> tuple[np.ndarray, np.ndarray]:
        """Return the positions [world, nq] and velocities [world, nv] at the start of an episode."""

    def edit_model(self, model: mujoco.MjModel, task: Values) -> None:
        """Change `model` for one task (values without the batch axis). Derived constants are recomputed afterwards.

        Override this for changes that `physics` cannot express. Each task then has a model of its own.
        """

    @property
    def has_own_models(self) -> bool:
        """Whether each task has a model of its own."""
        return bool(self.physics.changes) or type(self).edit_model is not MujocoFamily.edit_model

    @property
    def model(self) -> mujoco.MjModel:
        """The compiled model, before any task's changes."""
        return _compile(self._blueprint)

    @property
    def _blueprint(self) -> Blueprint:
        from .models import Blueprint

        return Blueprint(self.asset, tuple(self.sensors.items()), self.reads_contacts, self.timestep, self._content)

    @functools.cached_property
    def _content(self) -> str:
        """Digest of a model file of one's own, so that an edited file is another model; '' for Gymnasium's."""
        return _digest_of(self.asset)

    @classmethod
    def model_digest(cls) -> str:
        """Return the digest of a model file of one's own with all files it refers to; '' for Gymnasium's."""
        asset = getattr(cls, "asset", None)  # a class may leave it to its subclasses, or make it a property
        return _digest_of(asset) if isinstance(asset, str) else ""

    @functools.cached_property
    def dt(self) -> float:
        """Seconds of one environment step."""
        return float(self.model.opt.timestep) * self.frame_skip

    @property
    def render_fps(self) -> int:
        """Steps a second at which an episode plays in its own time."""
        return round(1 / self.dt)

    @property
    def action_space(self) -> spaces.Box:
        """One number in the control range for each actuator."""
        low, high = self.model.actuator_ctrlrange.T.astype(np.float32)
        return spaces.Box(low, high, dtype=np.float32)

    def batch(self, values: Values, *, threads: int | None = None, render_mode: str | None = None) -> Batch:
        """Return the batch. Physics run on `threads` native threads (None: one a core)."""
        return self.varied_batch(values, {}, threads=threads, render_mode=render_mode)

    def varied_batch(
        self,
        values: Values,
        more: Mapping[str, tuple[Change, ...]],
        *,
        threads: int | None = None,
        render_mode: str | None = None,
    ) -> Batch:
        """Return the batch with `more` changes to the models, by parameters that are not the family's own."""
        changes = {**self.physics.changes, **more}
        return FunctionBatch(self, values, _MujocoDynamics(self, changes, values, threads, render_mode))


@functools.lru_cache(maxsize=32)
def _compile(blueprint: Blueprint) -> mujoco.MjModel:
    return blueprint.compile()


class _MujocoDynamics:
    """The `Dynamics` of a MujocoFamily. `changes` has the family's own and may have more, as for option `varies`."""

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
        self._models_by_task: dict[bytes, mujoco.MjModel] = {}
        self._scratch: mujoco.MjData | None = None
        self.worlds = Worlds(self._models(), self.num_worlds, family.frame_skip, threads, family.derived)
        self.delay = family.physics.delay
        self._longest_delay = _find_longest_delay(family, values) if self.delay else 0
        self._renderers: dict[int, Any] = {}

    @property
    def _varies(self) -> bool:
        """Whether tasks have models of their own."""
        return bool(self.changes) or self.family.has_own_models

    def _models(self) -> list[mujoco.MjModel]:
        """Return one model for all worlds, or one for each world where tasks change it. Replicas of a task share it."""
        if not self._varies:
            return [self.family.model]
        models = []
        for world in range(self.num_worlds):
            task = {name: value[world] for name, value in self.values.items()}
            key = b"".join(np.ascontiguousarray(value).tobytes() for value in task.values())
            if key not in self._models_by_task:
                self._models_by_task[key] = self._make_model(task)
            models.append(self._models_by_task[key])
        return models

    def _make_model(self, task: Values, *, textures: bool = False) -> mujoco.MjModel:
        """Return the model of one task (values without the batch axis)."""
        import mujoco

        from .models import edit_copy

        family, blueprint = self.family, self.family._blueprint
        factors = limb_factors(family.model, self.changes, task)
        if factors:
            model = blueprint.compile(functools.partial(lengthen, factors=factors), textures=textures)
            move_floor(model, family.model)
        else:
            model = blueprint.compile(textures=True) if textures else family.model

        def edit(model: mujoco.MjModel) -> None:
            apply(model, self.changes, task)
            family.edit_model(model, task)

        if self._scratch is None:
            self._scratch = mujoco.MjData(family.model)
        return edit_copy(model, edit, self._scratch)

    def start(self, state: State, where: np.ndarray, streams: Streams) -> State:
        chosen = np.flatnonzero(where)
        qpos, qvel = streams.at(chosen, functools.partial(self.family.initial, self.family.model))
        after = self._add_contacts(self.worlds.start(state, qpos, qvel, chosen))
        if self.delay:
            rest = np.zeros((self.num_worlds, self._longest_delay + 1, self.family.model.nu))
            after["sent"] = np.where(where[:, None, None], rest, state.get("sent", rest))
        return after

    def step(self, state: State, actions: np.ndarray, where: np.ndarray, streams: Streams) -> tuple[State, np.ndarray]:
        if not self.delay:
            after, unstable = self.worlds.step(state, actions, where)
            return self._add_contacts(after), unstable
        sent = np.concatenate([state["sent"][:, 1:], actions[:, None]], axis=1)
        arriving = sent.shape[1] - 1 - self.values[self.delay].astype(np.int64)
        after, unstable = self.worlds.step(state, sent[np.arange(self.num_worlds), arriving], where)
        return {**self._add_contacts(after), "sent": np.where(where[:, None, None], sent, state["sent"])}, unstable

    def _add_contacts(self, state: State) -> State:
        if self.family.reads_contacts:
            from .models import contact_wrenches

            state["cfrc_ext"] = contact_wrenches(state)
        return state

    def change(self, state: State, where: np.ndarray, values: Values) -> State:
        self.values = values
        if self.delay and (late := _find_longest_delay(self.family, values)) > self._longest_delay:
            raise MetarlError(
                f"task parameter {self.delay!r} becomes {late}; it must stay at most {self._longest_delay}, "
                "the longest delay when the environment was made"
            )
        chosen = np.flatnonzero(where)
        for world in chosen:
            if renderer := self._renderers.pop(int(world), None):
                renderer.close()
        if not self._varies:
            return state
        self.worlds.models = self._models()
        return self.worlds.derive(state, chosen) if state else state

    def render(self, state: State, world: int) -> np.ndarray | None:
        if world not in self._renderers:
            task = {name: value[world] for name, value in self.values.items()}
            self._renderers[world] = MujocoCanvas(self._make_model(task, textures=True), self.render_mode)
        return self._renderers[world].render(state["qpos"][world])

    def close(self) -> None:
        for renderer in self._renderers.values():
            renderer.close()
        self.worlds.close()


MAX_DELAY = 1000
"""Longest delay of controls that a task may have, in environment steps."""


def _find_longest_delay(family: MujocoFamily, values: Values) -> int:
    """Return the longest delay of any task that the worlds have or may switch to, in environment steps.

    Raises MetarlError for a delay other than a whole number from 0 to MAX_DELAY.
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


def _digest_of(asset: str) -> str:
    path = Path(asset)
    return fingerprint(path) if path.is_absolute() and path.is_file() else ""
