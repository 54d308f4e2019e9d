"""Physics as task: which fields of a MuJoCo model a task parameter acts on, and how."""

from __future__ import annotations

import dataclasses
import fnmatch
import functools
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from ...base.errors import MetarlError, did_you_mean

if TYPE_CHECKING:
    import mujoco

    from ..task import Parameter

_TARGET = re.compile(r"(?P<field>\w+)(?:\[(?P<elements>[^\]]*)\])?(?:\[(?P<column>\d+)\])?")

_KINDS = {
    "body": ("nbody", "mjOBJ_BODY"),
    "geom": ("ngeom", "mjOBJ_GEOM"),
    "jnt": ("njnt", "mjOBJ_JOINT"),
    "dof": ("nv", "mjOBJ_JOINT"),
    "actuator": ("nu", "mjOBJ_ACTUATOR"),
    "tendon": ("ntendon", "mjOBJ_TENDON"),
}
"""Prefix of a field to the model's count of such things, and to the type of object whose names they go by."""

_OPTIONS = {"gravity": 3, "wind": 3, "density": 0, "viscosity": 0}
"""Fields of the whole world: their number of axes, 0 for a scalar."""

_DERIVED = ("body_subtreemass", "body_invweight0", "dof_invweight0", "dof_M0", "tendon_invweight0", "actuator_acc0")
"""What MuJoCo computes from the rest: setting it by hand would not last."""

_POSITIVE = ("body_mass", "body_inertia")
_NOT_NEGATIVE = (
    "geom_friction",
    "geom_size",
    "dof_damping",
    "dof_armature",
    "dof_frictionloss",
    "density",
    "viscosity",
)


@dataclass(frozen=True)
class Change:
    """How a task parameter acts on a model; `Set`, `Scale`, `Add` and `Zero` say what is done with the field's values.

    `target` names a field of mujoco.MjModel and the elements of it that change: `body_mass[torso]`, `geom_friction[*]`,
    `dof_damping[*_foot,knee]`, `actuator_gear[0]`. Elements go by name, pattern or number; `*` is all of them but the
    world body; a field of the degrees of freedom goes by the joint's name. A second bracket takes one column:
    `geom_friction[*][0]` is the sliding friction alone. Of the whole world there are `gravity`, `wind` (each with
    `[x]`, `[y]` or `[z]`), `density` and `viscosity`, `slope` (rise of the floor along +x, in rad: gravity leans back
    by as much, which for an endless plane is the same), and of a body `limb_length`: its geoms and the joints beyond
    move away from its own joint, and the model is compiled anew, so that its mass follows.

    A parameter of n numbers gives each of n elements its own.
    """

    how: ClassVar[str]
    target: str


class Set(Change):
    """The values become the parameter."""

    how = "set"


class Scale(Change):
    """The values are multiplied by the parameter."""

    how = "scale"


class Add(Change):
    """The parameter is added to the values."""

    how = "add"


class Zero(Change):
    """The row of the target whose number the parameter is becomes zero: a motor that is dead."""

    how = "zero"


CHANGES = {change.how: change for change in (Set, Scale, Add, Zero)}
"""Each kind of change by its word in a family file."""


@dataclass(frozen=True)
class Physics:
    """Physics as task: the parameters, and how they act."""

    parameters: Mapping[str, Parameter]
    """The parameters, by name."""
    changes: Mapping[str, tuple[Change, ...]] = dataclasses.field(default_factory=dict)
    """What parameters do to the model."""
    delay: str = ""
    """Name of the parameter by which controls arrive late, in environment steps; '' where they do not."""


_OPERATIONS: dict[str, Callable[[np.ndarray, np.ndarray], np.ndarray]] = {
    "set": lambda old, value: np.broadcast_to(value, old.shape),
    "scale": np.multiply,
    "zero": np.multiply,
    "add": np.add,
}


def shape_of_target(model: mujoco.MjModel, target: str) -> tuple[int, ...]:
    """Return the shape of what a target names: what a parameter with a number of its own for each has.

    Raises MetarlError, as `apply` does, for what is not in the model.
    """
    field, elements, _ = _parts(target)
    if field in _SPECIAL:
        if field == "limb_length":
            _rows(model, target, "body", elements or "")
        return ()
    array, index = _found(model, target)
    return np.shape(array[index])


def apply(model: mujoco.MjModel, changes: Mapping[str, Sequence[Change]], task: Mapping[str, np.ndarray]) -> None:
    """Change `model` as one task says (values without the batch axis); `limb_length` is left to `lengthen`.

    Raises MetarlError for a field or an element that the model does not have, for a parameter of another shape than the
    target's, and for values that no body can have, such as a mass below zero.
    """
    for name, kinds in changes.items():
        for change in kinds:
            field = _parts(change.target)[0]
            if field in _SPECIAL and change.how != _SPECIAL[field]:
                raise MetarlError(f"task parameter {name!r}: {field} takes {_SPECIAL[field]}, not {change.how}")
            shape = np.shape(task[name])
            if shape and (field in _SPECIAL or isinstance(change, Zero)):
                raise MetarlError(
                    f"task parameter {name!r} has shape {shape}; {change.how}: {change.target} takes one number, "
                    "so draw it without a shape"
                )
            if field == "slope":
                _lean(model, float(task[name]))
            elif field != "limb_length":
                _apply(model, name, change, np.asarray(task[name], dtype=np.float64))


def restore(model: mujoco.MjModel, original: mujoco.MjModel, targets: Iterable[str]) -> None:
    """Put the fields that `targets` name back to what they are in `original`, in place."""
    for field in {_parts(target)[0] for target in targets}:
        holder, source = (m.opt if field in (*_OPTIONS, "slope") else m for m in (model, original))
        field = "gravity" if field == "slope" else field
        if isinstance(getattr(holder, field), float):
            setattr(holder, field, getattr(source, field))
        else:
            getattr(holder, field)[:] = getattr(source, field)


def _apply(model: mujoco.MjModel, name: str, change: Change, value: np.ndarray) -> None:
    array, index = _found(model, change.target)
    old = np.asarray(array[index])
    if isinstance(change, Zero):
        if old.ndim == 0:
            raise MetarlError(
                f"task parameter {name!r}: zero takes a field with rows, such as actuator_gear[*], not {change.target}; "
                "take set or scale"
            )
        row = int(value)
        if row != value or not 0 <= row < len(old):
            raise MetarlError(
                f"task parameter {name!r} is {value}; {change.target} has rows 0 to {len(old) - 1}: draw the number of "
                "one with choice"
            )
        value = np.where(np.arange(len(old)) == row, 0.0, 1.0)
    if value.shape != old.shape[: value.ndim]:
        raise MetarlError(
            f"task parameter {name!r} has shape {value.shape}, {change.target!r} {old.shape}; give it one number, or one "
            "for each element"
        )
    new = _OPERATIONS[change.how](old, value.reshape((*value.shape, *(1,) * (old.ndim - value.ndim))))
    field = _parts(change.target)[0]
    if (field in _POSITIVE and (new <= 0).any() and (old > 0).all()) or (field in _NOT_NEGATIVE and (new < 0).any()):
        rule = "above 0" if field in _POSITIVE else "0 or more"
        raise MetarlError(
            f"task parameter {name!r} makes {change.target} {new.min():g}; it must be {rule}: draw it from a range that keeps it so"
        )
    if field in ("density", "viscosity"):
        setattr(model.opt, field, float(new))
    else:
        array[index] = new


def _lean(model: mujoco.MjModel, slope: float) -> None:
    """Turn gravity about the y axis, as seen from a floor that rises by `slope` rad along +x."""
    x, y, z = model.opt.gravity
    model.opt.gravity[:] = (
        np.cos(slope) * x + np.sin(slope) * z,
        y,
        np.cos(slope) * z - np.sin(slope) * x,
    )


def _parts(target: str) -> tuple[str, str | None, int | None]:
    """Return field, elements and column of a target."""
    match = _TARGET.fullmatch(target.strip())
    if match is None:
        raise MetarlError(f"target {target!r} is not of the form field[elements], such as body_mass[torso]")
    field, elements, column = match["field"], match["elements"], match["column"]
    if elements is not None and not all(word.strip() for word in elements.split(",")):
        raise MetarlError(f"target {target!r} has an empty name in its bracket; name elements, or * for all")
    if field == "slope" and elements is not None:
        raise MetarlError(f"target {target!r}: slope is one number of the whole world; leave the bracket out")
    if column is not None and field in (*_OPTIONS, *_SPECIAL):
        raise MetarlError(f"target {target!r}: {field} has no columns; leave the second bracket out")
    return field, elements, None if column is None else int(column)


def _found(model: mujoco.MjModel, target: str) -> tuple[np.ndarray, tuple[np.ndarray | int, ...] | slice]:
    """Return the array that a target names a part of, and the index of that part."""
    field, elements, column = _parts(target)
    if field in _OPTIONS:
        return np.atleast_1d(getattr(model.opt, field)), _axis(target, elements, _OPTIONS[field])
    if field not in _fields():
        raise MetarlError(
            f"target {target!r}: {field!r} is no field that a task can change; "
            f"{did_you_mean(field, [*_fields(), *_OPTIONS, *_SPECIAL])}"
        )
    if field.endswith(("quat", "axis")):
        raise MetarlError(
            f"target {target!r}: {field} holds directions, whose length must stay 1, and drawn numbers do not keep it; "
            "change another field, such as body_pos"
        )
    array: np.ndarray = getattr(model, field)
    rows = _rows(model, target, field.split("_", 1)[0], "*" if elements is None else elements)
    if column is None:
        return array, (rows,)
    if array.ndim < 2 or column >= array.shape[1]:
        width = array.shape[1] if array.ndim > 1 else 1
        raise MetarlError(f"target {target!r} names column {column}; {field} has {width}: number them from 0")
    return array, (rows, column)


def _axis(target: str, elements: str | None, axes: int) -> slice | tuple[int]:
    names = "xyz"[:axes]
    if not axes and elements is not None:
        raise MetarlError(f"target {target!r} is one number of the whole world; leave the bracket out")
    if elements is None or elements == "*":
        return slice(None) if axes else (0,)
    if len(elements) != 1 or elements not in names:
        raise MetarlError(f"target {target!r}: {elements!r} is no axis; take one of x, y, z, or no bracket for all")
    return (names.index(elements),)


@functools.cache
def _fields() -> frozenset[str]:
    """Return the fields of mujoco.MjModel that hold numbers, an element each row, and that are not derived."""
    import mujoco

    probe = mujoco.MjModel.from_xml_string(
        "<mujoco><worldbody><body><joint name='j'/><geom name='g' size='1'/></body></worldbody>"
        "<tendon><fixed><joint joint='j' coef='1'/></fixed></tendon><actuator><motor joint='j'/></actuator></mujoco>"
    )
    arrays = {name: getattr(probe, name) for name in dir(probe) if name.split("_", 1)[0] in _KINDS and "_" in name}
    return frozenset(
        name
        for name, array in arrays.items()
        if isinstance(array, np.ndarray)
        and array.dtype.kind == "f"
        and array.ndim > 0
        and len(array) == getattr(probe, _KINDS[name.split("_", 1)[0]][0])
        and name not in _DERIVED
    )


def _rows(model: mujoco.MjModel, target: str, kind: str, elements: str) -> np.ndarray:
    """Return the row numbers of the named elements, in the model's order."""
    names = _names(model, kind)
    chosen: set[int] = set()
    for word in (part.strip() for part in elements.split(",")):
        if word.isdecimal():
            rows = [int(word)] if int(word) < len(names) else []
        else:
            # The world's body has no mass, and its name is not meant by a pattern.
            rows = [i for i, name in enumerate(names) if fnmatch.fnmatchcase(name, word) and name != "world"]
        if not rows:
            known = [name for name in dict.fromkeys(names) if name not in ("", "world")]
            raise MetarlError(
                f"target {target!r}: the model has no {kind} {word!r}; "
                f"{did_you_mean(word, known) if known else f'they have no names: take numbers below {len(names)}'}"
            )
        chosen.update(rows)
    return np.array(sorted(chosen))


def _names(model: mujoco.MjModel, kind: str) -> list[str]:
    """Return the name of each row of the fields of a kind; degrees of freedom have their joint's."""
    import mujoco

    count, object_type = _KINDS[kind]
    kind_of_object = getattr(mujoco.mjtObj, object_type)
    objects = model.dof_jntid if kind == "dof" else np.arange(getattr(model, count))
    return [mujoco.mj_id2name(model, kind_of_object, int(i)) or "" for i in objects]


_SPECIAL = {"slope": "set", "limb_length": "scale"}
"""Targets that are no field of the model, and what can be done with them."""


def limbs(
    model: mujoco.MjModel, changes: Mapping[str, Sequence[Change]], task: Mapping[str, np.ndarray]
) -> dict[str, float]:
    """Return the factor of each body whose `limb_length` the task changes. Raises MetarlError as `apply` does."""
    factors: dict[str, float] = {}
    for name, kinds in changes.items():
        for change in kinds:
            field, elements, _ = _parts(change.target)
            if field != "limb_length":
                continue
            factor = float(task[name])
            if factor <= 0:
                raise MetarlError(f"task parameter {name!r} makes {change.target} {factor:g}; it must be above 0")
            bodies = _names(model, "body")
            for row in _rows(model, change.target, "body", elements or ""):
                factors[bodies[row]] = factor * factors.get(bodies[row], 1.0)
    return factors


def lengthen(spec: mujoco.MjSpec, factors: Mapping[str, float]) -> None:
    """Scale the named bodies along their length, away from their own joint, before compiling.

    Places of geoms and sites, the length of geoms, and the joints of the bodies beyond move; thickness stays.
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
            child.pos = child.pos + (factor - 1.0) * (child.pos + _turned(child.quat, _anchor(child)) - anchor)


def _anchor(body: mujoco.MjsBody) -> np.ndarray:
    """Return where a body turns, in its own frame: its first hinge, or its origin where it has none."""
    import mujoco

    hinges = [joint for joint in body.joints if joint.type == mujoco.mjtJoint.mjJNT_HINGE]
    return np.array(hinges[0].pos) if hinges else np.zeros(3)


def _turned(quat: np.ndarray, vector: np.ndarray) -> np.ndarray:
    import mujoco

    turned = np.empty(3)
    mujoco.mju_rotVecQuat(turned, vector, np.asarray(quat, dtype=np.float64))
    return turned
