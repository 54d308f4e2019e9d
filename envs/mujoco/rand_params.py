"""Hopper and Walker2d with random physics of each element as the task, as in rand_param_envs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

from pydantic import Field

from metarl.families.distributions import LogUniform
from metarl.families.family import register
from metarl.families.mujoco.changes import Physics, Scale
from metarl.families.mujoco.targets import shape_of_target
from metarl.families.task import Parameter

from .hopper import Hopper
from .walker2d import Walker2d

if TYPE_CHECKING:
    import mujoco

SOURCE = "github.com/dennisl88/rand_param_envs, as in github.com/lmzintgraf/varibad"
TIMESTEP = 0.004
"""Seconds of a physics step, as in VariBAD's copy of the source."""
LogScaleLimit = Annotated[float, Field(gt=0)]
"""L in the ranges of the factors."""
DOC = """
        The factors, one for each element and without unit, are 1.5^U(-L, L), those of dampings 1.3^U(-L, L), with L the
        setting `log_scale_limit`. Extrapolation: masses 1.5^U(L, L + 1). A step is four physics steps of 0.004 s.
        Preset: `varibad`.
        """


def rand_params(model: mujoco.MjModel, limit: float) -> Physics:
    """Return the physics of rand_param_envs, with a factor for each element of four fields.

    Factors are 1.5^U(-limit, limit), those of dampings 1.3^U(-limit, limit).
    """
    parameters = {}
    changes = {
        field: (Scale(f"{field}[*]"),) for field in ("body_mass", "body_inertia", "dof_damping", "geom_friction")
    }
    for field, (change,) in changes.items():
        base, shape = 1.3 if field == "dof_damping" else 1.5, shape_of_target(model, change.target)
        beyond = LogUniform(base**limit, base ** (limit + 1), shape) if field == "body_mass" else None
        train = LogUniform(base**-limit, base**limit, shape)
        parameters[field] = Parameter(train, beyond, meaning=f"factors of {field}, element by element")
    return Physics(parameters, changes)


@register("hopper-rand-params")
@dataclass(frozen=True)
class HopperRandParams(Hopper):
    """A hopper hops with unknown masses, inertias, frictions and dampings.

    Task: factors `body_mass` (4 bodies), `body_inertia` (4 bodies, 3 axes), `geom_friction` (5 geoms; sliding,
    torsional, rolling) and `dof_damping` (6 degrees of freedom).
    """

    source, presets, timestep, gymnasium_id = SOURCE, {"varibad": {}}, TIMESTEP, ""
    shared_doc = DOC + Hopper.shared_doc
    log_scale_limit: LogScaleLimit = 3.0

    @property
    def physics(self) -> Physics:
        """A factor for each element."""
        return rand_params(self.model, self.log_scale_limit)


@register("walker2d-rand-params")
@dataclass(frozen=True)
class Walker2dRandParams(Walker2d):
    """A walker walks with unknown masses, inertias, frictions and dampings.

    Task: factors `body_mass` (7 bodies), `body_inertia` (7 bodies, 3 axes), `geom_friction` (8 geoms; sliding,
    torsional, rolling) and `dof_damping` (9 degrees of freedom).
    """

    source, presets, timestep, gymnasium_id = SOURCE, {"varibad": {}}, TIMESTEP, ""
    shared_doc = DOC + Walker2d.shared_doc
    asset = "walker2d.xml"
    log_scale_limit: LogScaleLimit = 3.0

    @property
    def physics(self) -> Physics:
        """A factor for each element."""
        return rand_params(self.model, self.log_scale_limit)
