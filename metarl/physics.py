"""Many MuJoCo worlds in one native call, each with its own model where the physics differ."""

from __future__ import annotations

import copy
import os
import threading
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np

from .cores import available_threads
from .errors import MetarlError

try:
    import mujoco
    from mujoco.rollout import Rollout
except (AttributeError, ImportError, RuntimeError) as error:
    # Imported, MuJoCo loads what MUJOCO_GL names, whether anything is to be drawn or not.
    if "MUJOCO_GL" not in os.environ:
        raise
    raise MetarlError(
        f"MuJoCo does not load with MUJOCO_GL={os.environ['MUJOCO_GL']} ({error}); unset it, and metarl takes what draws here"
    ) from error

State = dict[str, np.ndarray]
"""State of a batch of worlds by name, each array's first axis the world."""

ASSETS = Path(gymnasium.__file__).parent / "envs" / "mujoco" / "assets"
"""Model files that come with Gymnasium."""

Sensors = Mapping[str, tuple[mujoco.mjtSensor, mujoco.mjtObj, str]]
"""Sensors to add to a model by name: type, object type, object name."""


_COMPILING = threading.Lock()
"""Held while a model is compiled: Python's filters of warnings are the process's, and worlds of several shards may change."""


@dataclass(frozen=True)
class Blueprint:
    """What a model is compiled from."""

    asset: str
    """Name of the model file among Gymnasium's assets."""
    sensors: tuple[tuple[str, tuple[mujoco.mjtSensor, mujoco.mjtObj, str]], ...] = ()
    """Sensors to add, by name."""
    contact_forces: bool = False
    """Whether to add what `contact_wrenches` reads."""
    timestep: float = 0.0
    """Seconds of a physics step; 0 for the file's own."""

    def spec(self, *, textures: bool = False) -> mujoco.MjSpec:
        """Return the editable description, each body named; a model without textures is copied in half the time."""
        spec = mujoco.MjSpec.from_file(str(ASSETS / self.asset))
        spec.option.timestep = self.timestep or spec.option.timestep
        for number, body in enumerate(spec.bodies):
            body.name = body.name or f"body{number}"
        for name, (kind, object_type, object_name) in self.sensors:
            spec.add_sensor(name=name, type=kind, objtype=object_type, objname=object_name)
        if self.contact_forces:
            _add_contact_sensors(spec)
        if not textures:
            _strip(spec)
        return spec

    def compile(self, edit: Callable[[mujoco.MjSpec], None] | None = None, *, textures: bool = False) -> mujoco.MjModel:
        """Return the compiled model, its description changed by `edit` before.

        A file may fix the total mass, for which the compiler scales all bodies: after an edit by as much as before, so
        that what was not edited keeps its mass.
        """
        with _COMPILING:
            return self._compile(edit, textures=textures)

    def _compile(self, edit: Callable[[mujoco.MjSpec], None] | None, *, textures: bool) -> mujoco.MjModel:
        spec, factor = self.spec(textures=textures), 1.0
        if edit is not None:
            total = spec.compiler.settotalmass
            if total > 0:
                spec.compiler.settotalmass = -1
                factor = total / spec.copy().compile().body_mass.sum()
            edit(spec)
        with warnings.catch_warnings():
            # Gymnasium's asset, not the user, is to blame for it.
            warnings.filterwarnings("ignore", "compiler attribute 'settotalmass' is deprecated")
            model = spec.compile()
        model.body_mass *= factor
        model.body_inertia *= factor
        return model


def _strip(spec: mujoco.MjSpec) -> None:
    for geom in spec.geoms:
        geom.material = ""
    for thing in (*spec.materials, *spec.textures):
        if hasattr(spec, "delete"):
            spec.delete(thing)
        else:  # MuJoCo before 3.3.1
            thing.delete()


ROOT_COM = "root_com"
"""Name of the sensor of the whole body's centre of mass that goes with the contact sensors."""
CONTACTS = "contacts"
"""Name of all contact sensors' readings in the state; a sensor's own name has the body's behind it."""


def _add_contact_sensors(spec: mujoco.MjSpec) -> None:
    if not hasattr(mujoco.mjtSensor, "mjSENS_CONTACT"):
        raise MetarlError(
            f"MuJoCo {mujoco.__version__} has no contact sensors; install mujoco>=3.3.5, or take a preset of the "
            "family that reads no contact forces"
        )
    parts = mujoco.mjtConDataField
    wanted = (parts.mjCONDATA_FORCE, parts.mjCONDATA_TORQUE, parts.mjCONDATA_POS)
    bodies = [body.name for body in spec.bodies[1:]]
    spec.add_sensor(
        name=ROOT_COM,
        type=mujoco.mjtSensor.mjSENS_SUBTREECOM,
        objtype=mujoco.mjtObj.mjOBJ_BODY,
        objname=bodies[0],
    )
    for body in bodies:
        sensor = spec.add_sensor(
            name=f"{CONTACTS}/{body}",
            type=mujoco.mjtSensor.mjSENS_CONTACT,
            objtype=mujoco.mjtObj.mjOBJ_BODY,
            objname=body,
        )
        # What to report, how to reduce it (3: the net wrench of all contacts at their common centre), how many.
        sensor.intprm[:3] = sum(1 << int(part) for part in wanted), 3, 1


def contact_wrenches(state: State) -> np.ndarray:
    """Return the contact wrench on each body, float64 [world, body, 6]: torque about the centre of mass, N m; force, N.

    The same as MuJoCo's `cfrc_ext`, whose first row, the world's, is zero; read at the start of the last substep.
    """
    readings = state[CONTACTS].reshape(len(state["physics"]), -1, 9)
    force, torque, place = readings[..., :3], readings[..., 3:6], readings[..., 6:]
    arm = place - state[ROOT_COM][:, None]
    torque = torque + np.stack(
        [arm[..., j] * force[..., k] - arm[..., k] * force[..., j] for j, k in ((1, 2), (2, 0), (0, 1))], axis=-1
    )  # np.cross takes three times as long
    # The sensor tells what the body does to the ground; where there is no contact it reads zero in all.
    wrenches = np.zeros((len(force), force.shape[1] + 1, 6))
    wrenches[:, 1:, :3], wrenches[:, 1:, 3:] = -torque, -force
    return wrenches


def edited_model(
    model: mujoco.MjModel, edit: Callable[[mujoco.MjModel], None], scratch: mujoco.MjData | None = None
) -> mujoco.MjModel:
    """Return a copy of `model` changed by `edit`, its derived constants computed anew.

    Without `mj_setConst`, masses changed by hand leave inverse inertias and contact scalings of the old model behind.
    `scratch` is any data of a model of the same size: making it takes longer than all the rest.
    """
    edited = copy.copy(model)
    edit(edited)
    mujoco.mj_setConst(edited, mujoco.MjData(edited) if scratch is None else scratch)
    return edited


class _Quiet:
    """Keeps MuJoCo from printing, and from writing a file into the current folder, when it gives up on a world.

    Its handler of warnings is one for all threads: the first to come in sets it, the last to leave puts the old one back.
    """

    def __init__(self) -> None:
        self._lock, self._inside = threading.Lock(), 0
        self._before: Any = None

    def __enter__(self) -> None:
        with self._lock:
            if self._inside == 0:
                self._before = mujoco.get_mju_user_warning()
                mujoco.set_mju_user_warning(_say_nothing)
            self._inside += 1

    def __exit__(self, *error: object) -> None:
        with self._lock:
            self._inside -= 1
            if self._inside == 0:
                mujoco.set_mju_user_warning(self._before)


_QUIET = _Quiet()


def _say_nothing(message: str) -> None:
    """The caller is told by a flag."""


def lowest_point(model: mujoco.MjModel) -> float:
    """Return the height in m of the lowest point of what is not fixed to the world, in the model's default position."""
    data = mujoco.MjData(model)
    mujoco.mj_kinematics(model, data)
    lows = []
    for geom in np.flatnonzero(model.geom_bodyid > 0):
        is_capsule = model.geom_type[geom] == mujoco.mjtGeom.mjGEOM_CAPSULE
        reach = abs(data.geom_xmat[geom, 8]) * model.geom_size[geom, 1] + model.geom_size[geom, 0]
        lows.append(data.geom_xpos[geom, 2] - (reach if is_capsule else model.geom_rbound[geom]))
    return float(min(lows))


class Worlds:
    """`num_worlds` MuJoCo worlds that step together on native threads.

    One `mujoco.rollout` call a step covers all worlds and all substeps. The constraint solver starts cold in every
    call, so a world's next state follows from its state and control alone, whatever ran beside it or before it.
    """

    def __init__(
        self,
        models: Sequence[mujoco.MjModel],
        num_worlds: int,
        frame_skip: int,
        threads: int | None = None,
        derived: Sequence[str] = (),
    ) -> None:
        """Take one model for all worlds, or one for each. `threads`: None for one a core, 0 for the calling thread.

        `derived` names those of mujoco.MjData's fields `subtree_com`, `cinert` and `cvel` that the state has as they are
        after each step, each [world, body, ...].
        """
        self.models = list(models) * num_worlds if len(models) == 1 else list(models)
        self.frame_skip = frame_skip
        self.derived = tuple(derived)
        model = self.models[0]
        threads = min(available_threads(), num_worlds) if threads is None else threads
        self._rollout = Rollout(nthread=threads)
        self._data = [mujoco.MjData(model) for _ in range(max(threads, 1))]
        size = mujoco.mj_stateSize(model, mujoco.mjtState.mjSTATE_FULLPHYSICS)
        # All substeps but half of one: what a world's clock has gained that MuJoCo has not put back.
        self._least_time = (frame_skip - 0.5) * model.opt.timestep
        self._controls = np.empty((num_worlds, frame_skip, model.nu))
        self._states = np.empty((num_worlds, frame_skip, size))
        self._sensordata = np.empty((num_worlds, frame_skip, model.nsensordata))
        self._qpos = slice(1, 1 + model.nq)  # after the time
        self._qvel = slice(1 + model.nq, 1 + model.nq + model.nv)
        self._sensors: dict[str, slice] = {}
        for i in range(model.nsensor):
            name, first = model.sensor(i).name, model.sensor_adr[i]
            if name.startswith(f"{CONTACTS}/"):  # one behind the other: one name for all
                name, first = CONTACTS, self._sensors.get(CONTACTS, slice(first, first)).start
            self._sensors[name] = slice(first, model.sensor_adr[i] + model.sensor_dim[i])

    def _named(self, physics: np.ndarray, sensordata: np.ndarray, state: State, chosen: np.ndarray | None) -> State:
        """Return the state by name: views into the full physics state and the sensor readings.

        What is derived is computed for the worlds `chosen` (None: all), and taken from `state` for the others.
        """
        named = {
            "physics": physics,
            "sensordata": sensordata,
            "qpos": physics[:, self._qpos],
            "qvel": physics[:, self._qvel],
        }
        for name, place in self._sensors.items():
            named[name] = sensordata[:, place]
        return {**named, **self._derivations(named, state, chosen)} if self.derived else named

    def _derivations(self, now: State, before: State, chosen: np.ndarray | None) -> State:
        """Return the fields of `derived`, each [world, body, ...]."""
        data, qpos, qvel = self._data[0], now["qpos"], now["qvel"]
        places, speeds, moves = data.qpos, data.qvel, "cvel" in self.derived
        fields = {name: getattr(data, name) for name in self.derived}
        if chosen is None:
            derived = {name: np.empty((len(qpos), *field.shape)) for name, field in fields.items()}
        else:
            derived = {name: before[name].copy() for name in fields}
        rows = [(derived[name], field) for name, field in fields.items()]
        for world in range(len(qpos)) if chosen is None else chosen.tolist():
            model = self.models[world]
            places[:] = qpos[world]
            mujoco.mj_kinematics(model, data)
            mujoco.mj_comPos(model, data)
            if moves:
                speeds[:] = qvel[world]
                mujoco.mj_comVel(model, data)
            for values, field in rows:
                values[world] = field
        return derived

    def start(self, state: State, qpos: np.ndarray, qvel: np.ndarray, chosen: np.ndarray) -> State:
        """Return `state` with the worlds `chosen`, int64 [n], at rest in time with positions [n, nq], velocities [n, nv].

        `state` may be empty where all worlds are chosen. Sensors of the chosen ones are read afresh.
        """
        count = len(self.models)
        physics = state["physics"].copy() if state else np.zeros((count, self._states.shape[-1]))
        sensordata = state["sensordata"].copy() if state else np.zeros((count, self._sensordata.shape[-1]))
        physics[chosen] = 0.0
        # Not zero, from which a world that MuJoCo has put back could not be told.
        physics[chosen, 0] = self.frame_skip * self.models[0].opt.timestep
        physics[chosen, self._qpos], physics[chosen, self._qvel] = qpos, qvel
        if sensordata.size:
            data = self._data[0]  # as good as new once reset; a new one for each world takes 30 times as long
            for world in chosen.tolist():
                model = self.models[world]
                mujoco.mj_resetData(model, data)
                mujoco.mj_setState(model, data, physics[world], mujoco.mjtState.mjSTATE_FULLPHYSICS)
                mujoco.mj_forward(model, data)
                sensordata[world] = data.sensordata
        return self._named(physics, sensordata, state, chosen if state else None)

    def step(self, state: State, controls: np.ndarray, where: np.ndarray) -> tuple[State, np.ndarray]:
        """Return the state after `frame_skip` substeps under constant controls [world, nu] in the worlds of `where`.

        Also returns where the physics became unstable, bool [world]: MuJoCo would put such a world back to its
        model's default; here it stays as it was before the step. Sensors read what MuJoCo computed at the start of the
        last substep.
        """
        if not where.any():
            return state, np.zeros_like(where)  # mujoco.rollout crashes on an empty list of models
        everyone = bool(where.all())
        chosen = slice(None) if everyone else np.flatnonzero(where)
        models = self.models if everyone else [self.models[i] for i in chosen]  # type: ignore[union-attr]
        count = len(models)
        before = np.ascontiguousarray(state["physics"][chosen])
        self._controls[:count] = controls[chosen, None]
        with _QUIET:
            self._rollout.rollout(
                models,
                self._data,
                before,
                self._controls[:count],
                nstep=self.frame_skip,
                skip_checks=True,
                # Two pieces a thread: the default's many small ones cost a tenth, and one alone waits for the slowest.
                chunk_size=max(1, count // (2 * len(self._data))),
                state=self._states[:count],
                sensordata=self._sensordata[:count],
            )
        after, sensordata = self._states[:count, -1].copy(), self._sensordata[:count, -1].copy()
        # A world that MuJoCo has put back has begun to count its time anew; one it has not may hold no number at all.
        unstable = ~np.isfinite(after).all(axis=1) | (after[:, 0] < before[:, 0] + self._least_time)
        if unstable.any():
            after[unstable] = before[unstable]
            sensordata[unstable] = state["sensordata"][chosen][unstable]
        if everyone:
            return self._named(after, sensordata, state, None), unstable
        physics, readings, fell = state["physics"].copy(), state["sensordata"].copy(), np.zeros_like(where)
        physics[chosen], readings[chosen], fell[chosen] = after, sensordata, unstable
        return self._named(physics, readings, state, np.flatnonzero(where)), fell

    def rederived(self, state: State, chosen: np.ndarray) -> State:
        """Return `state` with what is derived computed anew in the worlds `chosen`, int64 [n], whose models changed."""
        return {**state, **self._derivations(state, state, chosen)} if self.derived else state

    def close(self) -> None:
        """Stop the threads."""
        self._rollout.close()
