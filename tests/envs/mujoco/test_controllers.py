"""Controllers that know the task beat a random agent in every MuJoCo family, so no reward has a reversed sign."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

import metarl
from metarl.base.streams import Streams
from metarl.families.family import FAMILIES, TaskFamily
from metarl.families.load import load
from metarl.families.task import Tasks, Values
from metarl.trials.agent import Agent, Learner
from metarl.trials.episodes import Episodes, TimeStep
from metarl.trials.rollout import run_trial
from tests.envs.mujoco import gaits
from tests.envs.test_array_families import swing_by_energy

Controller = Callable[[np.ndarray, Values, int], np.ndarray]
"""Actions [..., *action] from observations, task values [..., *shape] and the number of the step."""


def cheetah_forward(observations: np.ndarray, task: Values, t: int) -> np.ndarray:
    return gaits.CHEETAH_FORWARD.torques(t)


def cheetah_steady(observations: np.ndarray, task: Values, t: int) -> np.ndarray:
    return gaits.CHEETAH_STEADY.torques(t)


def cheetah_either_way(observations: np.ndarray, task: Values, t: int) -> np.ndarray:
    forward, backward = gaits.CHEETAH_FORWARD.torques(t), gaits.CHEETAH_BACKWARD.torques(t)
    return np.where(task["direction"][..., None] > 0, forward, backward)


def cheetah_at_speed(observations: np.ndarray, task: Values, t: int) -> np.ndarray:
    nearest = np.abs(task["velocity"][..., None] - np.array(list(gaits.CHEETAH_SPEEDS))).argmin(axis=-1)
    return np.stack([gait.torques(t) for gait in gaits.CHEETAH_SPEEDS.values()])[nearest]


def undo_reversal(controller: Controller) -> Controller:
    return lambda observations, task, t: task["signs"] * controller(observations, task, t)


def towards(way: np.ndarray, orientation: np.ndarray, crawl: gaits.Crawl, t: int) -> np.ndarray:
    """Return an ant's torques along `way` [..., 2] of the plane, led by the quarter of its body that faces there."""
    w, x, y, z = np.moveaxis(orientation, -1, 0)
    yaw = np.arctan2(2 * (w * z + x * y), 1 - 2 * (y * y + z * z))
    turn = np.arctan2(way[..., 1], way[..., 0]) - yaw
    return crawl.torques(t, np.round(turn / (np.pi / 2)).astype(int))


def ant_forward(observations: np.ndarray, task: Values, t: int) -> np.ndarray:
    way = np.broadcast_to([1.0, 0.0], (*observations.shape[:-1], 2))
    return towards(way, observations[..., 1:5], gaits.ANT_CHEAP, t)


def ant_either_way(observations: np.ndarray, task: Values, t: int) -> np.ndarray:
    way = np.stack(np.broadcast_arrays(task["direction"], 0.0 * observations[..., 0]), axis=-1)
    return towards(way, observations[..., 1:5], gaits.ANT_CHEAP, t)


def ant_along_heading(observations: np.ndarray, task: Values, t: int) -> np.ndarray:
    return towards(task["heading"], observations[..., 1:5], gaits.ANT_CHEAP, t)


def ant_at_speed(observations: np.ndarray, task: Values, t: int) -> np.ndarray:
    way = np.broadcast_to([1.0, 0.0], (*observations.shape[:-1], 2))
    fast, slow = (towards(way, observations[..., 3:7], gait, t) for gait in (gaits.ANT_FAST, gaits.ANT_CHEAP))
    speed = task["velocity"][..., None]
    return np.where(speed > 0.8, fast, np.where(speed > 0.3, slow, 0.0))


def ant_to_goal(observations: np.ndarray, task: Values, t: int) -> np.ndarray:
    way = task["goal"] - observations[..., :2]
    far = np.abs(way).sum(axis=-1, keepdims=True) > 0.3
    return np.where(far, towards(way, observations[..., 3:7], gaits.ANT_FAST, t), 0.0)


def swim(observations: np.ndarray, task: Values, t: int) -> np.ndarray:
    # The three links' mean angle to the x axis.
    course = observations[..., [0]] + (2 * observations[..., [1]] + observations[..., [2]]) / 3
    return gaits.SWIMMER.torques(t) + gaits.SWIMMER_RUDDER * course


def hop(observations: np.ndarray, task: Values, t: int) -> np.ndarray:
    return gaits.HOPPER.torques(t, observations)


def walk(observations: np.ndarray, task: Values, t: int) -> np.ndarray:
    return gaits.WALKER.torques(t, observations)


def humanoid_along_heading(observations: np.ndarray, task: Values, t: int) -> np.ndarray:
    return gaits.HUMANOID.torques(observations, task["heading"])


def humanoid_forward(observations: np.ndarray, task: Values, t: int) -> np.ndarray:
    return gaits.HUMANOID.torques(observations, np.array([1.0, 0.0]))


CONTROLLERS: dict[str, tuple[Controller, float]] = {
    "ant-circle": (ant_along_heading, 140.0),
    "ant-crippled": (ant_forward, 120.0),
    "ant-delay": (ant_forward, 140.0),
    "ant-direction": (ant_either_way, 140.0),
    "ant-dynamics": (ant_forward, 140.0),
    "ant-goal": (ant_to_goal, 100.0),
    "ant-payload": (ant_forward, 140.0),
    "ant-reversed": (undo_reversal(ant_forward), 140.0),
    "ant-slope": (ant_forward, 140.0),
    "ant-velocity": (ant_at_speed, 20.0),
    "half-cheetah-crippled": (cheetah_forward, 150.0),
    "half-cheetah-delay": (cheetah_forward, 200.0),
    "half-cheetah-direction": (cheetah_either_way, 200.0),
    "half-cheetah-dynamics": (cheetah_steady, 10.0),
    "half-cheetah-payload": (cheetah_forward, 150.0),
    "half-cheetah-reversed": (undo_reversal(cheetah_forward), 200.0),
    "half-cheetah-slope": (cheetah_steady, 150.0),
    "half-cheetah-velocity": (cheetah_at_speed, 60.0),
    "hopper-dynamics": (hop, 100.0),
    "hopper-rand-params": (hop, 100.0),
    "humanoid-direction": (humanoid_along_heading, 250.0),
    "humanoid-dynamics": (humanoid_forward, 180.0),
    "swimmer-dynamics": (swim, 5.0),
    "walker2d-dynamics": (walk, 120.0),
    "walker2d-rand-params": (walk, 80.0),
}
"""Controller of each family, and the least gain of its return over a random agent's. A reward with the
wrong sign of speed could not reach it, except for the humanoids, which have a test of their own."""
STEPS, NUM_TASKS = 150, 6


class Knowing(Agent, Learner):
    """An agent that knows its tasks."""

    def __init__(self, controller: Controller, family: TaskFamily, tasks: Tasks) -> None:
        self.controller, self.space = controller, family.action_space
        self.values = {name: value[:, None] for name, value in tasks.values.items()}
        self.step = 0

    def begin(self, streams: Streams) -> Learner:
        return self

    def act(self, timestep: TimeStep, *, deterministic: bool) -> np.ndarray:
        actions = self.controller(timestep.observations, self.values, self.step)
        self.step += 1
        return np.broadcast_to(actions, timestep.previous_actions.shape).astype(self.space.dtype)

    def adapt(self, episodes: Episodes) -> None:
        pass


def gain(family: TaskFamily, controller: Controller, other: Controller | None = None) -> np.ndarray:
    """Return the controller's return minus another's (default: a random agent's) in each of some test tasks."""
    tasks = family.sample("test", NUM_TASKS, seed=0)
    rival: Agent = metarl.make_agent("random", family) if other is None else Knowing(other, family, tasks)
    good, rest = (
        run_trial(agent, family.make_vec(tasks, threads=0), 1, seed=0).returns[0, :, 0]
        for agent in (Knowing(controller, family, tasks), rival)
    )
    return good - rest


def test_every_mujoco_family_has_a_controller() -> None:
    # Only built-in families: a test may have registered one of its own.
    ours = (name for name in FAMILIES if FAMILIES[name].__module__.startswith("metarl.envs."))
    assert list(CONTROLLERS) == [name for name in ours if issubclass(FAMILIES[name], metarl.MujocoFamily)]


@pytest.mark.parametrize(("name", "room"), [(name, room) for name, (_, room) in CONTROLLERS.items()])
def test_controller_that_knows_the_task_scores_well_above_a_random_agent(name: str, room: float) -> None:
    gains = gain(load(name).with_horizon(STEPS), CONTROLLERS[name][0])
    assert (gains > room).sum() >= NUM_TASKS - 1, gains.round()


def humanoid_against_heading(observations: np.ndarray, task: Values, t: int) -> np.ndarray:
    return gaits.HUMANOID.torques(observations, -task["heading"])


def humanoid_backward(observations: np.ndarray, task: Values, t: int) -> np.ndarray:
    return gaits.HUMANOID.torques(observations, np.array([-1.0, 0.0]))


@pytest.mark.parametrize(
    ("name", "other"), [("humanoid-direction", humanoid_against_heading), ("humanoid-dynamics", humanoid_backward)]
)
def test_humanoid_that_goes_the_other_way_earns_less(name: str, other: Controller) -> None:
    # The reward for not falling hides its direction from a comparison with random actions.
    gains = gain(load(name).with_horizon(70), CONTROLLERS[name][0], other)
    assert (gains > 10).sum() >= NUM_TASKS - 1, gains.round()


def pendulum(observations: np.ndarray, task: Values, t: int) -> np.ndarray:
    return swing_by_energy(observations, {"m": np.array(1.0), "l": np.array(1.0), **task})


def inverted_pendulum(observations: np.ndarray, task: Values, t: int) -> np.ndarray:
    return observations @ np.array([[0.5], [10.0], [0.5], [2.0]])


@pytest.mark.parametrize(
    ("preset", "controller", "room"),
    [("pendulum-gravity", pendulum, 500.0), ("inverted-pendulum-mass", inverted_pendulum, 100.0)],
)
def test_controller_scores_well_above_a_random_agent_in_gymnasiums_own(
    preset: str, controller: Controller, room: float
) -> None:
    gains = gain(load("gymnasium", preset).with_horizon(STEPS), controller)
    assert (gains > room).sum() >= NUM_TASKS - 1, gains.round()
