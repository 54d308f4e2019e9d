"""Bodies whose motors act late, or in the wrong direction."""

from __future__ import annotations

import itertools
from dataclasses import dataclass

from metarl.families.distributions import Choice
from metarl.families.family import register
from metarl.families.mujoco.changes import Physics, Scale
from metarl.families.task import Parameter

from .ant import AntRun
from .half_cheetah import HalfCheetahRun

DELAY = Physics(
    {"delay": Parameter(Choice((0.0, 1.0, 2.0)), Choice((3.0, 4.0)), "steps", "steps by which actions arrive late")},
    delay="delay",
)
DELAY_DOC = """
        Task: `delay`, 0, 1 or 2 steps of 0.05 s. Extrapolation: 3 or 4 steps. The motors rest until the first action
        arrives. There are three tasks in all, so the validation and test splits repeat those of training. |a|^2 is that
        of the action as sent.
        """
DELAY_SOURCE = "Ramstedt and Pal, Real-Time Reinforcement Learning, NeurIPS 2019, for the setting"
REVERSED_SOURCE = "metarl; sign-flipped actions as in Nagabandi et al., ICLR 2019"


def _reversal(motors: int) -> Physics:
    signs = list(itertools.product((1.0, -1.0), repeat=motors))
    even, odd = (tuple(row for row in signs if row.count(-1.0) % 2 == rest) for rest in (0, 1))
    parameter = Parameter(Choice(even), Choice(odd), meaning="-1 for a reversed motor, else +1")
    return Physics({"signs": parameter}, {"signs": (Scale("actuator_gear[*]"),)})


@register("half-cheetah-delay")
@dataclass(frozen=True)
class HalfCheetahDelay(HalfCheetahRun):
    """A half cheetah runs forward while its actions arrive late by an unknown number of steps."""

    source = DELAY_SOURCE
    shared_doc = DELAY_DOC + HalfCheetahRun.shared_doc
    physics = DELAY


@register("ant-delay")
@dataclass(frozen=True)
class AntDelay(AntRun):
    """An ant runs forward while its actions arrive late by an unknown number of steps."""

    source = DELAY_SOURCE
    shared_doc = DELAY_DOC + AntRun.shared_doc
    physics = DELAY


@register("half-cheetah-reversed")
@dataclass(frozen=True)
class HalfCheetahReversed(HalfCheetahRun):
    """A half cheetah runs forward with some motors reversed, which ones it does not know.

    Task: `signs`, +1 or -1 for each of 6 motors, with an even number reversed: 32 tasks. Extrapolation: the 32 with an
    odd number. The validation and test splits repeat the tasks of training.
    """

    source = REVERSED_SOURCE
    physics = _reversal(6)


@register("ant-reversed")
@dataclass(frozen=True)
class AntReversed(AntRun):
    """An ant runs forward with some motors reversed, which ones it does not know.

    Task: `signs`, +1 or -1 for each of 8 motors, with an even number reversed: 128 tasks. Extrapolation: the 128 with
    an odd number. The validation and test splits repeat the tasks of training.
    """

    source = REVERSED_SOURCE
    physics = _reversal(8)
