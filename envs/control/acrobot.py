"""Acrobot with its physics as the task."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from gymnasium.spaces import Box, Discrete

from metarl.base.streams import Streams
from metarl.families.arrays import ArrayFamily
from metarl.families.batch import State
from metarl.families.distributions import LogUniform, Uniform
from metarl.families.family import register
from metarl.families.task import Horizon, Parameter, Values

if TYPE_CHECKING:
    from matplotlib.axes import Axes

DT = 0.2
"""Seconds a step."""
GRAVITY = 9.8
"""Gravity, m/s^2."""
MAX_VELOCITY_1, MAX_VELOCITY_2 = 4 * math.pi, 9 * math.pi
"""Largest angular velocities of the two joints, rad/s."""
HIGH = np.array([1.0, 1.0, 1.0, 1.0, MAX_VELOCITY_1, MAX_VELOCITY_2], dtype=np.float32)
"""Upper bounds of the observation."""
TRAIN, ABOVE, BELOW = LogUniform(2 / 3, 3 / 2), LogUniform(3 / 2, 2.0), LogUniform(1 / 2, 2 / 3)
INNER, OUTER = Uniform(0.35, 0.65), Uniform(0.65, 0.8)


@register("acrobot-physics")
@dataclass(frozen=True)
class AcrobotPhysics(ArrayFamily):
    """Two hanging links swing up by a torque at the joint between them. Their physics differ from task to task.

    | observation | meaning | unit |
    |---|---|---|
    | 0, 1 | cosine and sine of the first link's angle from hanging down | |
    | 2, 3 | cosine and sine of the second link's angle to the first | |
    | 4, 5 | angular velocities of the two joints, within 4 pi and 9 pi | rad/s |

    | action | meaning |
    |---|---|
    | 0, 1, 2 | torque of -1, 0, 1 N m at the joint between the links |

    Reward: -1 for every step, 0 for the step that terminates. Terminates, with success, where -cos(theta1) -
    cos(theta1 + theta2) > 1: with links of length 1 the free end would be 1 m above the first joint. Everything else
    is as in Gymnasium's Acrobot-v1: dynamics (the book's, one Runge-Kutta step of 0.2 s), start (each number uniform
    on ±0.1, in float32), and 500 steps.

    | task parameter | meaning | default | training | extrapolation | CARL's bounds |
    |---|---|---|---|---|---|
    | `link_length_1` | length of the first link, m | 1 | 0.67 to 1.5 | 1.5 to 2 | 0.1 to 10 |
    | `link_mass_1`, `link_mass_2` | masses of the links, kg | 1 | 0.67 to 1.5 | 0.5 to 0.67 | 0.1 to 10 |
    | `link_com_1`, `link_com_2` | joint to centre of mass, m | 0.5 | 0.35 to 0.65 | 0.65 to 0.8 | 0 to 1 |
    | `link_moi` | moment of inertia of each link, kg m^2 | 1 | 0.67 to 1.5 | 1.5 to 2 | 0.1 to 10 |

    Lengths, masses and inertia are uniform in the logarithm. Centres of mass are uniform and always within their link.
    CARL also varies `link_length_2`, which has no effect on Gymnasium's dynamics, and velocity limits, torque noise
    and start, which keep Gymnasium's values here.
    """

    source = (
        "Benjamins et al., Contextualize Me, TMLR 2023; github.com/automl/CARL "
        "(carl/envs/gymnasium/classic_control/carl_acrobot.py); Gymnasium's Acrobot-v1"
    )
    gymnasium_id = "Acrobot-v1"
    render_fps = 15
    horizon: Horizon = 500

    parameters = {
        "link_length_1": Parameter(TRAIN, ABOVE, "m", "length of the first link"),
        "link_mass_1": Parameter(TRAIN, BELOW, "kg", "mass of the first link"),
        "link_mass_2": Parameter(TRAIN, BELOW, "kg", "mass of the second link"),
        "link_com_1": Parameter(INNER, OUTER, "m", "centre of mass of the first link"),
        "link_com_2": Parameter(INNER, OUTER, "m", "centre of mass of the second link"),
        "link_moi": Parameter(TRAIN, ABOVE, "kg m^2", "moment of inertia of each link"),
    }
    observation_space = Box(-HIGH, HIGH, dtype=np.float32)
    action_space = Discrete(3)

    def initial(self, task: Values, streams: Streams) -> State:
        """Begin hanging down, almost at rest."""
        draws = np.moveaxis(-0.1 + 0.2 * streams.uniform((4,)), -1, 0).astype(np.float32).astype(np.float64)
        return _make_state(*draws)

    def transition(self, state: State, action: np.ndarray, task: Values, streams: Streams) -> State:
        """Take one fourth-order Runge-Kutta step, then wrap the angles and clip the velocities."""
        torque = action - 1.0
        y, links = np.stack([state["theta1"], state["theta2"], state["dtheta1"], state["dtheta2"]]), _Links.of(task)
        k1 = links.derivative(y, torque)
        k2 = links.derivative(y + DT / 2 * k1, torque)
        k3 = links.derivative(y + DT / 2 * k2, torque)
        k4 = links.derivative(y + DT * k3, torque)
        theta1, theta2, dtheta1, dtheta2 = y + DT / 6 * (k1 + 2 * k2 + 2 * k3 + k4)
        return _make_state(
            _wrap(theta1),
            _wrap(theta2),
            np.clip(dtheta1, -MAX_VELOCITY_1, MAX_VELOCITY_1),
            np.clip(dtheta2, -MAX_VELOCITY_2, MAX_VELOCITY_2),
        )

    def observation(self, state: State) -> np.ndarray:
        """Return cosine and sine of both angles, and the velocities."""
        cos1, sin1, cos2, sin2 = (f(state[name]) for name in ("theta1", "theta2") for f in (np.cos, np.sin))
        return np.stack([cos1, sin1, cos2, sin2, state["dtheta1"], state["dtheta2"]], axis=1)

    def reward(self, before: State, action: np.ndarray, after: State, task: Values) -> np.ndarray:
        """Return -1, or 0 in the step that terminates."""
        return np.where(self.terminated(after, task), 0.0, -1.0)

    def terminated(self, state: State, task: Values) -> np.ndarray:
        """Return whether the free end is high enough."""
        return state["height"] > 1.0

    def success(self, state: State, task: Values) -> np.ndarray:
        """Return whether the free end is high enough."""
        return self.terminated(state, task)

    def draw(self, axes: Axes, state: State, task: Values, world: int) -> None:
        """Draw the links, the second of length 1, and the height to reach with links of length 1."""
        theta1, theta2 = float(state["theta1"][world]), float(state["theta2"][world])
        length = float(task["link_length_1"][world])
        x, y = length * math.sin(theta1), -length * math.cos(theta1)
        axes.axhline(1, color="#0072b2")
        axes.plot(
            [0, x, x + math.sin(theta1 + theta2)], [0, y, y - math.cos(theta1 + theta2)], "o-", color="#d55e00", lw=6
        )
        axes.set(xlim=(-3.1, 3.1), ylim=(-3.1, 3.1), aspect="equal", xlabel="m")


def _make_state(theta1: np.ndarray, theta2: np.ndarray, dtheta1: np.ndarray, dtheta2: np.ndarray) -> State:
    """Return the state with the height that the free end would have on links of length 1, which is used three times."""
    height = -np.cos(theta1) - np.cos(theta2 + theta1)
    return {"theta1": theta1, "theta2": theta2, "dtheta1": dtheta1, "dtheta2": dtheta2, "height": height}


class _Links(NamedTuple):
    """Constants of the equations of motion that follow from the links, each [world]."""

    middle: np.ndarray
    """Inertia of both links about the first joint, without the part that depends on the angle between them."""
    second: np.ndarray
    """Inertia of the second link about its own joint."""
    coupling: np.ndarray
    """m2 l1 lc2, the factor of all terms that depend on the angle between the links."""
    fall1: np.ndarray
    """Torque of gravity at the first joint when both links are level, without the second link's own part."""
    fall2: np.ndarray
    """Torque of gravity on the second link at its joint when it is level."""

    @classmethod
    def of(cls, task: Values) -> _Links:
        m1, m2, l1 = task["link_mass_1"], task["link_mass_2"], task["link_length_1"]
        lc1, lc2, inertia = task["link_com_1"], task["link_com_2"], task["link_moi"]
        return cls(
            middle=m1 * np.square(lc1) + m2 * (np.square(l1) + np.square(lc2)) + inertia + inertia,
            second=m2 * np.square(lc2) + inertia,
            coupling=m2 * l1 * lc2,
            fall1=(m1 * lc1 + m2 * l1) * GRAVITY,
            fall2=m2 * lc2 * GRAVITY,
        )

    def derivative(self, y: np.ndarray, torque: np.ndarray) -> np.ndarray:
        """Return the time derivative of (theta1, theta2, dtheta1, dtheta2), [4, world].

        The equations are Sutton and Barto's, as in Gymnasium.
        """
        theta1, theta2, dtheta1, dtheta2 = y
        bend, swing = self.coupling * np.cos(theta2), self.coupling * np.sin(theta2)
        d1 = self.middle + 2 * bend
        d2 = self.second + bend
        phi2 = self.fall2 * np.sin(theta1 + theta2)
        phi1 = -swing * dtheta2 * (dtheta2 + 2 * dtheta1) + self.fall1 * np.sin(theta1) + phi2
        ratio = d2 / d1
        ddtheta2 = (torque + ratio * phi1 - swing * np.square(dtheta1) - phi2) / (self.second - ratio * d2)
        ddtheta1 = -(d2 * ddtheta2 + phi1) / d1
        return np.stack([dtheta1, dtheta2, ddtheta1, ddtheta2])


def _wrap(angle: np.ndarray) -> np.ndarray:
    # An angle within ±pi keeps its bits, as in Gymnasium; a modulo would round it.
    return angle - 2 * math.pi * np.ceil((np.abs(angle) - math.pi) / (2 * math.pi)) * np.sign(angle)
