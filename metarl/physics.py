"""Many MuJoCo worlds in one native call, each with its own model where the physics differ."""

from __future__ import annotations

import copy
import os
import warnings
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import gymnasium
import mujoco
import numpy as np
from mujoco.rollout import Rollout

State = dict[str, np.ndarray]
"""State of a batch of worlds by name, each array's first axis the world."""

ASSETS = Path(gymnasium.__file__).parent / "envs" / "mujoco" / "assets"
"""Model files that come with Gymnasium."""


def available_threads() -> int:
    """Return the number of cores this process may run on."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def compile_model(asset: str, sensors: Mapping[str, tuple[mujoco.mjtSensor, mujoco.mjtObj, str]]) -> mujoco.MjModel:
    """Return the model of one of Gymnasium's asset files, with `sensors` (type, object type, object name) added."""
    spec = mujoco.MjSpec.from_file(str(ASSETS / asset))
    for name, (kind, object_type, object_name) in sensors.items():
        spec.add_sensor(name=name, type=kind, objtype=object_type, objname=object_name)
    with warnings.catch_warnings():
        # Gymnasium's asset, not the user, is to blame for it.
        warnings.filterwarnings("ignore", "compiler attribute 'settotalmass' is deprecated")
        return spec.compile()


def edited_model(model: mujoco.MjModel, edit: Callable[[mujoco.MjModel], None]) -> mujoco.MjModel:
    """Return a copy of `model` changed by `edit`, its derived constants computed anew.

    Without `mj_setConst`, masses changed by hand leave inverse inertias and contact scalings of the old model behind.
    """
    edited = copy.copy(model)
    edit(edited)
    mujoco.mj_setConst(edited, mujoco.MjData(edited))
    return edited


class Worlds:
    """`num_worlds` MuJoCo worlds that step together on native threads.

    One `mujoco.rollout` call a step covers all worlds and all substeps. The constraint solver starts cold in every
    call, so a world's next state follows from its state and control alone, whatever ran beside it or before it.
    """

    def __init__(
        self, models: Sequence[mujoco.MjModel], num_worlds: int, frame_skip: int, threads: int | None = None
    ) -> None:
        """Take one model for all worlds, or one for each. `threads`: None for one a core, 0 for the calling thread."""
        self.models = list(models) * num_worlds if len(models) == 1 else list(models)
        self.frame_skip = frame_skip
        model = self.models[0]
        threads = min(available_threads(), num_worlds) if threads is None else threads
        self._rollout = Rollout(nthread=threads)
        self._data = [mujoco.MjData(model) for _ in range(max(threads, 1))]
        size = mujoco.mj_stateSize(model, mujoco.mjtState.mjSTATE_FULLPHYSICS)
        self._controls = np.empty((num_worlds, frame_skip, model.nu))
        self._states = np.empty((num_worlds, frame_skip, size))
        self._sensordata = np.empty((num_worlds, frame_skip, model.nsensordata))
        self._qpos = slice(1, 1 + model.nq)  # after the time
        self._qvel = slice(1 + model.nq, 1 + model.nq + model.nv)
        self._sensors = {
            model.sensor(i).name: slice(model.sensor_adr[i], model.sensor_adr[i] + model.sensor_dim[i])
            for i in range(model.nsensor)
        }

    def _named(self, physics: np.ndarray, sensordata: np.ndarray) -> State:
        """Return the state by name: views into the full physics state and the sensor readings."""
        state = {
            "physics": physics,
            "sensordata": sensordata,
            "qpos": physics[:, self._qpos],
            "qvel": physics[:, self._qvel],
        }
        for name, place in self._sensors.items():
            state[name] = sensordata[:, place]
        return state

    def start(self, qpos: np.ndarray, qvel: np.ndarray) -> State:
        """Return the state at rest in time with positions [world, nq] and velocities [world, nv], sensors read afresh."""
        physics = np.zeros((len(qpos), self._states.shape[-1]))
        physics[:, self._qpos], physics[:, self._qvel] = qpos, qvel
        sensordata = np.zeros((len(qpos), self._sensordata.shape[-1]))
        if sensordata.size:
            data = self._data[0]  # as good as new once reset; a new one for each world takes 30 times as long
            for world, model in enumerate(self.models):
                mujoco.mj_resetData(model, data)
                mujoco.mj_setState(model, data, physics[world], mujoco.mjtState.mjSTATE_FULLPHYSICS)
                mujoco.mj_forward(model, data)
                sensordata[world] = data.sensordata
        return self._named(physics, sensordata)

    def step(self, state: State, controls: np.ndarray, where: np.ndarray) -> State:
        """Return the state after `frame_skip` substeps under constant controls [world, nu] in the worlds of `where`.

        Sensors read what MuJoCo computed at the start of the last substep, as Gymnasium's own environments do.
        """
        if not where.any():
            return state  # mujoco.rollout crashes on an empty list of models
        everyone = where.all()
        chosen = slice(None) if everyone else np.flatnonzero(where)
        models = self.models if everyone else [self.models[i] for i in chosen]  # type: ignore[union-attr]
        count = len(models)
        self._controls[:count] = controls[chosen, None]
        self._rollout.rollout(
            models,
            self._data,
            np.ascontiguousarray(state["physics"][chosen]),
            self._controls[:count],
            nstep=self.frame_skip,
            skip_checks=True,
            state=self._states[:count],
            sensordata=self._sensordata[:count],
        )
        if everyone:
            return self._named(self._states[:, -1].copy(), self._sensordata[:, -1].copy())
        physics, sensordata = state["physics"].copy(), state["sensordata"].copy()
        physics[chosen], sensordata[chosen] = self._states[:count, -1], self._sensordata[:count, -1]
        return self._named(physics, sensordata)

    def close(self) -> None:
        """Stop the threads."""
        self._rollout.close()
