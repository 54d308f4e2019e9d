"""Physics as task: the fields of a MuJoCo model that a task parameter changes, and how."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from ...base.errors import MetarlError
from .targets import OPTIONS, SPECIAL, Target

if TYPE_CHECKING:
    import mujoco

    from ..task import Parameter

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
    """The effect of a task parameter on a model. Its kinds are `Set`, `Scale`, `Add` and `Zero`.

    `target` names a field of mujoco.MjModel and the elements that change: `body_mass[torso]`, `geom_friction[*]`,
    `dof_damping[*_foot,knee]`, `actuator_gear[0]`. A bracket holds names, patterns or numbers; `*` means all elements
    but the world body. Degrees of freedom have the name of their joint. A second bracket takes one column:
    `geom_friction[*][0]` is the sliding friction alone.

    Targets of the whole world are `gravity` and `wind`, optionally with `[x]`, `[y]` or `[z]`, `density`, `viscosity`,
    and `slope`, the rise of the floor along +x in rad. For a slope gravity leans back by the same angle, which is
    equivalent on an endless plane. Target `limb_length` of a body moves its geoms and the joints beyond away from its
    own joint; the model is compiled again, so its mass follows.

    A parameter is one number for all elements, or has one number for each.
    """

    how: ClassVar[str]
    target: str


class Set(Change):
    """The field becomes the parameter."""

    how = "set"


class Scale(Change):
    """The field is multiplied by the parameter."""

    how = "scale"


class Add(Change):
    """The parameter is added to the field."""

    how = "add"


class Zero(Change):
    """The parameter is the number of a row of the target, which becomes zero: a dead motor, for example."""

    how = "zero"


CHANGES = {change.how: change for change in (Set, Scale, Add, Zero)}
"""Each kind of change by its word in a family file."""


@dataclass(frozen=True)
class Physics:
    """Physics as task: parameters and their effects."""

    parameters: Mapping[str, Parameter]
    """The parameters, by name."""
    changes: Mapping[str, tuple[Change, ...]] = dataclasses.field(default_factory=dict)
    """Changes of the model by each parameter."""
    delay: str = ""
    """Name of the parameter that delays controls, in environment steps; '' where none does."""


_OPERATIONS: dict[str, Callable[[np.ndarray, np.ndarray], np.ndarray]] = {
    "set": lambda old, value: np.broadcast_to(value, old.shape),
    "scale": np.multiply,
    "zero": np.multiply,
    "add": np.add,
}


def apply(model: mujoco.MjModel, changes: Mapping[str, Sequence[Change]], task: Mapping[str, np.ndarray]) -> None:
    """Change `model` in place for one task (values without the batch axis). `lengthen` handles `limb_length`.

    Raises MetarlError for a field or an element that the model does not have, for a parameter of another shape than
    its target, and for impossible values, such as a mass below zero.
    """
    for name, kinds in changes.items():
        for change in kinds:
            field = Target.parse(change.target).field
            if field in SPECIAL and change.how != SPECIAL[field]:
                raise MetarlError(f"task parameter {name!r}: {field} takes {SPECIAL[field]}, not {change.how}")
            shape = np.shape(task[name])
            if shape and (field in SPECIAL or isinstance(change, Zero)):
                raise MetarlError(
                    f"task parameter {name!r} has shape {shape}; {change.how}: {change.target} takes one number, "
                    "so draw it without a shape"
                )
            if field == "slope":
                _lean(model, float(task[name]))
            elif field != "limb_length":
                _apply(model, name, change, np.asarray(task[name], dtype=np.float64))


def restore(model: mujoco.MjModel, original: mujoco.MjModel, targets: Iterable[str]) -> None:
    """Put the fields of `targets` back to their values in `original`, in place."""
    for field in {Target.parse(target).field for target in targets}:
        holder, source = (m.opt if field in (*OPTIONS, "slope") else m for m in (model, original))
        field = "gravity" if field == "slope" else field
        if isinstance(getattr(holder, field), float):
            setattr(holder, field, getattr(source, field))
        else:
            getattr(holder, field)[:] = getattr(source, field)


def _apply(model: mujoco.MjModel, name: str, change: Change, value: np.ndarray) -> None:
    target = Target.parse(change.target)
    array, index = target.find(model)
    old = np.asarray(array[index])
    if isinstance(change, Zero):
        value = _zero_row(old, name, change, value)
    if value.shape != old.shape[: value.ndim]:
        raise MetarlError(
            f"task parameter {name!r} has shape {value.shape}, {change.target!r} {old.shape}; give it one number, or "
            "one for each element"
        )
    new = _OPERATIONS[change.how](old, value.reshape((*value.shape, *(1,) * (old.ndim - value.ndim))))
    _require_possible(target.field, old, new, f"task parameter {name!r} makes {change.target}")
    if target.field in ("density", "viscosity"):
        setattr(model.opt, target.field, float(new))
    else:
        array[index] = new


def _zero_row(old: np.ndarray, name: str, change: Change, value: np.ndarray) -> np.ndarray:
    """Return factors of 1, but 0 for the row with the number `value`. Raises MetarlError where there is no such row."""
    if old.ndim == 0:
        raise MetarlError(
            f"task parameter {name!r}: zero takes a field with rows, such as actuator_gear[*], not {change.target}; "
            "take set or scale"
        )
    row = int(value)
    if row != value or not 0 <= row < len(old):
        raise MetarlError(
            f"task parameter {name!r} is {value}; {change.target} has rows 0 to {len(old) - 1}: draw a row's number "
            "with choice"
        )
    return np.where(np.arange(len(old)) == row, 0.0, 1.0)


def _require_possible(field: str, old: np.ndarray, new: np.ndarray, subject: str) -> None:
    """Raise MetarlError for a mass, friction or the like that no body can have."""
    if (field in _POSITIVE and (new <= 0).any() and (old > 0).all()) or (field in _NOT_NEGATIVE and (new < 0).any()):
        rule = "above 0" if field in _POSITIVE else "0 or more"
        raise MetarlError(f"{subject} {new.min():g}; it must be {rule}: draw the parameter from a narrower range")


def _lean(model: mujoco.MjModel, slope: float) -> None:
    """Turn gravity about the y axis, as seen from a floor that rises by `slope` rad along +x."""
    x, y, z = model.opt.gravity
    model.opt.gravity[:] = (
        np.cos(slope) * x + np.sin(slope) * z,
        y,
        np.cos(slope) * z - np.sin(slope) * x,
    )
