"""Many MuJoCo worlds that step in one native call, with a model of its own for each where physics differ."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from typing import Any

import numpy as np

from ...base.cores import available_threads
from ..batch import State
from .models import CONTACTS, Rollout, mujoco


class _Quiet:
    """Silences MuJoCo's warnings about unstable worlds, which it would print and write into the current folder.

    MuJoCo has one warning handler for all threads. The first thread to enter sets it; the last to leave restores it.
    """

    def __init__(self) -> None:
        self._lock, self._inside = threading.Lock(), 0
        self._before: Any = None

    def __enter__(self) -> None:
        with self._lock:
            if self._inside == 0:
                self._before = mujoco.get_mju_user_warning()
                mujoco.set_mju_user_warning(_ignore)
            self._inside += 1

    def __exit__(self, *error: object) -> None:
        with self._lock:
            self._inside -= 1
            if self._inside == 0:
                mujoco.set_mju_user_warning(self._before)


_QUIET = _Quiet()


def _ignore(message: str) -> None:
    """Drop the message: `Worlds.step` returns a flag instead."""


class Worlds:
    """`num_worlds` MuJoCo worlds that step together on native threads.

    One `mujoco.rollout` call a step covers all worlds and all substeps. The constraint solver starts cold in every
    call, so the next state of a world depends on its state and control alone.
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

        `derived` names the fields of mujoco.MjData that the state has after each step, of `subtree_com`, `cinert` and
        `cvel`; each is [world, body, ...].
        """
        self.models = list(models) * num_worlds if len(models) == 1 else list(models)
        self.frame_skip = frame_skip
        self.derived = tuple(derived)
        model = self.models[0]
        threads = min(available_threads(), num_worlds) if threads is None else threads
        self._rollout = Rollout(nthread=threads)
        self._data = [mujoco.MjData(model) for _ in range(max(threads, 1))]
        size = mujoco.mj_stateSize(model, mujoco.mjtState.mjSTATE_FULLPHYSICS)
        # All substeps but half of one: the clock of a world gains at least as much unless MuJoCo has reset it.
        self._least_time = (frame_skip - 0.5) * model.opt.timestep
        self._controls = np.empty((num_worlds, frame_skip, model.nu))
        self._states = np.empty((num_worlds, frame_skip, size))
        self._sensordata = np.empty((num_worlds, frame_skip, model.nsensordata))
        self._qpos = slice(1, 1 + model.nq)  # after the time
        self._qvel = slice(1 + model.nq, 1 + model.nq + model.nv)
        self._sensors: dict[str, slice] = {}
        for i in range(model.nsensor):
            name, first = model.sensor(i).name, model.sensor_adr[i]
            if name.startswith(f"{CONTACTS}/"):  # they are adjacent, so one slice covers all
                name, first = CONTACTS, self._sensors.get(CONTACTS, slice(first, first)).start
            self._sensors[name] = slice(first, model.sensor_adr[i] + model.sensor_dim[i])

    def _name_parts(
        self, physics: np.ndarray, sensordata: np.ndarray, state: State, chosen: np.ndarray | None
    ) -> State:
        """Return the state by name: views into the full physics state and the sensor readings.

        Derived fields are computed for the worlds `chosen` (None: all), and taken from `state` for the others.
        """
        named = {
            "physics": physics,
            "sensordata": sensordata,
            "qpos": physics[:, self._qpos],
            "qvel": physics[:, self._qvel],
        }
        for name, place in self._sensors.items():
            named[name] = sensordata[:, place]
        return {**named, **self._derive(named, state, chosen)} if self.derived else named

    def _derive(self, now: State, before: State, chosen: np.ndarray | None) -> State:
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
        """Return `state` with the worlds `chosen`, int64 [n], at positions [n, nq] and velocities [n, nv].

        Sensors of the chosen worlds are read again. `state` may be empty where all worlds are chosen.
        """
        count = len(self.models)
        physics = state["physics"].copy() if state else np.zeros((count, self._states.shape[-1]))
        sensordata = state["sensordata"].copy() if state else np.zeros((count, self._sensordata.shape[-1]))
        physics[chosen] = 0.0
        # Not zero: a world that MuJoCo has reset starts from zero.
        physics[chosen, 0] = self.frame_skip * self.models[0].opt.timestep
        physics[chosen, self._qpos], physics[chosen, self._qvel] = qpos, qvel
        if sensordata.size:
            data = self._data[0]  # reset and used again: new data for each world take 30 times as long
            for world in chosen.tolist():
                model = self.models[world]
                mujoco.mj_resetData(model, data)
                mujoco.mj_setState(model, data, physics[world], mujoco.mjtState.mjSTATE_FULLPHYSICS)
                mujoco.mj_forward(model, data)
                sensordata[world] = data.sensordata
        return self._name_parts(physics, sensordata, state, chosen if state else None)

    def step(self, state: State, controls: np.ndarray, where: np.ndarray) -> tuple[State, np.ndarray]:
        """Return the state after `frame_skip` substeps under constant controls [world, nu] in the worlds of `where`.

        Also returns which worlds became unstable, bool [world]. MuJoCo would reset such a world to its model's default;
        here it keeps its state. Sensors have their readings at the start of the last substep.
        """
        if not where.any():
            return state, np.zeros_like(where)  # mujoco.rollout crashes on an empty list of models
        everyone = bool(where.all())
        chosen = slice(None) if everyone else np.flatnonzero(where)
        models = self.models if everyone else [self.models[i] for i in chosen]  # type: ignore[union-attr]
        before = np.ascontiguousarray(state["physics"][chosen])
        after, sensordata = self._roll(models, before, controls[chosen, None])
        # MuJoCo sets the clock of a world that it resets to zero. Other broken worlds hold NaN or infinity.
        unstable = ~np.isfinite(after).all(axis=1) | (after[:, 0] < before[:, 0] + self._least_time)
        if unstable.any():
            after[unstable] = before[unstable]
            sensordata[unstable] = state["sensordata"][chosen][unstable]
        if everyone:
            return self._name_parts(after, sensordata, state, None), unstable
        physics, readings, fell = state["physics"].copy(), state["sensordata"].copy(), np.zeros_like(where)
        physics[chosen], readings[chosen], fell[chosen] = after, sensordata, unstable
        return self._name_parts(physics, readings, state, np.flatnonzero(where)), fell

    def _roll(
        self, models: Sequence[mujoco.MjModel], before: np.ndarray, controls: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        """Return full physics and sensor readings after `frame_skip` substeps of as many worlds as `models`."""
        count = len(models)
        self._controls[:count] = controls
        with _QUIET:
            self._rollout.rollout(
                models,
                self._data,
                before,
                self._controls[:count],
                nstep=self.frame_skip,
                skip_checks=True,
                # Two chunks a thread: many small ones, as by default, cost a tenth; one alone waits for the slowest.
                chunk_size=max(1, count // (2 * len(self._data))),
                state=self._states[:count],
                sensordata=self._sensordata[:count],
            )
        return self._states[:count, -1].copy(), self._sensordata[:count, -1].copy()

    def derive(self, state: State, chosen: np.ndarray) -> State:
        """Return `state` with its derived fields computed again in the worlds `chosen`, int64 [n]."""
        return {**state, **self._derive(state, state, chosen)} if self.derived else state

    def close(self) -> None:
        """Stop the threads."""
        self._rollout.close()
