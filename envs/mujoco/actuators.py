"""Bodies whose motors obey late, or the wrong way round."""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import ClassVar

from metarl.families.distributions import Choice
from metarl.families.family import register
from metarl.families.mujoco.changes import Physics, Scale
from metarl.families.task import Parameter

from .ant import ANT_TABLES, AntRun, Contacts
from .bodies import described
from .half_cheetah import HALF_CHEETAH_TABLES, HalfCheetahRun

DELAY = Physics(
    {"delay": Parameter(Choice((0.0, 1.0, 2.0)), Choice((3.0, 4.0)), "steps", "steps by which actions arrive late")},
    delay="delay",
)


def _reversal(motors: int) -> Physics:
    signs = list(itertools.product((1.0, -1.0), repeat=motors))
    even, odd = (tuple(row for row in signs if row.count(-1.0) % 2 == rest) for rest in (0, 1))
    parameter = Parameter(Choice(even), Choice(odd), meaning="+1 or, for a motor that is reversed, -1")
    return Physics({"signs": parameter}, {"signs": (Scale("actuator_gear[*]"),)})


@register("half-cheetah-delay")
@described(HALF_CHEETAH_TABLES)
@dataclass(frozen=True)
class HalfCheetahDelay(HalfCheetahRun):
    """A half cheetah runs forward while its actions arrive late, and is not told by how much.

    Reward: dx/dt - 0.1 |a|^2, a the action as it was sent. Never terminates. Until the first arrives, the motors rest.
    Task: `delay`, 0, 1 or 2 steps of 0.05 s; extrapolation: 3 or 4. Three tasks in all, so that the validation and test
    splits hold the tasks of training. 200 steps.
    """

    source: ClassVar[str] = "Ramstedt and Pal, Real-Time Reinforcement Learning, NeurIPS 2019, for the setting"
    physics: ClassVar[Physics] = DELAY


@register("ant-delay")
@described(ANT_TABLES)
@dataclass(frozen=True)
class AntDelay(AntRun):
    """An ant runs forward while its actions arrive late, and is not told by how much.

    Reward: dx/dt + 1 - 0.5 |a|^2, a the action as it was sent, less the contact cost where contacts are read (they are
    not by default). Ends when the torso's height leaves 0.2 to 1 m. Until the first arrives, the motors rest. Task:
    `delay`, 0, 1 or 2 steps of 0.05 s; extrapolation: 3 or 4. Three tasks in all, so that the validation and test
    splits hold the tasks of training. 200 steps.
    """

    source: ClassVar[str] = "Ramstedt and Pal, Real-Time Reinforcement Learning, NeurIPS 2019, for the setting"
    physics: ClassVar[Physics] = DELAY
    contacts: Contacts = "none"


@register("half-cheetah-reversed")
@described(HALF_CHEETAH_TABLES)
@dataclass(frozen=True)
class HalfCheetahReversed(HalfCheetahRun):
    """A half cheetah runs forward with some motors reversed, and is not told which.

    Reward: dx/dt - 0.1 |a|^2. Never terminates. Task: `signs`, +1 or -1 for each of 6 motors, an even number of them
    reversed: 32 tasks; extrapolation: the 32 with an odd number. The validation and test splits hold the tasks of
    training. 200 steps.
    """

    source: ClassVar[str] = "metarl; sign-flipped actions as in Nagabandi et al., ICLR 2019"
    physics: ClassVar[Physics] = _reversal(6)


@register("ant-reversed")
@described(ANT_TABLES)
@dataclass(frozen=True)
class AntReversed(AntRun):
    """An ant runs forward with some motors reversed, and is not told which.

    Reward: dx/dt + 1 - 0.5 |a|^2, less the contact cost where contacts are read (they are not by default). Ends when
    the torso's height leaves 0.2 to 1 m. Task: `signs`, +1 or -1 for each of 8 motors, an even number of them reversed:
    128 tasks; extrapolation: the 128 with an odd number. The validation and test splits hold the tasks of training. 200
    steps.
    """

    source: ClassVar[str] = "metarl; sign-flipped actions as in Nagabandi et al., ICLR 2019"
    physics: ClassVar[Physics] = _reversal(8)
    contacts: Contacts = "none"
