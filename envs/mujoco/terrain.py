"""Bodies on slopes and under loads."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

from metarl.families.distributions import Uniform
from metarl.families.family import register
from metarl.families.mujoco.changes import Add, Physics, Set
from metarl.families.task import Parameter

from .ant import ANT_TABLES, AntRun, Contacts
from .bodies import described
from .half_cheetah import HALF_CHEETAH_TABLES, HalfCheetahRun

SOURCE = "Nagabandi et al., Learning to Adapt in Dynamic, Real-World Environments, ICLR 2019"


def _slope(steepest: float, beyond: float) -> Physics:
    train = Uniform(-math.radians(steepest), math.radians(steepest))
    outside = Uniform(math.radians(steepest), math.radians(beyond))
    return Physics(
        {"slope": Parameter(train, outside, "rad", "rise of the floor along +x")}, {"slope": (Set("slope"),)}
    )


def _payload(heaviest: float, beyond: float) -> Physics:
    load = Parameter(Uniform(0.0, heaviest), Uniform(heaviest, beyond), "kg", "load at the torso's centre of mass")
    return Physics({"payload": load}, {"payload": (Add("body_mass[torso]"),)})


@register("half-cheetah-slope")
@described(HALF_CHEETAH_TABLES)
@dataclass(frozen=True)
class HalfCheetahSlope(HalfCheetahRun):
    """A half cheetah runs on a floor whose slope it is not told.

    Reward: dx/dt - 0.1 |a|^2, x and z along and across the floor. Never terminates. Task: `slope`, in rad, uniform from
    -15 to 15 degrees, up for positive ones; extrapolation: 15 to 20 degrees. The floor stays level and gravity leans,
    which for an endless plane is the same. 200 steps.
    """

    source: ClassVar[str] = SOURCE
    physics: ClassVar[Physics] = _slope(15, 20)


@register("ant-slope")
@described(ANT_TABLES)
@dataclass(frozen=True)
class AntSlope(AntRun):
    """An ant runs on a floor whose slope it is not told.

    Reward: dx/dt + 1 - 0.5 |a|^2, less the contact cost where contacts are read (they are not by default), x along the
    floor. Ends when the torso's height leaves 0.2 to 1 m. Task: `slope`, in rad, uniform from -15 to 15 degrees, up for
    positive ones; extrapolation: 15 to 20 degrees. The floor stays level and gravity leans, which for an endless plane
    is the same. 200 steps.
    """

    source: ClassVar[str] = SOURCE
    physics: ClassVar[Physics] = _slope(15, 20)
    contacts: Contacts = "none"


@register("half-cheetah-payload")
@described(HALF_CHEETAH_TABLES)
@dataclass(frozen=True)
class HalfCheetahPayload(HalfCheetahRun):
    """A half cheetah, of 14 kg, runs forward under a load that it is not told.

    Reward: dx/dt - 0.1 |a|^2. Never terminates. Task: `payload`, in kg, at the torso's centre of mass, uniform from 0
    to 10; extrapolation: 10 to 15. 200 steps.
    """

    source: ClassVar[str] = SOURCE
    physics: ClassVar[Physics] = _payload(10.0, 15.0)


@register("ant-payload")
@described(ANT_TABLES)
@dataclass(frozen=True)
class AntPayload(AntRun):
    """An ant, of 0.91 kg, runs forward under a load that it is not told.

    Reward: dx/dt + 1 - 0.5 |a|^2, less the contact cost where contacts are read (they are not by default). Ends when
    the torso's height leaves 0.2 to 1 m. Task: `payload`, in kg, at the torso's centre of mass, uniform from 0 to 0.5;
    extrapolation: 0.5 to 0.8. 200 steps.
    """

    source: ClassVar[str] = SOURCE
    physics: ClassVar[Physics] = _payload(0.5, 0.8)
    contacts: Contacts = "none"
