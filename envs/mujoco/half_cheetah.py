"""HalfCheetah with a speed or a direction as the task."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Literal

import numpy as np
from gymnasium.spaces import Box
from pydantic import Field

from metarl.base.streams import Streams
from metarl.families.batch import State
from metarl.families.distributions import Uniform
from metarl.families.family import register
from metarl.families.mujoco.family import MujocoFamily
from metarl.families.task import Horizon, Parameter, Values

from .bodies import DIRECTION, energy, normal_start

if TYPE_CHECKING:
    import mujoco

Observes = Literal["joints", "joints+position", "joints+com"]
"""Observed parts of the body; see `HalfCheetah`."""

CONTROL_COST = 0.05


@dataclass(frozen=True)
class HalfCheetah(MujocoFamily):
    """Gymnasium's HalfCheetah-v5 without its reward: five physics steps of 0.01 s a step. Never terminates.

    `observes` selects the observation. `joints`: 17 numbers as in Gymnasium (positions but x, then velocities).
    `joints+position`: 20 numbers, with the torso's x, y, z. `joints+com`: 20 numbers, with the centre of mass. In the
    variants of 20 numbers the absolute x leaks the history of rewards, as it did in the papers.
    """

    source = (
        "github.com/cbfinn/maml_rl, github.com/katerakelly/oyster, github.com/lmzintgraf/varibad, "
        "github.com/jonasrothfuss/ProMP"
    )
    shared_doc = """
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
    asset = "half_cheetah.xml"
    gymnasium_id = "HalfCheetah-v5"
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
    def observation_space(self) -> Box:
        """17 or 20 numbers without bounds."""
        size = 17 if self.observes == "joints" else 20
        return Box(-np.inf, np.inf, (size,), dtype=np.float64)

    def initial(self, model: mujoco.MjModel, streams: Streams) -> tuple[np.ndarray, np.ndarray]:
        """Return positions with noise U(-0.1, 0.1) and velocities with N(0, 0.1^2), as Gymnasium does."""
        return normal_start(model, streams, 0.1)

    def observation(self, state: State) -> np.ndarray:
        """Return positions but x, velocities, and the place where it is observed."""
        parts = [state["qpos"][:, 1:], state["qvel"]]
        return np.concatenate([*parts, state["place"]] if "place" in state else parts, axis=1)

    def velocity(self, before: State, after: State) -> np.ndarray:
        """Return dx/dt, the mean forward velocity over the step, m/s, [world]."""
        return (after["qpos"][:, 0] - before["qpos"][:, 0]) / self.dt


@dataclass(frozen=True)
class HalfCheetahRun(HalfCheetah):
    """The half cheetah with Gymnasium's reward, dx/dt - 0.1 |a|^2."""

    shared_doc = (
        """
        Reward: dx/dt - 0.1 |a|^2, with dx/dt the mean forward velocity over the step. Never terminates. 200 steps.
        """
        + HalfCheetah.shared_doc
    )

    def reward(self, before: State, action: np.ndarray, after: State, task: Values) -> np.ndarray:
        """Return dx/dt - 0.1 |a|^2."""
        return self.velocity(before, after) - 0.1 * energy(action)


@register("half-cheetah-velocity")
@dataclass(frozen=True)
class HalfCheetahVelocity(HalfCheetah):
    """A half cheetah runs at an unknown speed.

    Reward: -|dx/dt - v| - 0.05 |a|^2, with dx/dt the mean forward velocity over the step. Never terminates. 200 steps
    of 0.05 s. Task: `velocity` v, in m/s, uniform from 0 to `max_velocity`. Extrapolation: up to 1 m/s faster.

    Presets: `varibad` and `pearl` (0 to 3 m/s, 20 numbers observed), `maml` (0 to 2 m/s, 20 numbers with the centre of
    mass), `promp` (0 to 3 m/s, 17 numbers), `amago` (as `promp`, 1,000 steps). A preset sets ranges, observation and
    horizon; body, time step and start are always Gymnasium's. VariBAD's code used the same body and time step. MAML's
    used rllab's body, a step of 0.01 s, and the momentary velocity of the centre of mass: 200 steps are 2 s there and
    10 s here, so its figures are not comparable with those of preset `maml`.
    """

    presets = {
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
@dataclass(frozen=True)
class HalfCheetahDirection(HalfCheetah):
    """A half cheetah runs forward or backward, which of them it does not know.

    Reward: d dx/dt - 0.05 |a|^2, with dx/dt the mean forward velocity over the step. Never terminates. 200 steps of
    0.05 s. Task: `direction` d, -1 or +1. There are two tasks in all, so the validation and test splits repeat those of
    training. Presets: `varibad` and `pearl` (20 numbers observed), `maml` (20 numbers with the centre of mass), `promp`
    (17 numbers, 100 steps). They differ from the papers as those of HalfCheetahVelocity do.
    """

    presets = {
        "varibad": {"observes": "joints+position"},
        "pearl": {"observes": "joints+position"},
        "maml": {"observes": "joints+com"},
        "promp": {"horizon": 100},
    }
    parameters = {"direction": DIRECTION}

    def reward(self, before: State, action: np.ndarray, after: State, task: Values) -> np.ndarray:
        """Return d dx/dt - 0.05 |a|^2."""
        return task["direction"] * self.velocity(before, after) - CONTROL_COST * energy(action)
