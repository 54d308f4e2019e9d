"""MuJoCo models: their compilation, the sensors that observations need, and changed copies."""

from __future__ import annotations

import copy
import os
import threading
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import gymnasium
import numpy as np

from ...base.errors import MetarlError
from ..batch import State
from ..model_files import fingerprint

try:
    import mujoco as mujoco
    from mujoco.rollout import Rollout as Rollout
except (AttributeError, ImportError, RuntimeError) as error:
    # MuJoCo loads the backend in MUJOCO_GL when it is imported, even if nothing is drawn.
    if "MUJOCO_GL" not in os.environ:
        raise
    raise MetarlError(
        f"MuJoCo does not load with MUJOCO_GL={os.environ['MUJOCO_GL']} ({error}); unset it, and metarl finds a backend"
    ) from error

ASSETS = Path(gymnasium.__file__).parent / "envs" / "mujoco" / "assets"
"""Folder of the model files that come with Gymnasium."""

Sensors = Mapping[str, tuple[mujoco.mjtSensor, mujoco.mjtObj, str]]
"""Sensors to add to a model, by name: type, object type, object name."""

_COMPILING = threading.Lock()
"""Held while a model is compiled, because warning filters belong to the process, and shards compile in threads."""


@dataclass(frozen=True)
class Blueprint:
    """Everything that determines a compiled model."""

    asset: str
    """Name of the model file among Gymnasium's assets."""
    sensors: tuple[tuple[str, tuple[mujoco.mjtSensor, mujoco.mjtObj, str]], ...] = ()
    """Sensors to add, by name."""
    contact_forces: bool = False
    """Whether to add the sensors that `contact_wrenches` reads."""
    timestep: float = 0.0
    """Seconds of a physics step; 0 for the file's own."""
    content: str = ""
    """Digest of a file that is not Gymnasium's, with all that it refers to; '' for one of Gymnasium's."""

    def spec(self, *, textures: bool = False) -> mujoco.MjSpec:
        """Return the uncompiled model with a name for each body. A model without textures copies twice as fast."""
        path = ASSETS / self.asset
        if not path.is_file():
            raise MetarlError(
                f"model file {path} does not exist; give an absolute path, or the name of a model of Gymnasium, and "
                "list the file in package-data if it is in a package of your own"
            )
        if self.content and fingerprint(path) != self.content:
            raise MetarlError(f"model file {path} changed after its family was made; load the family again")
        spec = mujoco.MjSpec.from_file(str(path))
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
        """Return the compiled model, after `edit` changed its description.

        Some files fix the total mass, and the compiler scales all bodies to reach it. An edit keeps the scale of the
        unedited file, so that other bodies keep their mass.
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
            # It comes from Gymnasium's file, so the user can do nothing about it.
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
"""Name of the sensor of the whole body's centre of mass, which belongs to the contact sensors."""

CONTACTS = "contacts"
"""Name of the contact sensors' readings in the state. Each sensor is named after it and its body."""


def _add_contact_sensors(spec: mujoco.MjSpec) -> None:
    if not hasattr(mujoco.mjtSensor, "mjSENS_CONTACT"):
        raise MetarlError(
            f"MuJoCo {mujoco.__version__} has no contact sensors; install mujoco>=3.3.5, or take a preset without "
            "contact forces"
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
        # Fields to report, reduction (3: net wrench of all contacts at their common centre), number of wrenches.
        sensor.intprm[:3] = sum(1 << int(part) for part in wanted), 3, 1


def contact_wrenches(state: State) -> np.ndarray:
    """Return the contact wrench on each body, float64 [world, body, 6]: torque about the centre of mass, N m; force, N.

    This is MuJoCo's `cfrc_ext` at the start of the last substep. Its first row, the world's, is zero.
    """
    readings = state[CONTACTS].reshape(len(state["physics"]), -1, 9)
    force, torque, place = readings[..., :3], readings[..., 3:6], readings[..., 6:]
    arm = place - state[ROOT_COM][:, None]
    torque = torque + np.stack(
        [arm[..., j] * force[..., k] - arm[..., k] * force[..., j] for j, k in ((1, 2), (2, 0), (0, 1))], axis=-1
    )  # np.cross takes three times as long
    # The sensor reads the wrench of the body on the ground, hence the sign. Without a contact it reads zero.
    wrenches = np.zeros((len(force), force.shape[1] + 1, 6))
    wrenches[:, 1:, :3], wrenches[:, 1:, 3:] = -torque, -force
    return wrenches


def edit_copy(
    model: mujoco.MjModel, edit: Callable[[mujoco.MjModel], None], scratch: mujoco.MjData | None = None
) -> mujoco.MjModel:
    """Return a copy of `model` changed by `edit`, with its derived constants computed again.

    Without `mj_setConst` a changed mass would leave the old inverse inertias and contact scalings behind. `scratch` is
    any data of a model of the same size; making it takes longer than all the rest.
    """
    edited = copy.copy(model)
    edit(edited)
    mujoco.mj_setConst(edited, mujoco.MjData(edited) if scratch is None else scratch)
    return edited
