"""Humanoid with a direction in the plane as the task."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np
from gymnasium.spaces import Box

from metarl.base.streams import Streams
from metarl.families.batch import State
from metarl.families.family import register
from metarl.families.mujoco.family import MujocoFamily
from metarl.families.task import Horizon, Values

from .bodies import HEADING, along, energy, uniform_start

if TYPE_CHECKING:
    import mujoco

    from metarl.families.mujoco.models import Sensors

MIN_HEIGHT, MAX_HEIGHT = 1.0, 2.0
"""Heights of the torso at which an episode ends, m."""

JOINTS = (
    *("abdomen_z", "abdomen_y", "abdomen_x", "right_hip_x", "right_hip_z", "right_hip_y", "right_knee"),
    *("left_hip_x", "left_hip_z", "left_hip_y", "left_knee", "right_shoulder1", "right_shoulder2", "right_elbow"),
    *("left_shoulder1", "left_shoulder2", "left_elbow"),
)
"""Names of the joints, in the model's order."""


@dataclass(frozen=True)
class Humanoid(MujocoFamily):
    """Gymnasium's Humanoid-v5 without its reward: five physics steps of 0.003 s a step.

    It terminates when the torso's height leaves 1 to 2 m. `observes` is `joints`, 45 numbers, or `all`, which adds
    inertia, velocity and torques of every body. `contact_forces` makes contacts cost reward and, with `all`, observed.

    Centre of mass, `cinert` and `cvel` belong to the state after the step. Gymnasium's class reads them in the last
    stage of the Runge-Kutta step before, where `cvel` differs by 0.3 % under random actions. Contact forces come from
    MuJoCo's contact sensors at the start of the last substep. Single forces differ from Gymnasium's by half their size,
    and the cost, 0.30 a step on average, by 0.13.
    """

    source = "github.com/katerakelly/oyster, github.com/lmzintgraf/varibad"
    shared_doc = """
        | observation | meaning | unit |
        |---|---|---|
        | 0 | height of the torso | m |
        | 1-4 | orientation of the torso, a quaternion w, x, y, z | |
        | 5-14 | angles: abdomen z, y, x; right hip x, z, y, knee; left hip x, z, y | rad |
        | 15-21 | angles: left knee; right shoulder 1, 2, elbow; left shoulder 1, 2, elbow | rad |
        | 22-24 | velocity of the torso along x, y, z | m/s |
        | 25-27 | angular velocity of the torso | rad/s |
        | 28-44 | angular velocities of the joints, in the same order | rad/s |
        | 45-184 | with `observes` `all`: `cinert` of each of 14 bodies, the world first | kg m^2, kg m, kg |
        | 185-268 | `cvel`, angular and linear velocity of each body | rad/s, m/s |
        | 269-291 | `qfrc_actuator`, torque on each degree of freedom | N m |
        | 292-375 | with `contact_forces`: `cfrc_ext`, the contact wrench on each body | N m, N |

        | action | meaning | range |
        |---|---|---|
        | 0-16 | torques: abdomen y, z, x; then in the order of the joints above | -0.4 to 0.4 of each motor's gear |
        """
    asset = "humanoid.xml"
    gymnasium_id = "Humanoid-v5"
    observes: Literal["joints", "all"] = "all"
    contact_forces: bool = True
    horizon: Horizon = 200

    @property
    def reads_contacts(self) -> bool:
        """Whether contact forces count."""
        return self.contact_forces

    @property
    def derived(self) -> tuple[str, ...]:
        """The centre of mass, and inertia and velocity of each body where observed."""
        return ("subtree_com", "cinert", "cvel") if self.observes == "all" else ("subtree_com",)

    @property
    def sensors(self) -> Sensors:
        """The motors' torque at each joint, where observed."""
        from mujoco import mjtObj, mjtSensor

        if self.observes == "joints":
            return {}
        return {f"torque/{joint}": (mjtSensor.mjSENS_JOINTACTFRC, mjtObj.mjOBJ_JOINT, joint) for joint in JOINTS}

    @property
    def observation_space(self) -> Box:
        """45, 292 or 376 numbers without bounds."""
        size = 45 if self.observes == "joints" else 292 + 84 * self.contact_forces
        return Box(-np.inf, np.inf, (size,), dtype=np.float64)

    def initial(self, model: mujoco.MjModel, streams: Streams) -> tuple[np.ndarray, np.ndarray]:
        """Return positions and velocities with noise U(-0.01, 0.01), as Gymnasium does."""
        return uniform_start(model, streams, 1e-2)

    def observation(self, state: State) -> np.ndarray:
        """Return positions but x and y, velocities, and with `all` the bodies' inertia, velocity and torques."""
        worlds = len(state["qpos"])
        parts = [state["qpos"][:, 2:], state["qvel"]]
        if self.observes == "all":
            torques = [state[f"torque/{joint}"] for joint in JOINTS]
            parts += [
                state["cinert"].reshape(worlds, -1),
                state["cvel"].reshape(worlds, -1),
                np.zeros((worlds, 6)),
                *torques,
            ]
            if self.contact_forces:
                parts.append(state["cfrc_ext"].reshape(worlds, -1))
        return np.concatenate(parts, axis=1)

    def velocity(self, before: State, after: State) -> np.ndarray:
        """Return the mean velocity of the centre of mass along x and y over the step, m/s, [world, 2]."""
        return (after["subtree_com"][:, 0, :2] - before["subtree_com"][:, 0, :2]) / self.dt

    def contact_cost(self, state: State) -> np.ndarray:
        """Return min(0.5e-6 |f|^2, 10) over all bodies, or zero where contacts do not count, [world]."""
        if not self.contact_forces:
            return np.zeros(len(state["qpos"]))
        forces = state["cfrc_ext"].reshape(len(state["qpos"]), -1)
        return np.minimum(0.5e-6 * np.square(forces).sum(axis=1), 10.0)

    def terminated(self, state: State, task: Values) -> np.ndarray:
        """Return whether the torso's height is out of 1 to 2 m, bool [world]."""
        height = state["qpos"][:, 2]
        return (height < MIN_HEIGHT) | (height > MAX_HEIGHT)


@dataclass(frozen=True)
class HumanoidRun(Humanoid):
    """The humanoid with Gymnasium's reward, 1.25 dCOM_x/dt + 5 - 0.1 |a|^2 - contact cost."""

    shared_doc = (
        """
        Reward: 1.25 dCOM_x/dt + 5 - 0.1 |a|^2 - contact cost, which is 0 without `contact_forces`. dCOM_x/dt is the
        mean velocity of the centre of mass over the step. Terminates when the torso's height leaves 1 to 2 m. 200
        steps.
        """
        + Humanoid.shared_doc
    )

    def reward(self, before: State, action: np.ndarray, after: State, task: Values) -> np.ndarray:
        """Return 1.25 dCOM_x/dt + 5 - 0.1 |a|^2 - contact cost."""
        return 1.25 * self.velocity(before, after)[:, 0] + 5.0 - 0.1 * energy(action) - self.contact_cost(after)


@register("humanoid-direction")
@dataclass(frozen=True)
class HumanoidDirection(Humanoid):
    """A humanoid runs in an unknown direction of the plane.

    Reward: 0.25 h . dCOM_xy / 0.003 s - 0.1 |a|^2 - min(0.5e-6 |f|^2, 10) + 5, with dCOM_xy the displacement of the
    centre of mass in the step. The sources divide by the physics step, so the velocity over a step has the factor 1.25.
    Terminates when the torso's height leaves 1 to 2 m. 200 steps. Task: `heading` h, a unit vector (cos t, sin t) with
    t uniform on the whole circle, so no task lies outside. Presets: `pearl` and `varibad` (376 numbers observed),
    `pearl-no-contacts` (292 numbers and no contact cost, as with old versions of mujoco-py), `joints` (45 numbers).
    """

    presets = {
        "pearl": {},
        "varibad": {},
        "pearl-no-contacts": {"contact_forces": False},
        "joints": {"contact_forces": False, "observes": "joints"},
    }

    parameters = {"heading": HEADING}

    def reward(self, before: State, action: np.ndarray, after: State, task: Values) -> np.ndarray:
        """Return 0.25 h . dCOM_xy / 0.003 - 0.1 |a|^2 - contact cost + 5."""
        forward = along(task["heading"], self.velocity(before, after))
        return 0.25 * self.frame_skip * forward - 0.1 * energy(action) - self.contact_cost(after) + 5.0
