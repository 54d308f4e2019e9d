"""MountainCar with its physics as the task."""

from __future__ import annotations

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

MIN_POSITION, MAX_POSITION, GOAL_POSITION = -1.2, 0.6, 0.5
"""Ends of the track, and the position that terminates the episode."""
MAX_SPEED = 0.07
"""Largest change of position a step."""


@register("mountain-car-physics")
@dataclass(frozen=True)
class MountainCarPhysics(ArrayFamily):
    """A weak car swings itself out of a valley. Its force and gravity differ from task to task.

    | observation | meaning | unit |
    |---|---|---|
    | 0 | position along the track, -1.2 to 0.6 | |
    | 1 | velocity, -0.07 to 0.07 | position a step |

    | action | meaning |
    |---|---|
    | 0, 1, 2 | push to the left, not at all, to the right |

    Reward: -1 for every step, including the last. Terminates, with success, at position 0.5 or beyond unless the car
    rolls back. Everything else is as in Gymnasium's MountainCar-v0: dynamics, start (position uniform on -0.6 to -0.4,
    at rest), and 200 steps.

    | task parameter | meaning | default | training | extrapolation | CARL's bounds |
    |---|---|---|---|---|---|
    | `force` | change of velocity by a push | 0.001 | 0.00067 to 0.0015 | 0.0015 to 0.002 | none |
    | `gravity` | change of velocity on a vertical slope | 0.0025 | 0.00167 to 0.00375 | 0.00375 to 0.005 | 0, none |

    CARL has no usable bounds. Training goes from 2/3 to 3/2 of the default, uniform in the logarithm; extrapolation
    from there to twice the default. CARL's other features (ends of the track, goal, start, top speed) keep Gymnasium's
    values here. The goal is Gymnasium's 0.5, not CARL's 0.45.
    """

    source = (
        "Benjamins et al., Contextualize Me, TMLR 2023; github.com/automl/CARL "
        "(carl/envs/gymnasium/classic_control/carl_mountaincar.py); Gymnasium's MountainCar-v0"
    )
    gymnasium_id = "MountainCar-v0"
    render_fps = 30
    horizon: Horizon = 200

    parameters = {
        "force": Parameter(
            LogUniform(0.001 / 1.5, 0.0015), LogUniform(0.0015, 0.002), "1/step^2", "change of velocity by a push"
        ),
        "gravity": Parameter(
            LogUniform(0.0025 / 1.5, 0.00375), LogUniform(0.00375, 0.005), "1/step^2", "pull of the slope"
        ),
    }
    observation_space = Box(
        np.array([MIN_POSITION, -MAX_SPEED], dtype=np.float32),
        np.array([MAX_POSITION, MAX_SPEED], dtype=np.float32),
        dtype=np.float32,
    )
    action_space = Discrete(3)

    def initial(self, task: Values, streams: Streams) -> State:
        """Begin at rest in the valley."""
        return {"position": -0.6 + 0.2 * streams.uniform(), "velocity": np.zeros(streams.shape)}

    def transition(self, state: State, action: np.ndarray, task: Values, streams: Streams) -> State:
        """Move the car. The left end of the track is a wall that stops it."""
        push = (action - 1) * task["force"] + np.cos(3 * state["position"]) * -task["gravity"]
        velocity = np.clip(state["velocity"] + push, -MAX_SPEED, MAX_SPEED)
        position = np.clip(state["position"] + velocity, MIN_POSITION, MAX_POSITION)
        velocity[(position == MIN_POSITION) & (velocity < 0)] = 0.0
        return {"position": position, "velocity": velocity}

    def observation(self, state: State) -> np.ndarray:
        """Return position and velocity."""
        return np.stack([state["position"], state["velocity"]], axis=1)

    def reward(self, before: State, action: np.ndarray, after: State, task: Values) -> np.ndarray:
        """Return -1 for every step."""
        return np.full(len(after["position"]), -1.0)

    def terminated(self, state: State, task: Values) -> np.ndarray:
        """Return whether the car is on the hill."""
        return (state["position"] >= GOAL_POSITION) & (state["velocity"] >= 0)

    def success(self, state: State, task: Values) -> np.ndarray:
        """Return whether the car is on the hill."""
        return self.terminated(state, task)

    def draw(self, axes: Axes, state: State, task: Values, world: int) -> None:
        """Draw the valley, the goal and the car."""
        track = np.linspace(MIN_POSITION, MAX_POSITION, 100)
        axes.plot(track, _height(track), color="0.5")
        axes.plot(GOAL_POSITION, _height(np.array(GOAL_POSITION)), "x", color="#0072b2", markersize=12)
        axes.plot(state["position"][world], _height(state["position"][world]), "o", color="#d55e00", markersize=12)
        axes.set(ylim=(0, 1.2), xlabel="position", ylabel="height")


def _height(position: np.ndarray) -> np.ndarray:
    return np.sin(3 * position) * 0.45 + 0.55
