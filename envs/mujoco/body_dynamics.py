"""Gymnasium's bodies with their physics as the task: masses, frictions, dampings, motors and gravity."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

from metarl.families.distributions import LogUniform
from metarl.families.family import register
from metarl.families.mujoco.changes import Physics, Scale
from metarl.families.task import Parameter

from .ant import ANT_TABLES, AntRun, Contacts
from .bodies import described
from .half_cheetah import HALF_CHEETAH_TABLES, HalfCheetahRun
from .hopper import HOPPER_TABLES, Hopper
from .humanoid import HUMANOID_TABLES, HumanoidRun
from .swimmer import SWIMMER_TABLES, Swimmer
from .walker2d import WALKER2D_TABLES, Walker2d


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
"""What varies for a body that walks."""

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
"""What varies for a body that swims."""


@register("half-cheetah-dynamics")
@described(HALF_CHEETAH_TABLES)
@dataclass(frozen=True)
class HalfCheetahDynamics(HalfCheetahRun):
    """A half cheetah runs forward with physics that it is not told.

    Reward: dx/dt - 0.1 |a|^2. Never terminates. Task, factors without unit, each log-uniform from 0.5 to 2,
    extrapolation 2 to 3: `mass` (masses and inertias), `friction` (sliding), `damping` (joints), `strength` (motors),
    `gravity`. 200 steps.
    """

    physics: ClassVar[Physics] = LAND


@register("ant-dynamics")
@described(ANT_TABLES)
@dataclass(frozen=True)
class AntDynamics(AntRun):
    """An ant runs forward with physics that it is not told.

    Reward: dx/dt + 1 - 0.5 |a|^2, less the contact cost where contacts are read (they are not by default). Ends when
    the torso's height leaves 0.2 to 1 m. Task, factors without unit, each log-uniform from 0.5 to 2, extrapolation 2 to
    3: `mass` (masses and inertias), `friction` (sliding), `damping` (joints), `strength` (motors), `gravity`. 200
    steps.
    """

    physics: ClassVar[Physics] = LAND
    contacts: Contacts = "none"


@register("hopper-dynamics")
@described(HOPPER_TABLES)
@dataclass(frozen=True)
class HopperDynamics(Hopper):
    """A hopper hops forward with physics that it is not told.

    Reward: dx/dt + 1 - 0.001 |a|^2. Ends when the height is 0.7 m or less, the pitch 0.2 rad or more, or any other
    position or velocity 100 or more. Task, factors without unit, each log-uniform from 0.5 to 2, extrapolation 2 to 3:
    `mass` (masses and inertias), `friction` (sliding), `damping` (joints), `strength` (motors), `gravity`. 200 steps.
    """

    physics: ClassVar[Physics] = LAND


@register("walker2d-dynamics")
@described(WALKER2D_TABLES)
@dataclass(frozen=True)
class Walker2dDynamics(Walker2d):
    """A walker walks forward with physics that it is not told.

    Reward: dx/dt + 1 - 0.001 |a|^2. Ends when the height leaves (0.8, 2) m or the pitch (-1, 1) rad. Task, factors
    without unit, each log-uniform from 0.5 to 2, extrapolation 2 to 3: `mass` (masses and inertias), `friction`
    (sliding), `damping` (joints), `strength` (motors), `gravity`. 200 steps.
    """

    physics: ClassVar[Physics] = LAND


@register("humanoid-dynamics")
@described(HUMANOID_TABLES)
@dataclass(frozen=True)
class HumanoidDynamics(HumanoidRun):
    """A humanoid runs forward with physics that it is not told.

    Reward: 1.25 dCOM_x/dt + 5 - 0.1 |a|^2, less the contact cost where contacts are read (they are not by default).
    Ends when the torso's height leaves 1 to 2 m. Observes 45 numbers by default: `all` would show the masses. Task,
    factors without unit, each log-uniform from 0.5 to 2, extrapolation 2 to 3: `mass` (masses and inertias), `friction`
    (sliding), `damping` (joints), `strength` (motors), `gravity`. 200 steps.
    """

    physics: ClassVar[Physics] = LAND
    observes: Literal["joints", "all"] = "joints"
    contact_forces: bool = False


@register("swimmer-dynamics")
@described(SWIMMER_TABLES)
@dataclass(frozen=True)
class SwimmerDynamics(Swimmer):
    """A swimmer swims forward in water, and with a body, that it is not told.

    Reward: dx/dt - 0.0001 |a|^2. Never terminates. Task, factors without unit, each log-uniform from 0.5 to 2,
    extrapolation 2 to 3: `mass` (masses and inertias), `viscosity` and `density` (of the water), `strength` (motors).
    200 steps.
    """

    physics: ClassVar[Physics] = WATER
