"""Limbs of another length: the target `limb_length`, for which a model is compiled again."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from ...base.errors import MetarlError
from .changes import Change
from .targets import Target, limb_rows, names_of

if TYPE_CHECKING:
    import mujoco


def limb_factors(
    model: mujoco.MjModel, changes: Mapping[str, Sequence[Change]], task: Mapping[str, np.ndarray]
) -> dict[str, float]:
    """Return the factor of each body whose `limb_length` the task changes. Raises MetarlError as `apply` does."""
    factors: dict[str, float] = {}
    for name, kinds in changes.items():
        for change in kinds:
            target = Target.parse(change.target)
            if target.field != "limb_length":
                continue
            factor = float(task[name])
            if factor <= 0:
                raise MetarlError(f"task parameter {name!r} makes {change.target} {factor:g}; it must be above 0")
            bodies = names_of(model, "body")
            for row in limb_rows(model, target):
                factors[bodies[row]] = factor * factors.get(bodies[row], 1.0)
    return factors


def lengthen(spec: mujoco.MjSpec, factors: Mapping[str, float]) -> None:
    """Scale the named bodies of an uncompiled model along their length, away from their own joint.

    This moves their geoms, sites and the joints of the bodies beyond, and changes the length of their geoms. Their
    thickness stays.
    """
    for body in spec.bodies:
        factor = factors.get(body.name)
        if factor is None:
            continue
        anchor = _anchor(body)
        for geom in body.geoms:
            if np.isnan(geom.fromto).any():  # the geom has a place and a size instead of two ends
                geom.pos = anchor + factor * (geom.pos - anchor)
                geom.size = np.asarray(geom.size) * (1.0, factor, 1.0)
            else:
                geom.fromto = np.tile(anchor, 2) + factor * (geom.fromto - np.tile(anchor, 2))
        for site in body.sites:
            site.pos = anchor + factor * (site.pos - anchor)
        for child in body.bodies:
            child.pos = child.pos + (factor - 1.0) * (child.pos + _rotate(child.quat, _anchor(child)) - anchor)


def move_floor(model: mujoco.MjModel, original: mujoco.MjModel) -> None:
    """Move the floor until a body with longer limbs stands on it as the original does.

    The body stays where it is, because its height is observed and would reveal the task.
    """
    import mujoco

    floors = (model.geom_bodyid == 0) & (model.geom_type == mujoco.mjtGeom.mjGEOM_PLANE)
    model.geom_pos[floors, 2] += lowest_point(model) - lowest_point(original)


def lowest_point(model: mujoco.MjModel) -> float:
    """Return the height in m of the lowest point of all moving bodies, in the model's default position."""
    import mujoco

    data = mujoco.MjData(model)
    mujoco.mj_kinematics(model, data)
    lows = []
    for geom in np.flatnonzero(model.geom_bodyid > 0):
        is_capsule = model.geom_type[geom] == mujoco.mjtGeom.mjGEOM_CAPSULE
        reach = abs(data.geom_xmat[geom, 8]) * model.geom_size[geom, 1] + model.geom_size[geom, 0]
        lows.append(data.geom_xpos[geom, 2] - (reach if is_capsule else model.geom_rbound[geom]))
    return float(min(lows))


def _anchor(body: mujoco.MjsBody) -> np.ndarray:
    """Return the pivot of a body in its own frame: its first hinge, or its origin where it has none."""
    import mujoco

    hinges = [joint for joint in body.joints if joint.type == mujoco.mjtJoint.mjJNT_HINGE]
    return np.array(hinges[0].pos) if hinges else np.zeros(3)


def _rotate(quat: np.ndarray, vector: np.ndarray) -> np.ndarray:
    """Return a vector rotated by a quaternion."""
    import mujoco

    rotated = np.empty(3)
    mujoco.mju_rotVecQuat(rotated, vector, np.asarray(quat, dtype=np.float64))
    return rotated
