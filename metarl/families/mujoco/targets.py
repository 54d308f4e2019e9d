"""Targets: the parts of a MuJoCo model that a task can change, by name, such as `geom_friction[*][0]`."""

from __future__ import annotations

import fnmatch
import functools
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from ...base.errors import MetarlError, did_you_mean

if TYPE_CHECKING:
    import mujoco

OPTIONS = {"gravity": 3, "wind": 3, "density": 0, "viscosity": 0}
"""Fields of the whole world with their number of axes, 0 for a scalar."""

SPECIAL = {"slope": "set", "limb_length": "scale"}
"""Targets that are not a field of the model, with the one kind of change that each takes."""

_FORM = re.compile(r"(?P<field>\w+)(?:\[(?P<elements>[^\]]*)\])?(?:\[(?P<column>\d+)\])?")

_KINDS = {
    "body": ("nbody", "mjOBJ_BODY"),
    "geom": ("ngeom", "mjOBJ_GEOM"),
    "jnt": ("njnt", "mjOBJ_JOINT"),
    "dof": ("nv", "mjOBJ_JOINT"),
    "actuator": ("nu", "mjOBJ_ACTUATOR"),
    "tendon": ("ntendon", "mjOBJ_TENDON"),
}
"""Prefix of a field, with the model's count of such objects and the object type that has their names."""

_DERIVED = ("body_subtreemass", "body_invweight0", "dof_invweight0", "dof_M0", "tendon_invweight0", "actuator_acc0")
"""Fields that MuJoCo computes from the others. It would overwrite a change."""


@dataclass(frozen=True)
class Target:
    """A target in its parts."""

    text: str
    """The target as written."""
    field: str
    elements: str | None
    """Content of the first bracket, or None without one."""
    column: int | None
    """Content of the second bracket, or None without one."""

    @classmethod
    def parse(cls, text: str) -> Target:
        """Return the target in its parts. Raises MetarlError for a wrong form."""
        match = _FORM.fullmatch(text.strip())
        if match is None:
            raise MetarlError(f"target {text!r} is not of the form field[elements], such as body_mass[torso]")
        field, elements, column = match["field"], match["elements"], match["column"]
        if elements is not None and not all(word.strip() for word in elements.split(",")):
            raise MetarlError(f"target {text!r} has an empty name in its bracket; name elements, or * for all")
        if field == "slope" and elements is not None:
            raise MetarlError(f"target {text!r}: slope is one number of the whole world; leave the bracket out")
        if column is not None and field in (*OPTIONS, *SPECIAL):
            raise MetarlError(f"target {text!r}: {field} has no columns; leave the second bracket out")
        return cls(text, field, elements, None if column is None else int(column))

    def find(self, model: mujoco.MjModel) -> tuple[np.ndarray, tuple[np.ndarray | int, ...] | slice]:
        """Return the array that holds the target, and its index there. Raises MetarlError where the model has none."""
        if self.field in OPTIONS:
            return np.atleast_1d(getattr(model.opt, self.field)), self._axis()
        if self.field not in _fields():
            raise MetarlError(
                f"target {self.text!r}: {self.field!r} is not a field that a task can change; "
                f"{did_you_mean(self.field, [*_fields(), *OPTIONS, *SPECIAL])}"
            )
        if self.field.endswith(("quat", "axis")):
            raise MetarlError(
                f"target {self.text!r}: {self.field} holds unit vectors, and random numbers would change their length; "
                "take another field, such as body_pos"
            )
        array: np.ndarray = getattr(model, self.field)
        rows = self.rows(model, self.field.split("_", 1)[0])
        if self.column is None:
            return array, (rows,)
        width = array.shape[1] if array.ndim > 1 else 1
        if array.ndim < 2 or self.column >= width:
            raise MetarlError(
                f"target {self.text!r} names column {self.column}; {self.field} has {width}, numbered from 0"
            )
        return array, (rows, self.column)

    def rows(self, model: mujoco.MjModel, kind: str) -> np.ndarray:
        """Return the row numbers of the named elements, in the model's order. No bracket means all elements."""
        names = names_of(model, kind)
        chosen: set[int] = set()
        for word in (part.strip() for part in ("*" if self.elements is None else self.elements).split(",")):
            if word.isdecimal():
                rows = [int(word)] if int(word) < len(names) else []
            else:
                # No pattern means the world's body, which has no mass.
                rows = [i for i, name in enumerate(names) if fnmatch.fnmatchcase(name, word) and name != "world"]
            if not rows:
                known = [name for name in dict.fromkeys(names) if name not in ("", "world")]
                raise MetarlError(
                    f"target {self.text!r}: the model has no {kind} {word!r}; "
                    f"{did_you_mean(word, known) if known else f'they have no names: take numbers below {len(names)}'}"
                )
            chosen.update(rows)
        return np.array(sorted(chosen))

    def _axis(self) -> slice | tuple[int]:
        """Return the index of an axis of a field of the whole world."""
        axes, elements = OPTIONS[self.field], self.elements
        names = "xyz"[:axes]
        if not axes and elements is not None:
            raise MetarlError(f"target {self.text!r} is one number of the whole world; leave the bracket out")
        if elements is None or elements == "*":
            return slice(None) if axes else (0,)
        if len(elements) != 1 or elements not in names:
            raise MetarlError(
                f"target {self.text!r}: {elements!r} is not an axis; take x, y or z, or no bracket for all"
            )
        return (names.index(elements),)


def shape_of_target(model: mujoco.MjModel, target: str) -> tuple[int, ...]:
    """Return the shape of a parameter with one number for each element of a target, () for a single number.

    Raises MetarlError for a target that the model does not have.
    """
    parts = Target.parse(target)
    if parts.field in SPECIAL:
        if parts.field == "limb_length":
            limb_rows(model, parts)
        return ()
    array, index = parts.find(model)
    return np.shape(array[index])


def limb_rows(model: mujoco.MjModel, target: Target) -> np.ndarray:
    """Return the bodies of a target `limb_length`, which needs a bracket. Raises MetarlError for unknown ones."""
    return Target(target.text, target.field, target.elements or "", None).rows(model, "body")


def names_of(model: mujoco.MjModel, kind: str) -> list[str]:
    """Return the name of each row of the fields of a kind. Degrees of freedom have the name of their joint."""
    import mujoco

    count, object_type = _KINDS[kind]
    kind_of_object = getattr(mujoco.mjtObj, object_type)
    objects = model.dof_jntid if kind == "dof" else np.arange(getattr(model, count))
    return [mujoco.mj_id2name(model, kind_of_object, int(i)) or "" for i in objects]


@functools.cache
def _fields() -> frozenset[str]:
    """Return the fields of mujoco.MjModel that hold numbers, with one element a row, and are not derived."""
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
