"""Pendulum with its physics as the task."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from gymnasium.spaces import Box

from metarl.base.streams import Streams
from metarl.families.arrays import ArrayFamily
from metarl.families.batch import State
from metarl.families.distributions import LogUniform
from metarl.families.family import register
from metarl.families.task import Horizon, Parameter, Values

if TYPE_CHECKING:
    from matplotlib.axes import Axes

MAX_TORQUE = 2.0
"""Largest torque in both directions, N m."""
HIGH = np.array([1.0, 1.0, np.inf], dtype=np.float32)
"""Upper bounds of the observation."""


def _near(default: float) -> LogUniform:
    return LogUniform(default * (2 / 3), default * (3 / 2))


def _above(default: float) -> LogUniform:
    return LogUniform(default * (3 / 2), default * 2.0)


def _below(default: float) -> LogUniform:
    return LogUniform(default * (1 / 2), default * (2 / 3))


@register("pendulum-physics")
@dataclass(frozen=True)
class PendulumPhysics(ArrayFamily):
    """A weak motor swings a pendulum up and holds it. The pendulum's physics differ from task to task.

    | observation | meaning | unit |
    |---|---|---|
    | 0, 1 | cosine and sine of the angle from upright | |
    | 2 | angular velocity | rad/s |

    | action | meaning | range |
    |---|---|---|
    | 0 | torque | -2 to 2 N m |

    Reward: -(theta^2 + 0.1 thetadot^2 + 0.001 torque^2) of the state before the step, with theta in [-pi, pi). Never
    terminates. Everything else is as in Gymnasium's Pendulum-v1, but in float64 throughout: dynamics, start (angle
    uniform on ±pi, velocity on ±1), and 200 steps. The observed velocity has no bounds, because its limit is a task
    parameter.

    | task parameter | meaning | default | training | extrapolation | CARL's bounds |
    |---|---|---|---|---|---|
    | `g` | gravity, m/s^2 | 10 | 6.7 to 15 | 15 to 20 | 0, none |
    | `m` | mass, kg | 1 | 0.67 to 1.5 | 0.5 to 0.67 | 1e-6, none |
    | `l` | length, m | 1 | 0.67 to 1.5 | 0.5 to 0.67 | 1e-6, none |
    | `dt` | seconds a step | 0.05 | 0.033 to 0.075 | 0.075 to 0.1 | 0, none |
    | `max_speed` | largest angular velocity, rad/s | 8 | 5.3 to 12 | 12 to 16 | none |

    CARL has no usable bounds. Training goes from 2/3 to 3/2 of the default, uniform in the logarithm; extrapolation
    from there to twice the default, or to half of it for mass and length, because a motor of 2 N m cannot lift a much
    heavier pendulum.
    """

    source = (
        "Benjamins et al., Contextualize Me, TMLR 2023; github.com/automl/CARL "
        "(carl/envs/gymnasium/classic_control/carl_pendulum.py); Gymnasium's Pendulum-v1"
    )
    gymnasium_id = "Pendulum-v1"
    render_fps = 30
    horizon: Horizon = 200

    parameters = {
        "g": Parameter(_near(10), _above(10), "m/s^2", "gravity"),
        "m": Parameter(_near(1), _below(1), "kg", "mass"),
        "l": Parameter(_near(1), _below(1), "m", "length"),
        "dt": Parameter(_near(0.05), _above(0.05), "s", "seconds a step"),
        "max_speed": Parameter(_near(8), _above(8), "rad/s", "largest angular velocity"),
    }
    observation_space = Box(-HIGH, HIGH, dtype=np.float32)
    action_space = Box(-MAX_TORQUE, MAX_TORQUE, (1,), dtype=np.float32)

    def initial(self, task: Values, streams: Streams) -> State:
        """Begin at any angle with a low speed."""
        draws = 2 * streams.uniform((2,)) - 1
        return {"theta": math.pi * draws[..., 0], "theta_dot": draws[..., 1]}

    def transition(self, state: State, action: np.ndarray, task: Values, streams: Streams) -> State:
        """Update the velocity, then the angle with the new velocity."""
        length, dt, top = task["l"], task["dt"], task["max_speed"]
        acceleration = 3 * task["g"] / (2 * length) * np.sin(state["theta"])
        acceleration += 3.0 / (task["m"] * np.square(length)) * _torque(action)
        theta_dot = np.clip(state["theta_dot"] + acceleration * dt, -top, top)
        return {"theta": state["theta"] + theta_dot * dt, "theta_dot": theta_dot}

    def observation(self, state: State) -> np.ndarray:
        """Return cosine, sine and angular velocity."""
        return np.stack([np.cos(state["theta"]), np.sin(state["theta"]), state["theta_dot"]], axis=1)

    def reward(self, before: State, action: np.ndarray, after: State, task: Values) -> np.ndarray:
        """Return minus the cost of the angle, the velocity and the torque."""
        theta = (before["theta"] + math.pi) % (2 * math.pi) - math.pi
        return -(np.square(theta) + 0.1 * np.square(before["theta_dot"]) + 0.001 * np.square(_torque(action)))

    def draw(self, axes: Axes, state: State, task: Values, world: int) -> None:
        """Draw the rod."""
        theta, length = float(state["theta"][world]), float(task["l"][world])
        axes.plot([0, -length * math.sin(theta)], [0, length * math.cos(theta)], color="#d55e00", linewidth=8)
        axes.plot([0], [0], "o", color="0.2")
        axes.set(xlim=(-1.6, 1.6), ylim=(-1.6, 1.6), aspect="equal", xlabel="m")


def _torque(action: np.ndarray) -> np.ndarray:
    return action[:, 0].astype(np.float64).clip(-MAX_TORQUE, MAX_TORQUE)
