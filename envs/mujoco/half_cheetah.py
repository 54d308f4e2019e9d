"""HalfCheetah whose task is a speed to hold, or a direction to run in."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

import numpy as np
from gymnasium import spaces
from pydantic import Field

from metarl.base.streams import Streams
from metarl.families.batch import State
from metarl.families.distributions import Choice, Uniform
from metarl.families.family import register
from metarl.families.mujoco.family import MujocoFamily
from metarl.families.task import Horizon, Parameter, Values

from .bodies import described, energy, normal_start

if TYPE_CHECKING:
    import mujoco

Observes = Literal["joints", "joints+position", "joints+com"]
"""What of the body is observed; see `HalfCheetah`."""

RESET_NOISE = 0.1
CONTROL_COST = 0.05

HALF_CHEETAH_TABLES = """
    | observation | meaning | unit |
    |---|---|---|
    | 0 | height of the torso | m |
    | 1 | pitch of the torso | rad |
    | 2-7 | angles: back thigh, shin, foot; front thigh, shin, foot | rad |
    | 8, 9 | velocity of the torso along x, z | m/s |
    | 10 | angular velocity of the torso | rad/s |
    | 11-16 | angular velocities of the joints, in the same order | rad/s |
    | 17-19 | with `observes` other than `joints`: x, y, z of the torso, or of the centre of mass | m |

    | action | meaning | range |
    |---|---|---|
    | 0-5 | torques: back thigh, shin, foot; front thigh, shin, foot | -1 to 1 of each motor's gear |
"""


@dataclass(frozen=True)
class HalfCheetah(MujocoFamily):
    """Gymnasium's HalfCheetah-v5 with the reward left open: five physics steps of 0.01 s a step, never terminates.

    `observes` says what is observed. `joints`: 17 numbers as in Gymnasium (positions but x, then velocities).
    `joints+position`: 20 numbers, those and the torso's x, y, z. `joints+com`: 20 numbers, with the whole body's centre of
    mass instead. The absolute x of the 20-number variants leaks the history of rewards, as it did in the papers.
    """

    source: ClassVar[str] = (
        "github.com/cbfinn/maml_rl, github.com/katerakelly/oyster, github.com/lmzintgraf/varibad, "
        "github.com/jonasrothfuss/ProMP"
    )
    asset: ClassVar[str] = "half_cheetah.xml"
    gymnasium_id: ClassVar[str] = "HalfCheetah-v5"
    observes: Observes = "joints"
    horizon: Horizon = 200

    @property
    def sensors(self) -> Mapping[str, tuple[mujoco.mjtSensor, mujoco.mjtObj, str]]:
        """The torso's position or the body's centre of mass, where observed."""
        from mujoco import mjtObj, mjtSensor

        # XBODY is the body's frame, as in mujoco-py's get_body_xpos; BODY would be the torso's own centre of mass.
        sensors = {
            "joints+position": (mjtSensor.mjSENS_FRAMEPOS, mjtObj.mjOBJ_XBODY, "torso"),
            "joints+com": (mjtSensor.mjSENS_SUBTREECOM, mjtObj.mjOBJ_BODY, "torso"),
        }
        return {"place": sensors[self.observes]} if self.observes in sensors else {}

    @property
    def observation_space(self) -> spaces.Box:
        """17 or 20 numbers without bounds."""
        size = 17 if self.observes == "joints" else 20
        return spaces.Box(-np.inf, np.inf, (size,), dtype=np.float64)

    def initial(self, model: mujoco.MjModel, streams: Streams) -> tuple[np.ndarray, np.ndarray]:
        """Return positions off by U(-0.1, 0.1) and velocities off by N(0, 0.1^2), as Gymnasium does."""
        return normal_start(model, streams, RESET_NOISE)

    def observation(self, state: State) -> np.ndarray:
        """Return positions but x, velocities, and the place where it is observed."""
        parts = [state["qpos"][:, 1:], state["qvel"]]
        return np.concatenate([*parts, state["place"]] if "place" in state else parts, axis=1)

    def velocity(self, before: State, after: State) -> np.ndarray:
        """Return the mean forward velocity of the step, dx/dt, m/s, [world]."""
        return (after["qpos"][:, 0] - before["qpos"][:, 0]) / self.dt


@dataclass(frozen=True)
class HalfCheetahRun(HalfCheetah):
    """The half cheetah paid as Gymnasium pays it: dx/dt - 0.1 |a|^2."""

    def reward(self, before: State, action: np.ndarray, after: State, task: Values) -> np.ndarray:
        """Return dx/dt - 0.1 |a|^2."""
        return self.velocity(before, after) - 0.1 * energy(action)


@register("half-cheetah-velocity")
@described(HALF_CHEETAH_TABLES)
@dataclass(frozen=True)
class HalfCheetahVelocity(HalfCheetah):
    """A half cheetah runs at a speed that it is not told.

    Reward: -|dx/dt - v| - 0.05 |a|^2, dx/dt the mean velocity over the step. Never terminates. Task: `velocity`, in
    m/s, uniform from 0 to `max_velocity`; extrapolation: up to 1 m/s faster. Presets: `varibad` and `pearl` (0 to 3
    m/s, 20 numbers observed), `maml` (0 to 2 m/s, 20 numbers with the centre of mass), `promp` (0 to 3 m/s, 17
    numbers), `amago` (as `promp`, 1,000 steps). Presets set ranges, observations and horizon; model, time step and
    reset are Gymnasium's. MAML's own code had rllab's model at 0.01 s a step and paid the centre of mass's momentary
    velocity: its figures are of a shorter run from rest.
    """

    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "varibad": {"observes": "joints+position"},
        "pearl": {"observes": "joints+position"},
        "maml": {"observes": "joints+com", "max_velocity": 2.0},
        "promp": {},
        "amago": {"horizon": 1000},
    }
    max_velocity: Annotated[float, Field(gt=0)] = 3.0

    @property
    def parameters(self) -> Mapping[str, Parameter]:
        """The speed to hold."""
        faster = Uniform(self.max_velocity, self.max_velocity + 1)
        return {"velocity": Parameter(Uniform(0.0, self.max_velocity), faster, "m/s", "forward velocity to hold")}

    def reward(self, before: State, action: np.ndarray, after: State, task: Values) -> np.ndarray:
        """Return -|dx/dt - v| - 0.05 |a|^2."""
        return -np.abs(self.velocity(before, after) - task["velocity"]) - CONTROL_COST * energy(action)


@register("half-cheetah-direction")
@described(HALF_CHEETAH_TABLES)
@dataclass(frozen=True)
class HalfCheetahDirection(HalfCheetah):
    """A half cheetah runs forward or backward, and is not told which.

    Reward: d dx/dt - 0.05 |a|^2, dx/dt the mean velocity over the step. Never terminates. Task: `direction` d, -1 or
    +1: two tasks in all, so that the validation and test splits hold the tasks of training. Presets: `varibad` and
    `pearl` (20 numbers observed), `maml` (20 numbers with the centre of mass), `promp` (17 numbers, 100 steps); what
    they leave out is said in HalfCheetahVelocity.
    """

    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "varibad": {"observes": "joints+position"},
        "pearl": {"observes": "joints+position"},
        "maml": {"observes": "joints+com"},
        "promp": {"horizon": 100},
    }

    @property
    def parameters(self) -> Mapping[str, Parameter]:
        """The direction to run in."""
        return {"direction": Parameter(Choice((-1.0, 1.0)), meaning="+1 forward, -1 backward")}

    def reward(self, before: State, action: np.ndarray, after: State, task: Values) -> np.ndarray:
        """Return d dx/dt - 0.05 |a|^2."""
        return task["direction"] * self.velocity(before, after) - CONTROL_COST * energy(action)
