"""Bodies with one dead motor."""

from __future__ import annotations

from dataclasses import dataclass

from metarl.families.distributions import Choice
from metarl.families.family import register
from metarl.families.mujoco.changes import Physics, Zero
from metarl.families.task import Parameter

from .ant import AntRun
from .bodies import NAGABANDI
from .half_cheetah import HalfCheetahRun


def _dead(trained: int, motors: int) -> Physics:
    first, rest = (tuple(float(i) for i in numbers) for numbers in (range(trained), range(trained, motors)))
    joint = Parameter(Choice(first), Choice(rest), meaning="number of the action that has no effect")
    return Physics({"joint": joint}, {"joint": (Zero("actuator_gear[*]"),)})


@register("half-cheetah-crippled")
@dataclass(frozen=True)
class HalfCheetahCrippled(HalfCheetahRun):
    """A half cheetah runs forward with one dead motor, which one it does not know.

    Task: `joint`, the number of the action that has no effect, 0 to 3 (back leg, front thigh). Extrapolation: 4 and 5
    (front shin and foot), which no training task has. There are four tasks in all, so the validation and test splits
    repeat those of training.
    """

    source = NAGABANDI
    physics = _dead(4, 6)


@register("ant-crippled")
@dataclass(frozen=True)
class AntCrippled(AntRun):
    """An ant runs forward with one dead motor, which one it does not know.

    Task: `joint`, the number of the action that has no effect, 0 to 5 (back right, front left and front right leg).
    Extrapolation: 6 and 7 (back left leg), which no training task has. There are six tasks in all, so the validation
    and test splits repeat those of training.
    """

    source = NAGABANDI
    physics = _dead(6, 8)
