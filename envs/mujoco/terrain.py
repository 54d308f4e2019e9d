"""Bodies on slopes and under loads."""

from __future__ import annotations

import math
from dataclasses import dataclass

from metarl.families.distributions import Uniform
from metarl.families.family import register
from metarl.families.mujoco.changes import Add, Physics, Set
from metarl.families.task import Parameter

from .ant import AntRun
from .bodies import NAGABANDI
from .half_cheetah import HalfCheetahRun

STEEPEST, BEYOND = math.radians(15), math.radians(20)
"""Steepest slope in training and in extrapolation, rad."""
SLOPE = Physics(
    {"slope": Parameter(Uniform(-STEEPEST, STEEPEST), Uniform(STEEPEST, BEYOND), "rad", "rise of the floor along +x")},
    {"slope": (Set("slope"),)},
)
SLOPE_DOC = """
        Task: `slope`, in rad, uniform from -15 to 15 degrees, uphill where positive. Extrapolation: 15 to 20 degrees.
        The floor stays level and gravity leans, which is equivalent on an endless plane; x runs along the floor and z
        across it.
        """


def _payload(heaviest: float, beyond: float) -> Physics:
    load = Parameter(Uniform(0.0, heaviest), Uniform(heaviest, beyond), "kg", "load at the torso's centre of mass")
    return Physics({"payload": load}, {"payload": (Add("body_mass[torso]"),)})


@register("half-cheetah-slope")
@dataclass(frozen=True)
class HalfCheetahSlope(HalfCheetahRun):
    """A half cheetah runs on a floor of unknown slope."""

    source = NAGABANDI
    shared_doc = SLOPE_DOC + HalfCheetahRun.shared_doc
    physics = SLOPE


@register("ant-slope")
@dataclass(frozen=True)
class AntSlope(AntRun):
    """An ant runs on a floor of unknown slope."""

    source = NAGABANDI
    shared_doc = SLOPE_DOC + AntRun.shared_doc
    physics = SLOPE


@register("half-cheetah-payload")
@dataclass(frozen=True)
class HalfCheetahPayload(HalfCheetahRun):
    """A half cheetah of 14 kg runs forward under an unknown load.

    Task: `payload`, in kg, at the torso's centre of mass, uniform from 0 to 10. Extrapolation: 10 to 15.
    """

    source = NAGABANDI
    physics = _payload(10.0, 15.0)


@register("ant-payload")
@dataclass(frozen=True)
class AntPayload(AntRun):
    """An ant of 0.91 kg runs forward under an unknown load.

    Task: `payload`, in kg, at the torso's centre of mass, uniform from 0 to 0.5. Extrapolation: 0.5 to 0.8.
    """

    source = NAGABANDI
    physics = _payload(0.5, 0.8)
