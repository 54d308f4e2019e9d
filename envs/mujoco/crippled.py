"""Bodies with one dead motor."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from metarl.families.distributions import Choice
from metarl.families.family import register
from metarl.families.mujoco.changes import Physics, Zero
from metarl.families.task import Parameter

from .ant import ANT_TABLES, AntRun, Contacts
from .bodies import described
from .half_cheetah import HALF_CHEETAH_TABLES, HalfCheetahRun

SOURCE = "Nagabandi et al., Learning to Adapt in Dynamic, Real-World Environments, ICLR 2019"


def _dead(trained: int, motors: int) -> Physics:
    first, rest = (tuple(float(i) for i in numbers) for numbers in (range(trained), range(trained, motors)))
    joint = Parameter(Choice(first), Choice(rest), meaning="number of the action that does nothing")
    return Physics({"joint": joint}, {"joint": (Zero("actuator_gear[*]"),)})


@register("half-cheetah-crippled")
@described(HALF_CHEETAH_TABLES)
@dataclass(frozen=True)
class HalfCheetahCrippled(HalfCheetahRun):
    """A half cheetah runs forward with one motor dead, and is not told which.

    Reward: dx/dt - 0.1 |a|^2. Never terminates. Task: `joint`, the number of the action that does nothing, 0 to 3 (back
    leg, front thigh); extrapolation: 4 and 5, front shin and foot, dead in no training task. Four tasks in all, so that
    the validation and test splits hold the tasks of training. 200 steps.
    """

    source: ClassVar[str] = SOURCE
    physics: ClassVar[Physics] = _dead(4, 6)


@register("ant-crippled")
@described(ANT_TABLES)
@dataclass(frozen=True)
class AntCrippled(AntRun):
    """An ant runs forward with one motor dead, and is not told which.

    Reward: dx/dt + 1 - 0.5 |a|^2, less the contact cost where contacts are read (they are not by default). Ends when
    the torso's height leaves 0.2 to 1 m. Task: `joint`, the number of the action that does nothing, 0 to 5 (back right,
    front left and front right leg); extrapolation: 6 and 7, back left leg, dead in no training task. Six tasks in all,
    so that the validation and test splits hold the tasks of training. 200 steps.
    """

    source: ClassVar[str] = SOURCE
    physics: ClassVar[Physics] = _dead(6, 8)
    contacts: Contacts = "none"
