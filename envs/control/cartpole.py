"""CartPole with its physics as the task."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from gymnasium.spaces import Box, Discrete

from metarl.base.streams import Streams
from metarl.families.arrays import ArrayFamily
from metarl.families.batch import State
from metarl.families.distributions import LogUniform
from metarl.families.family import register
from metarl.families.task import Horizon, Parameter, Values

if TYPE_CHECKING:
    from matplotlib.axes import Axes

DT = 0.02
"""Seconds a step."""
MAX_X = 2.4
"""Distance from the middle at which the episode ends, m."""
MAX_ANGLE = 12 * 2 * math.pi / 360
"""Angle from upright at which the episode ends, rad."""


@register("cartpole-physics")
@dataclass(frozen=True)
class CartPolePhysics(ArrayFamily):
    """A cart keeps a pole upright. Masses, length, force and gravity differ from task to task.

    | observation | meaning | unit |
    |---|---|---|
    | 0, 1 | position and velocity of the cart | m, m/s |
    | 2, 3 | angle from upright and angular velocity of the pole | rad, rad/s |

    | action | meaning |
    |---|---|
    | 0, 1 | push to the left, to the right with the task's force |

    Reward: 1 for every step, including the last. Terminates where the cart is more than 2.4 m from the middle, or the
    pole more than 12 degrees from upright. Everything else is as in Gymnasium's CartPole-v1: dynamics (Euler steps of
    0.02 s), start (each number uniform on ±0.05), and 500 steps. Only the observation has no bounds here, because a
    light pole may turn far in one step.

    | task parameter | meaning | default | training | extrapolation | CARL's bounds |
    |---|---|---|---|---|---|
    | `gravity` | gravity, m/s^2 | 9.8 | 4.9 to 19.6 | 19.6 to 39.2 | 0.1, none |
    | `masscart` | mass of the cart, kg | 1 | 0.5 to 2 | 2 to 4 | 0.1 to 10 |
    | `masspole` | mass of the pole, kg | 0.1 | 0.05 to 0.2 | 0.2 to 0.4 | 0.01 to 1 |
    | `length` | half the pole's length, m | 0.5 | 0.25 to 1 | 1 to 2 | 0.05 to 5 |
    | `force_mag` | size of the push, N | 10 | 5 to 20 | 20 to 40 | 1 to 100 |

    Training goes from half to twice Gymnasium's default, uniform in the logarithm; extrapolation from two to four times
    the default. CARL also varies the time step, which keeps Gymnasium's value here.
    """

    source = (
        "Benjamins et al., Contextualize Me, TMLR 2023; github.com/automl/CARL "
        "(carl/envs/gymnasium/classic_control/carl_cartpole.py); Gymnasium's CartPole-v1"
    )
    gymnasium_id = "CartPole-v1"
    render_fps = 50
    horizon: Horizon = 500

    parameters = {
        "gravity": Parameter(LogUniform(4.9, 19.6), LogUniform(19.6, 39.2), "m/s^2", "gravity"),
        "masscart": Parameter(LogUniform(0.5, 2.0), LogUniform(2.0, 4.0), "kg", "mass of the cart"),
        "masspole": Parameter(LogUniform(0.05, 0.2), LogUniform(0.2, 0.4), "kg", "mass of the pole"),
        "length": Parameter(LogUniform(0.25, 1.0), LogUniform(1.0, 2.0), "m", "half the pole's length"),
        "force_mag": Parameter(LogUniform(5.0, 20.0), LogUniform(20.0, 40.0), "N", "size of the push"),
    }
    observation_space = Box(-np.inf, np.inf, (4,), dtype=np.float32)
    action_space = Discrete(2)

    def initial(self, task: Values, streams: Streams) -> State:
        """Begin near the middle, almost upright."""
        x, x_dot, theta, theta_dot = np.moveaxis(-0.05 + 0.1 * streams.uniform((4,)), -1, 0)
        return {"x": x, "x_dot": x_dot, "theta": theta, "theta_dot": theta_dot}

    def transition(self, state: State, action: np.ndarray, task: Values, streams: Streams) -> State:
        """Push the cart by the equations of coneural.org/florian/papers/05_cart_pole.pdf, as Gymnasium does."""
        masspole, length = task["masspole"], task["length"]
        total_mass, polemass_length = masspole + task["masscart"], masspole * length
        force = np.where(action == 1, task["force_mag"], -task["force_mag"])
        x_dot, theta_dot = state["x_dot"], state["theta_dot"]
        cos, sin = np.cos(state["theta"]), np.sin(state["theta"])
        temp = (force + polemass_length * np.square(theta_dot) * sin) / total_mass
        theta_acc = (task["gravity"] * sin - cos * temp) / (
            length * (4.0 / 3.0 - masspole * np.square(cos) / total_mass)
        )
        x_acc = temp - polemass_length * theta_acc * cos / total_mass
        return {
            "x": state["x"] + DT * x_dot,
            "x_dot": x_dot + DT * x_acc,
            "theta": state["theta"] + DT * theta_dot,
            "theta_dot": theta_dot + DT * theta_acc,
        }

    def observation(self, state: State) -> np.ndarray:
        """Return position, velocity, angle and angular velocity."""
        return np.stack([state["x"], state["x_dot"], state["theta"], state["theta_dot"]], axis=1)

    def reward(self, before: State, action: np.ndarray, after: State, task: Values) -> np.ndarray:
        """Return 1 for every step."""
        return np.ones(len(after["x"]))

    def terminated(self, state: State, task: Values) -> np.ndarray:
        """Return whether the cart is off the track or the pole has fallen."""
        return (np.abs(state["x"]) > MAX_X) | (np.abs(state["theta"]) > MAX_ANGLE)

    def draw(self, axes: Axes, state: State, task: Values, world: int) -> None:
        """Draw the cart and the pole, which is twice `length` long."""
        x, theta, length = (float(a[world]) for a in (state["x"], state["theta"], task["length"]))
        axes.axhline(0, color="0.5")
        axes.plot([x], [0], "s", color="#0072b2", markersize=18)
        axes.plot(
            [x, x + 2 * length * math.sin(theta)], [0, 2 * length * math.cos(theta)], color="#d55e00", linewidth=4
        )
        axes.set(xlim=(-MAX_X, MAX_X), ylim=(-0.8, 4), aspect="equal", xlabel="m")
