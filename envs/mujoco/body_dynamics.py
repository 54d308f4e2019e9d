"""Gymnasium's bodies with their physics as the task: masses, frictions, dampings, motors and gravity."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from metarl.families.distributions import LogUniform
from metarl.families.family import register
from metarl.families.mujoco.changes import Physics, Scale
from metarl.families.task import Parameter

from .ant import AntRun
from .half_cheetah import HalfCheetahRun
from .hopper import Hopper
from .humanoid import HumanoidRun
from .swimmer import Swimmer
from .walker2d import Walker2d


def _factor(meaning: str) -> Parameter:
    return Parameter(LogUniform(0.5, 2.0), LogUniform(2.0, 3.0), meaning=f"factor of {meaning}")


_MASS, _STRENGTH = _factor("all masses and inertias"), _factor("all motors' gears")
_SCALES_MASS, _SCALES_STRENGTH = (Scale("body_mass[*]"), Scale("body_inertia[*]")), (Scale("actuator_gear[*]"),)

LAND = Physics(
    parameters={
        "mass": _MASS,
        "friction": _factor("all sliding frictions"),
        "damping": _factor("all joint dampings"),
        "strength": _STRENGTH,
        "gravity": _factor("gravity"),
    },
    changes={
        "mass": _SCALES_MASS,
        "friction": (Scale("geom_friction[*][0]"),),
        "damping": (Scale("dof_damping[*]"),),
        "strength": _SCALES_STRENGTH,
        "gravity": (Scale("gravity[z]"),),
    },
)
"""Physics of a body that walks."""
LAND_DOC = """
        Task: five factors without unit, each log-uniform from 0.5 to 2; extrapolation: 2 to 3. `mass` scales masses and
        inertias, `friction` sliding frictions, `damping` joint dampings, `strength` the motors, `gravity` gravity.
        """

WATER = Physics(
    parameters={
        "mass": _MASS,
        "viscosity": _factor("the water's viscosity"),
        "density": _factor("the water's density"),
        "strength": _STRENGTH,
    },
    changes={
        "mass": _SCALES_MASS,
        "viscosity": (Scale("viscosity"),),
        "density": (Scale("density"),),
        "strength": _SCALES_STRENGTH,
    },
)
"""Physics of a body that swims."""
WATER_DOC = """
        Task: four factors without unit, each log-uniform from 0.5 to 2; extrapolation: 2 to 3. `mass` scales masses and
        inertias, `viscosity` and `density` those of the water, `strength` the motors.
        """


@register("half-cheetah-dynamics")
@dataclass(frozen=True)
class HalfCheetahDynamics(HalfCheetahRun):
    """A half cheetah runs forward with unknown physics."""

    shared_doc = LAND_DOC + HalfCheetahRun.shared_doc
    physics = LAND


@register("ant-dynamics")
@dataclass(frozen=True)
class AntDynamics(AntRun):
    """An ant runs forward with unknown physics."""

    shared_doc = LAND_DOC + AntRun.shared_doc
    physics = LAND


@register("hopper-dynamics")
@dataclass(frozen=True)
class HopperDynamics(Hopper):
    """A hopper hops forward with unknown physics."""

    shared_doc = LAND_DOC + Hopper.shared_doc
    physics = LAND


@register("walker2d-dynamics")
@dataclass(frozen=True)
class Walker2dDynamics(Walker2d):
    """A walker walks forward with unknown physics."""

    shared_doc = LAND_DOC + Walker2d.shared_doc
    physics = LAND


@register("humanoid-dynamics")
@dataclass(frozen=True)
class HumanoidDynamics(HumanoidRun):
    """A humanoid runs forward with unknown physics.

    Observes 45 numbers by default, because `all` would show the masses.
    """

    shared_doc = LAND_DOC + HumanoidRun.shared_doc
    physics = LAND
    observes: Literal["joints", "all"] = "joints"
    contact_forces: bool = False


@register("swimmer-dynamics")
@dataclass(frozen=True)
class SwimmerDynamics(Swimmer):
    """A swimmer swims forward in unknown water with an unknown body."""

    shared_doc = WATER_DOC + Swimmer.shared_doc
    physics = WATER
