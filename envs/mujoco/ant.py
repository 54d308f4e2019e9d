"""Ant whose task is a direction, a heading, a speed or a place to reach."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import numpy as np
from gymnasium import spaces

from metarl.base.streams import Streams
from metarl.families.batch import State
from metarl.families.distributions import Choice, Circle, Disc, Uniform
from metarl.families.family import register
from metarl.families.mujoco.family import MujocoFamily
from metarl.families.task import Horizon, Parameter, Values

from .bodies import described, energy, normal_start

if TYPE_CHECKING:
    import mujoco

Contacts = Literal["none", "paid", "paid+seen"]
"""What is made of contact forces; see `Ant`."""

RESET_NOISE = 0.1
MAX_HEIGHT = 1.0

ANT_TABLES = """
    | observation | meaning | unit |
    |---|---|---|
    | 0, 1 | x, y of the torso, where `sees_position`; what follows moves up by two | m |
    | 0 | height of the torso | m |
    | 1-4 | orientation of the torso, a quaternion w, x, y, z | |
    | 5-12 | angles hip and ankle of the legs: front left, front right, back left, back right | rad |
    | 13-15 | velocity of the torso along x, y, z | m/s |
    | 16-18 | angular velocity of the torso | rad/s |
    | 19-26 | angular velocities of the joints, in the same order | rad/s |
    | 27-110 | where contacts are seen: wrench on each of 14 bodies, the world (zero) first, clipped to (-1, 1) | N m, N |

    | action | meaning | range |
    |---|---|---|
    | 0-7 | torques hip and ankle: back right, front left, front right, back left | -1 to 1 of each motor's gear |
"""


@dataclass(frozen=True)
class Ant(MujocoFamily):
    """Gymnasium's Ant-v5 with the reward left open: five physics steps of 0.01 s a step.

    `sees_position` adds the absolute x and y to the observation, which leaks the history of rewards, as it did in the
    papers that have it. `contacts` is what is made of contact forces: `none`; `paid`, 0.0005 |clip(f, -1, 1)|^2 off the
    reward; `paid+seen`, in the observation too. MuJoCo's contact sensors read them at the start of the step's last
    substep; Gymnasium's class reads `cfrc_ext` in the last stage of that substep. Under random actions the same bodies
    touch the floor in 83 % of steps, single forces differ by as much as they are large, and the cost, of 0.001 a step in
    the mean, by 0.0006. Older mujoco-py left them all at zero, and many published figures were made so: presets ending
    in `-no-contacts`.
    """

    source: ClassVar[str] = (
        "github.com/katerakelly/oyster, github.com/jonasrothfuss/ProMP, github.com/lmzintgraf/varibad, "
        "github.com/cbfinn/maml_rl"
    )
    asset: ClassVar[str] = "ant.xml"
    gymnasium_id: ClassVar[str] = "Ant-v5"
    sees_position: bool = False
    contacts: Contacts = "paid"
    min_height: float = 0.2
    horizon: Horizon = 200

    @property
    def reads_contacts(self) -> bool:
        """Whether contact forces are used."""
        return self.contacts != "none"

    @property
    def observation_space(self) -> spaces.Box:
        """27 numbers without bounds, 2 more with the position, 84 more with contacts."""
        size = 27 + 2 * self.sees_position + 84 * (self.contacts == "paid+seen")
        return spaces.Box(-np.inf, np.inf, (size,), dtype=np.float64)

    def initial(self, model: mujoco.MjModel, streams: Streams) -> tuple[np.ndarray, np.ndarray]:
        """Return positions off by U(-0.1, 0.1) and velocities off by N(0, 0.1^2), as Gymnasium does."""
        return normal_start(model, streams, RESET_NOISE)

    def observation(self, state: State) -> np.ndarray:
        """Return positions, with x and y where they are seen, velocities, and contact wrenches where they are."""
        parts = [state["qpos"] if self.sees_position else state["qpos"][:, 2:], state["qvel"]]
        if self.contacts == "paid+seen":
            parts.append(np.clip(state["cfrc_ext"], -1.0, 1.0).reshape(len(state["qpos"]), -1))
        return np.concatenate(parts, axis=1)

    def velocity(self, before: State, after: State) -> np.ndarray:
        """Return the torso's mean velocity along x and y over the step, m/s, [world, 2]."""
        return (after["qpos"][:, :2] - before["qpos"][:, :2]) / self.dt

    def contact_cost(self, state: State) -> np.ndarray:
        """Return 0.0005 |clip(f, -1, 1)|^2 over all bodies, or zero where contacts are not read, [world]."""
        if not self.reads_contacts:
            return np.zeros(len(state["qpos"]))
        clipped = np.clip(state["cfrc_ext"], -1.0, 1.0).reshape(len(state["qpos"]), -1)
        return 0.5e-3 * np.square(clipped).sum(axis=1)

    def fallen(self, state: State) -> np.ndarray:
        """Return whether the torso is too low or above 1 m, bool [world]."""
        height = state["qpos"][:, 2]
        return (height < self.min_height) | (height > MAX_HEIGHT)


@dataclass(frozen=True)
class AntRun(Ant):
    """The ant paid as Gymnasium pays it: dx/dt + 1 - 0.5 |a|^2 - contact cost."""

    def reward(self, before: State, action: np.ndarray, after: State, task: Values) -> np.ndarray:
        """Return dx/dt + 1 - 0.5 |a|^2 - contact cost."""
        return self.velocity(before, after)[:, 0] + 1.0 - 0.5 * energy(action) - self.contact_cost(after)

    def terminated(self, state: State, task: Values) -> np.ndarray:
        """Return whether the ant has fallen or jumped."""
        return self.fallen(state)


_PAPERS: Mapping[str, Mapping[str, Any]] = {
    "pearl": {},
    "varibad": {},
    "promp": {"contacts": "paid+seen", "min_height": 0.0},
    "pearl-no-contacts": {"contacts": "none"},
}


@register("ant-direction")
@described(ANT_TABLES)
@dataclass(frozen=True)
class AntDirection(Ant):
    """An ant runs forward or backward, and is not told which.

    Reward: d dx/dt - 0.5 |a|^2 - contact cost + 1. Ends when the torso's height leaves 0.2 to 1 m (`promp`: 0 to 1 m).
    Task: `direction` d, -1 or +1: two tasks in all, so that the validation and test splits hold the tasks of training.
    200 steps. Presets: `pearl` and `varibad` (27 numbers observed, contacts paid), `promp` (111 numbers, contacts
    seen), `pearl-no-contacts`. VariBAD's own code took the number for an angle in rad, and ran to +57 and -57 degrees.
    """

    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = _PAPERS

    @property
    def parameters(self) -> Mapping[str, Parameter]:
        """The direction to run in."""
        return {"direction": Parameter(Choice((-1.0, 1.0)), meaning="+1 forward, -1 backward")}

    def reward(self, before: State, action: np.ndarray, after: State, task: Values) -> np.ndarray:
        """Return d dx/dt - 0.5 |a|^2 - contact cost + 1."""
        forward = task["direction"] * self.velocity(before, after)[:, 0]
        return forward - 0.5 * energy(action) - self.contact_cost(after) + 1.0

    def terminated(self, state: State, task: Values) -> np.ndarray:
        """Return whether the ant has fallen or jumped."""
        return self.fallen(state)


@register("ant-circle")
@described(ANT_TABLES)
@dataclass(frozen=True)
class AntCircle(Ant):
    """An ant runs along a heading of the plane that it is not told.

    Reward: h . dxy/dt - 0.5 |a|^2 - contact cost + 1. Ends when the torso's height leaves 0.2 to 1 m (`promp`: 0 to 1
    m). Task: `heading` h, a unit vector (cos t, sin t) with t uniform on the whole circle, so that no task lies
    outside; kept as a vector because angles and signs have been mistaken for one another. 200 steps. Presets as in
    AntDirection.
    """

    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = _PAPERS

    @property
    def parameters(self) -> Mapping[str, Parameter]:
        """The heading."""
        return {"heading": Parameter(Circle(1.0), meaning="unit vector to run along")}

    def reward(self, before: State, action: np.ndarray, after: State, task: Values) -> np.ndarray:
        """Return h . dxy/dt - 0.5 |a|^2 - contact cost + 1."""
        velocity, heading = self.velocity(before, after), task["heading"]
        forward = velocity[:, 0] * heading[:, 0] + velocity[:, 1] * heading[:, 1]
        return forward - 0.5 * energy(action) - self.contact_cost(after) + 1.0

    def terminated(self, state: State, task: Values) -> np.ndarray:
        """Return whether the ant has fallen or jumped."""
        return self.fallen(state)


@register("ant-velocity")
@described(ANT_TABLES)
@dataclass(frozen=True)
class AntVelocity(Ant):
    """An ant runs at a speed along x that it is not told.

    Reward: -|dx/dt - v| + 1 + 0.05 - 0.005 |a|^2 - contact cost. Ends when the torso's height leaves 0.2 to 1 m. Task:
    `velocity` v, in m/s, uniform from 0 to 3; extrapolation: 3 to 4. 200 steps. Presets: `maml` (contacts and position
    seen; without rllab's rotation matrix and second copy of the position, and on Gymnasium's model),
    `maml-no-contacts`.
    """

    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "maml": {"contacts": "paid+seen", "sees_position": True},
        "maml-no-contacts": {"contacts": "none", "sees_position": True},
    }

    @property
    def parameters(self) -> Mapping[str, Parameter]:
        """The speed to hold."""
        return {"velocity": Parameter(Uniform(0.0, 3.0), Uniform(3.0, 4.0), "m/s", "forward velocity to hold")}

    def reward(self, before: State, action: np.ndarray, after: State, task: Values) -> np.ndarray:
        """Return -|dx/dt - v| + 1.05 - 0.005 |a|^2 - contact cost."""
        miss = np.abs(self.velocity(before, after)[:, 0] - task["velocity"])
        return -miss + 1.0 + 0.05 - 0.5e-2 * energy(action) - self.contact_cost(after)

    def terminated(self, state: State, task: Values) -> np.ndarray:
        """Return whether the ant has fallen or jumped."""
        return self.fallen(state)


@register("ant-goal")
@described(ANT_TABLES)
@dataclass(frozen=True)
class AntGoal(Ant):
    """An ant walks to a place that it is not shown.

    Reward: -|xy - g|_1 - 0.1 |a|^2 - contact cost, never terminates (`area` disc); with `area` square, as in MAML: -|xy
    - g|_1 + 4 + 0.05 - 0.005 |a|^2 - contact cost, and ends when the torso's height leaves 0.2 to 1 m. Task: `goal` g,
    in m, uniform in the disc of radius 3 or in the square (-3, 3)^2; extrapolation: a ring around it, of radius 3 to 4
    or 4.3 to 5. 200 steps. Presets: `pearl` and `varibad` (113 numbers observed), `maml` (the same; without rllab's
    rotation matrix, and on Gymnasium's model), `pearl-no-contacts`.
    """

    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "pearl": {},
        "varibad": {},
        "maml": {"area": "square"},
        "pearl-no-contacts": {"contacts": "none"},
    }
    sees_position: bool = True
    contacts: Contacts = "paid+seen"
    area: Literal["disc", "square"] = "disc"

    @property
    def parameters(self) -> Mapping[str, Parameter]:
        """The goal."""
        square = (Uniform(-3.0, 3.0, (2,)), Disc(5.0, inner=4.3))  # its corners are at 4.24 m
        near, far = square if self.area == "square" else (Disc(3.0), Disc(4.0, inner=3.0))
        return {"goal": Parameter(near, far, "m", "place to walk to")}

    def reward(self, before: State, action: np.ndarray, after: State, task: Values) -> np.ndarray:
        """Return -|xy - g|_1 - 0.1 |a|^2 - contact cost, or MAML's."""
        miss = np.abs(after["qpos"][:, :2] - task["goal"])
        gap = miss[:, 0] + miss[:, 1]
        if self.area == "square":
            return -gap + 4.0 + 0.05 - 0.5e-2 * energy(action) - self.contact_cost(after)
        return -gap - 0.1 * energy(action) - self.contact_cost(after)

    def terminated(self, state: State, task: Values) -> np.ndarray:
        """Return whether the ant has fallen or jumped, where that matters."""
        return self.fallen(state) & (self.area == "square")
