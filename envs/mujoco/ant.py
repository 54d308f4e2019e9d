"""Ant with a direction, a heading, a speed or a place as the task."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from gymnasium.spaces import Box

from metarl.base.streams import Streams
from metarl.families.batch import State
from metarl.families.distributions import Disc, Uniform
from metarl.families.family import register
from metarl.families.mujoco.family import MujocoFamily
from metarl.families.task import Horizon, Parameter, Values

from .bodies import DIRECTION, HEADING, along, energy, normal_start

if TYPE_CHECKING:
    import mujoco

Contacts = Literal["none", "paid", "paid+seen"]
"""Use of contact forces; see `Ant`."""

MAX_HEIGHT = 1.0
"""Height of the torso above which an episode ends, m."""

PAPERS: Mapping[str, Mapping[str, Any]] = {
    "pearl": {},
    "varibad": {},
    "promp": {"contacts": "paid+seen", "min_height": 0.0},
    "pearl-no-contacts": {"contacts": "none"},
}
"""Presets of the families that run in a direction."""


@dataclass(frozen=True)
class Ant(MujocoFamily):
    """Gymnasium's Ant-v5 without its reward: five physics steps of 0.01 s a step.

    It terminates when the torso's height leaves `min_height` to 1 m. `sees_position` adds the absolute x and y to the
    observation, which leaks the history of rewards, as it did in the papers.

    `contacts` says how contact forces count. `none`: not at all. `paid`: they cost 0.0005 |clip(f, -1, 1)|^2.
    `paid+seen`: they cost as much and are observed. MuJoCo's contact sensors read them at the start of the last
    substep, Gymnasium's class reads `cfrc_ext` in the last stage of that substep. Under random actions both have the
    same bodies on the floor in 83 % of the steps. Single forces differ by as much as their size, and the cost, 0.001 a
    step on average, by 0.0006. Old versions of mujoco-py left all forces at zero, and many published figures were made
    so; presets that end in `-no-contacts` do the same.
    """

    source = (
        "github.com/katerakelly/oyster, github.com/jonasrothfuss/ProMP, github.com/lmzintgraf/varibad, "
        "github.com/cbfinn/maml_rl"
    )
    shared_doc = """
        | observation | meaning | unit |
        |---|---|---|
        | 0, 1 | with `sees_position`: x, y of the torso, and all rows below move up by two | m |
        | 0 | height of the torso | m |
        | 1-4 | orientation of the torso, a quaternion w, x, y, z | |
        | 5-12 | angles hip and ankle of the legs: front left, front right, back left, back right | rad |
        | 13-15 | velocity of the torso along x, y, z | m/s |
        | 16-18 | angular velocity of the torso | rad/s |
        | 19-26 | angular velocities of the joints, in the same order | rad/s |
        | 27-110 | with `contacts` `paid+seen`: wrench on each of 14 bodies, the world first, clipped to ±1 | N m, N |

        | action | meaning | range |
        |---|---|---|
        | 0-7 | torques hip and ankle: back right, front left, front right, back left | -1 to 1 of each motor's gear |
        """
    asset = "ant.xml"
    gymnasium_id = "Ant-v5"
    sees_position: bool = False
    contacts: Contacts = "paid"
    min_height: float = 0.2
    horizon: Horizon = 200

    @property
    def reads_contacts(self) -> bool:
        """Whether contact forces count."""
        return self.contacts != "none"

    @property
    def observation_space(self) -> Box:
        """27 numbers without bounds, 2 more with the position, 84 more with contacts."""
        size = 27 + 2 * self.sees_position + 84 * (self.contacts == "paid+seen")
        return Box(-np.inf, np.inf, (size,), dtype=np.float64)

    def initial(self, model: mujoco.MjModel, streams: Streams) -> tuple[np.ndarray, np.ndarray]:
        """Return positions with noise U(-0.1, 0.1) and velocities with N(0, 0.1^2), as Gymnasium does."""
        return normal_start(model, streams, 0.1)

    def observation(self, state: State) -> np.ndarray:
        """Return positions, without x and y unless they are seen, velocities, and contact wrenches where seen."""
        parts = [state["qpos"] if self.sees_position else state["qpos"][:, 2:], state["qvel"]]
        if self.contacts == "paid+seen":
            parts.append(np.clip(state["cfrc_ext"], -1.0, 1.0).reshape(len(state["qpos"]), -1))
        return np.concatenate(parts, axis=1)

    def terminated(self, state: State, task: Values) -> np.ndarray:
        """Return whether the torso is below `min_height` or above 1 m, bool [world]."""
        height = state["qpos"][:, 2]
        return (height < self.min_height) | (height > MAX_HEIGHT)

    def velocity(self, before: State, after: State) -> np.ndarray:
        """Return the torso's mean velocity along x and y over the step, m/s, [world, 2]."""
        return (after["qpos"][:, :2] - before["qpos"][:, :2]) / self.dt

    def contact_cost(self, state: State) -> np.ndarray:
        """Return 0.0005 |clip(f, -1, 1)|^2 over all bodies, or zero where contacts do not count, [world]."""
        if not self.reads_contacts:
            return np.zeros(len(state["qpos"]))
        clipped = np.clip(state["cfrc_ext"], -1.0, 1.0).reshape(len(state["qpos"]), -1)
        return 0.5e-3 * np.square(clipped).sum(axis=1)


@dataclass(frozen=True)
class AntRun(Ant):
    """The ant with Gymnasium's reward, dx/dt + 1 - 0.5 |a|^2 - contact cost, by default without contacts."""

    shared_doc = (
        """
        Reward: dx/dt + 1 - 0.5 |a|^2 - contact cost, which is 0 unless setting `contacts` says otherwise. Terminates
        when the torso's height leaves 0.2 to 1 m. 200 steps.
        """
        + Ant.shared_doc
    )
    contacts: Contacts = "none"

    def reward(self, before: State, action: np.ndarray, after: State, task: Values) -> np.ndarray:
        """Return dx/dt + 1 - 0.5 |a|^2 - contact cost."""
        return self.velocity(before, after)[:, 0] + 1.0 - 0.5 * energy(action) - self.contact_cost(after)


@register("ant-direction")
@dataclass(frozen=True)
class AntDirection(Ant):
    """An ant runs forward or backward, which of them it does not know.

    Reward: d dx/dt - 0.5 |a|^2 - contact cost + 1. Terminates when the torso's height leaves 0.2 to 1 m (`promp`: 0 to
    1 m). 200 steps. Task: `direction` d, -1 or +1. There are two tasks in all, so the validation and test splits repeat
    those of training. Presets: `pearl` and `varibad` (27 numbers observed, contacts paid), `promp` (111 numbers,
    contacts seen), `pearl-no-contacts`. VariBAD's own code took d for an angle in rad, so its ants ran to +57 and -57
    degrees.
    """

    presets = PAPERS
    parameters = {"direction": DIRECTION}

    def reward(self, before: State, action: np.ndarray, after: State, task: Values) -> np.ndarray:
        """Return d dx/dt - 0.5 |a|^2 - contact cost + 1."""
        forward = task["direction"] * self.velocity(before, after)[:, 0]
        return forward - 0.5 * energy(action) - self.contact_cost(after) + 1.0


@register("ant-circle")
@dataclass(frozen=True)
class AntCircle(Ant):
    """An ant runs in an unknown direction of the plane.

    Reward: h . dxy/dt - 0.5 |a|^2 - contact cost + 1. Terminates when the torso's height leaves 0.2 to 1 m (`promp`: 0
    to 1 m). 200 steps. Task: `heading` h, a unit vector (cos t, sin t) with t uniform on the whole circle, so no task
    lies outside. It is a vector because angles and signs have been mistaken for each other. Presets as in AntDirection.
    """

    presets = PAPERS
    parameters = {"heading": HEADING}

    def reward(self, before: State, action: np.ndarray, after: State, task: Values) -> np.ndarray:
        """Return h . dxy/dt - 0.5 |a|^2 - contact cost + 1."""
        forward = along(task["heading"], self.velocity(before, after))
        return forward - 0.5 * energy(action) - self.contact_cost(after) + 1.0


@register("ant-velocity")
@dataclass(frozen=True)
class AntVelocity(Ant):
    """An ant runs along x at an unknown speed.

    Reward: -|dx/dt - v| + 1 + 0.05 - 0.005 |a|^2 - contact cost. Terminates when the torso's height leaves 0.2 to 1 m.
    200 steps. Task: `velocity` v, in m/s, uniform from 0 to 3. Extrapolation: 3 to 4. Presets: `maml` (contacts and
    position seen) and `maml-no-contacts`, both with Gymnasium's body and without rllab's rotation matrix and second
    copy of the position.
    """

    presets = {
        "maml": {"contacts": "paid+seen", "sees_position": True},
        "maml-no-contacts": {"contacts": "none", "sees_position": True},
    }
    parameters = {"velocity": Parameter(Uniform(0.0, 3.0), Uniform(3.0, 4.0), "m/s", "forward velocity to hold")}

    def reward(self, before: State, action: np.ndarray, after: State, task: Values) -> np.ndarray:
        """Return -|dx/dt - v| + 1.05 - 0.005 |a|^2 - contact cost."""
        miss = np.abs(self.velocity(before, after)[:, 0] - task["velocity"])
        return -miss + 1.0 + 0.05 - 0.5e-2 * energy(action) - self.contact_cost(after)


@register("ant-goal")
@dataclass(frozen=True)
class AntGoal(Ant):
    """An ant walks to a hidden place.

    With `area` disc the reward is -|xy - g|_1 - 0.1 |a|^2 - contact cost, and episodes never terminate. With `area`
    square, as in MAML, it is -|xy - g|_1 + 4 + 0.05 - 0.005 |a|^2 - contact cost, and an episode terminates when the
    torso's height leaves 0.2 to 1 m. 200 steps. Task: `goal` g, in m, uniform in the disc of radius 3 or in the square
    (-3, 3)^2. Extrapolation: a ring around it, of radius 3 to 4 or 4.3 to 5. Presets: `pearl` and `varibad` (113
    numbers observed), `maml` (the same, with Gymnasium's body and without rllab's rotation matrix),
    `pearl-no-contacts`.
    """

    presets = {
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
        """Return -|xy - g|_1 - 0.1 |a|^2 - contact cost, or MAML's reward in a square."""
        miss = np.abs(after["qpos"][:, :2] - task["goal"])
        gap = miss[:, 0] + miss[:, 1]
        if self.area == "square":
            return -gap + 4.0 + 0.05 - 0.5e-2 * energy(action) - self.contact_cost(after)
        return -gap - 0.1 * energy(action) - self.contact_cost(after)

    def terminated(self, state: State, task: Values) -> np.ndarray:
        """Return whether the torso is too low or too high, in a square; never in a disc."""
        return super().terminated(state, task) & (self.area == "square")
