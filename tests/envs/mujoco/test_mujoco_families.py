"""MuJoCo families against Gymnasium's own classes on the same model, and rewards against formulas written again."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import gymnasium
import mujoco
import numpy as np
import pytest

from metarl.families.family import FAMILIES
from metarl.families.load import load
from metarl.families.mujoco.family import MujocoFamily
from metarl.families.vector import BatchedEnv

STEPS = 50

NAMES = [name for name in FAMILIES if issubclass(FAMILIES[name], MujocoFamily)]

SLOW = {"walker2d-rand-params": ("Walker2d-v5", {"xml_file": "walker2d.xml"}), "hopper-rand-params": ("Hopper-v5", {})}
"""Families with a physics step of 0.004 s, as in VariBAD's copies of the models."""


def scale_land(model: mujoco.MjModel, task: dict[str, Any]) -> None:
    model.body_mass *= task["mass"]
    model.body_inertia *= task["mass"]
    model.geom_friction[:, 0] *= task["friction"]
    model.dof_damping *= task["damping"]
    model.actuator_gear *= task["strength"]
    model.opt.gravity[2] *= task["gravity"]


def scale_water(model: mujoco.MjModel, task: dict[str, Any]) -> None:
    model.body_mass *= task["mass"]
    model.body_inertia *= task["mass"]
    model.opt.viscosity *= task["viscosity"]
    model.opt.density *= task["density"]
    model.actuator_gear *= task["strength"]


def scale_each(model: mujoco.MjModel, task: dict[str, Any]) -> None:
    model.body_mass[1:] *= task["body_mass"]
    model.body_inertia[1:] *= task["body_inertia"]
    model.dof_damping[:] *= task["dof_damping"]
    model.geom_friction[:] *= task["geom_friction"]


def kill(model: mujoco.MjModel, task: dict[str, Any]) -> None:
    model.actuator_gear[int(task["joint"]), :] = 0


def tilt(model: mujoco.MjModel, task: dict[str, Any]) -> None:
    # Uphill along +x, gravity has a part against the motion.
    model.opt.gravity[:] = 9.81 * np.array([-np.sin(task["slope"]), 0, -np.cos(task["slope"])])


def burden(model: mujoco.MjModel, task: dict[str, Any]) -> None:
    model.body("torso").mass += task["payload"]


def reverse(model: mujoco.MjModel, task: dict[str, Any]) -> None:
    model.actuator_gear[:, 0] *= task["signs"]


EDITS: dict[str, Callable[[mujoco.MjModel, dict[str, Any]], None]] = {
    "dynamics": scale_land,
    "params": scale_each,
    "crippled": kill,
    "slope": tilt,
    "payload": burden,
    "reversed": reverse,
}
"""Effect of a task on the model, by the last word of the family's name, written again."""


def gymnasiums(name: str, family: MujocoFamily, task: dict[str, Any]) -> Any:
    """Return Gymnasium's environment with the model of a task."""
    id_, options = SLOW.get(name, (family.gymnasium_id, {}))
    env: Any = gymnasium.make(id_, **options).unwrapped
    if name in SLOW:
        env.model.opt.timestep = 0.004
    edit = scale_water if name == "swimmer-dynamics" else EDITS.get(name.rsplit("-", 1)[-1])
    if edit is not None:
        edit(env.model, task)
        mujoco.mj_setConst(env.model, mujoco.MjData(env.model))
    return env


def pair(name: str, preset: str | None = None) -> tuple[BatchedEnv, Any, dict[str, Any]]:
    """Return our environment and theirs, reset into the same state, in the second of three tasks of a batch."""
    family = load(name, preset)
    assert isinstance(family, MujocoFamily)
    tasks = family.sample("train", 3, seed=5)
    ours, task = family.make_vec(tasks, threads=0), tasks[1]
    theirs = gymnasiums(name, family, task)
    ours.reset(seed=0)
    theirs.reset(seed=0)
    state = ours.batch.state  # type: ignore[attr-defined]
    theirs.set_state(state["qpos"][1].copy(), state["qvel"][1].copy())
    return ours, theirs, task


def go_on(ours: BatchedEnv) -> None:
    """Let ended worlds go on, because the test compares physics and not ends."""
    ours._ended[:] = False


def controls(theirs: Any, steps: int = STEPS) -> np.ndarray:
    low, high = theirs.model.actuator_ctrlrange.T
    return np.random.default_rng(1).uniform(low, high, (steps, theirs.model.nu)).astype(np.float32)


def arriving(actions: np.ndarray, step: int, task: dict[str, Any]) -> np.ndarray:
    sent = step - int(task.get("delay", 0))
    return actions[sent] if sent >= 0 else np.zeros_like(actions[0])


@pytest.fixture(autouse=True)
def in_a_folder_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)  # Gymnasium's classes make MuJoCo write a log file


@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize("name", NAMES)
def test_dynamics_equal_gymnasiums_class_to_1e_8_over_50_steps(name: str) -> None:
    ours, theirs, task = pair(name)
    actions = controls(theirs)
    for step in range(STEPS):
        # Our solver starts cold in each step. Nothing else differs from Gymnasium's class.
        theirs.data.qacc_warmstart[:] = 0
        theirs.do_simulation(arriving(actions, step, task), theirs.frame_skip)
        go_on(ours)
        ours.step(np.repeat(actions[step][None], 3, axis=0))
        state = ours.batch.state  # type: ignore[attr-defined]
        np.testing.assert_allclose(state["qpos"][1], theirs.data.qpos, rtol=0, atol=1e-8)
        np.testing.assert_allclose(state["qvel"][1], theirs.data.qvel, rtol=0, atol=1e-8)


WARM = {
    "Ant-v5": STEPS,
    "Hopper-v5": STEPS,
    "Walker2d-v5": STEPS,
    "Swimmer-v5": STEPS,
    "HalfCheetah-v5": 10,
    "Humanoid-v5": 5,
}
"""Steps over which Gymnasium's unchanged class, whose solver starts warm, gives the same to 1e-8."""


@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize(
    "name",
    [
        "ant-goal",
        "hopper-dynamics",
        "walker2d-dynamics",
        "swimmer-dynamics",
        "half-cheetah-velocity",
        "humanoid-direction",
    ],
)
def test_dynamics_equal_gymnasiums_class_with_its_solver_started_warm(name: str) -> None:
    ours, theirs, _ = pair(name)
    actions = controls(theirs, WARM[FAMILIES[name].gymnasium_id])
    for action in actions:
        theirs.do_simulation(action, theirs.frame_skip)
        go_on(ours)
        ours.step(np.repeat(action[None], 3, axis=0))
        state = ours.batch.state  # type: ignore[attr-defined]
        np.testing.assert_allclose(state["qpos"][1], theirs.data.qpos, rtol=0, atol=1e-8)
        np.testing.assert_allclose(state["qvel"][1], theirs.data.qvel, rtol=0, atol=1e-8)


class Measured:
    """Measurements that a reward may depend on, by MuJoCo's own functions on Gymnasium's model."""

    def __init__(self, env: Any, before: Any, action: np.ndarray) -> None:
        self.action = action.astype(np.float64)
        self.dt = env.model.opt.timestep * env.frame_skip
        self.x, self.y, self.z = env.data.qpos[:3]
        self.vx, self.vy = (env.data.qpos[:2] - before.qpos[:2]) / self.dt
        self.com = (center_of_mass(env.model, env.data.qpos) - center_of_mass(env.model, before.qpos)) / self.dt
        self.forces = forces_in_last_substep(env, before, action)
        self.cost = 0.5e-3 * np.sum(np.clip(self.forces, -1, 1) ** 2)
        self.energy = float(np.sum(self.action**2))


def center_of_mass(model: mujoco.MjModel, qpos: np.ndarray) -> np.ndarray:
    data = mujoco.MjData(model)
    data.qpos[:] = qpos
    mujoco.mj_kinematics(model, data)
    return (model.body_mass[:, None] * data.xipos).sum(axis=0) / model.body_mass.sum()


def forces_in_last_substep(env: Any, before: Any, action: np.ndarray) -> np.ndarray:
    """Return MuJoCo's `cfrc_ext` at the start of the last substep of the step from `before`."""
    data = mujoco.MjData(env.model)
    data.qpos[:], data.qvel[:], data.ctrl[:] = before.qpos, before.qvel, action
    mujoco.mj_step(env.model, data, env.frame_skip - 1)
    mujoco.mj_forward(env.model, data)
    mujoco.mj_rnePostConstraint(env.model, data)
    return data.cfrc_ext.copy()


REWARDS: dict[str, Callable[[Measured, dict[str, Any]], float]] = {
    "half-cheetah-velocity": lambda m, task: -abs(m.vx - task["velocity"]) - 0.05 * m.energy,
    "half-cheetah-direction": lambda m, task: task["direction"] * m.vx - 0.05 * m.energy,
    "ant-direction": lambda m, task: task["direction"] * m.vx - 0.5 * m.energy - m.cost + 1,
    "ant-circle": lambda m, task: np.dot(task["heading"], [m.vx, m.vy]) - 0.5 * m.energy - m.cost + 1,
    "ant-velocity": lambda m, task: -abs(m.vx - task["velocity"]) + 1 + 0.05 - 0.005 * m.energy - m.cost,
    "ant-goal": lambda m, task: -np.abs(np.array([m.x, m.y]) - task["goal"]).sum() - 0.1 * m.energy - m.cost,
    "humanoid-direction": lambda m, task: (
        0.25 * np.dot(task["heading"], m.com[:2]) * m.dt / 0.003
        - 0.1 * m.energy
        - min(0.5e-6 * np.sum(m.forces**2), 10)
        + 5
    ),
    "walker2d-rand-params": lambda m, task: m.vx + 1 - 1e-3 * m.energy,
    "hopper-rand-params": lambda m, task: m.vx + 1 - 1e-3 * m.energy,
    "half-cheetah": lambda m, task: m.vx - 0.1 * m.energy,
    "ant": lambda m, task: m.vx + 1 - 0.5 * m.energy,
    "hopper": lambda m, task: m.vx + 1 - 1e-3 * m.energy,
    "walker2d": lambda m, task: m.vx + 1 - 1e-3 * m.energy,
    "swimmer": lambda m, task: m.vx - 1e-4 * m.energy,
    "humanoid": lambda m, task: 1.25 * m.com[0] + 5 - 0.1 * m.energy,
}
"""The reward of each family in its first preset. Families with physics as task have the reward of their body."""


@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize("name", NAMES)
def test_reward_equals_the_formula_written_again(name: str) -> None:
    ours, theirs, task = pair(name)
    formula = REWARDS.get(name) or REWARDS[name.rsplit("-", 1)[0]]
    actions = controls(theirs, 20)
    for step, action in enumerate(actions):
        before = mujoco.MjData(theirs.model)
        before.qpos[:], before.qvel[:] = theirs.data.qpos, theirs.data.qvel
        theirs.data.qacc_warmstart[:] = 0
        arrived = arriving(actions, step, task)
        theirs.do_simulation(arrived, theirs.frame_skip)
        go_on(ours)
        _, rewards, *_ = ours.step(np.repeat(action[None], 3, axis=0))
        measured = Measured(theirs, before, arrived)
        measured.energy = float(np.sum(action.astype(np.float64) ** 2))  # the reward counts the action as sent
        assert rewards[1] == pytest.approx(formula(measured, task), abs=1e-6)


@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize(("name", "preset"), [("ant-direction", "promp"), ("humanoid-direction", "pearl")])
def test_contact_wrenches_equal_mujocos_cfrc_ext_of_the_last_substep(name: str, preset: str) -> None:
    ours, theirs, _ = pair(name, preset)
    touched = 0
    for action in controls(theirs):
        before = mujoco.MjData(theirs.model)
        before.qpos[:], before.qvel[:] = theirs.data.qpos, theirs.data.qvel
        theirs.data.qacc_warmstart[:] = 0
        theirs.do_simulation(action, theirs.frame_skip)
        go_on(ours)
        ours.step(np.repeat(action[None], 3, axis=0))
        expected = forces_in_last_substep(theirs, before, action)
        forces = ours.batch.state["cfrc_ext"][1]  # type: ignore[attr-defined]
        np.testing.assert_allclose(forces, expected, rtol=1e-6, atol=1e-6)
        touched += bool(np.abs(expected).max() > 1)
    assert touched > 10


@pytest.mark.filterwarnings("ignore::UserWarning")
def test_humanoid_observes_what_mujoco_computes_of_the_state_after_the_step() -> None:
    ours, theirs, _ = pair("humanoid-direction", "pearl")
    for action in controls(theirs, 10):
        before = mujoco.MjData(theirs.model)
        before.qpos[:], before.qvel[:] = theirs.data.qpos, theirs.data.qvel
        theirs.data.qacc_warmstart[:] = 0
        theirs.do_simulation(action, theirs.frame_skip)
        go_on(ours)
        seen = ours.step(np.repeat(action[None], 3, axis=0))[0][1]
        data = mujoco.MjData(theirs.model)
        data.qpos[:], data.qvel[:], data.ctrl[:] = theirs.data.qpos, theirs.data.qvel, action
        mujoco.mj_forward(theirs.model, data)
        of_bodies = [data.cinert.ravel(), data.cvel.ravel(), data.qfrc_actuator]
        forces = forces_in_last_substep(theirs, before, action).ravel()
        expected = np.concatenate([data.qpos[2:], data.qvel, *of_bodies, forces])
        np.testing.assert_allclose(seen, expected, rtol=1e-6, atol=1e-6)


@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize(
    ("name", "settings", "like"),
    [
        ("half-cheetah-dynamics", {}, {}),
        ("hopper-dynamics", {}, {}),
        ("walker2d-dynamics", {}, {}),
        ("swimmer-dynamics", {}, {}),
        ("ant-dynamics", {}, {"include_cfrc_ext_in_observation": False}),
    ],
)
def test_observation_and_end_equal_gymnasiums(name: str, settings: dict[str, Any], like: dict[str, Any]) -> None:
    family = load(name, **settings)
    neutral = dict.fromkeys(family.parameters, 1.0)
    ours = family.make_vec(family.tasks(neutral), threads=0)
    theirs: Any = gymnasium.make(family.gymnasium_id, **like).unwrapped
    observations, _ = ours.reset(seed=0)
    theirs.reset(seed=0)
    state = ours.batch.state  # type: ignore[attr-defined]
    theirs.set_state(state["qpos"][0].copy(), state["qvel"][0].copy())
    np.testing.assert_allclose(observations[0], theirs._get_obs(), atol=1e-12)
    ends = set()
    for action in controls(theirs, 100):
        theirs.data.qacc_warmstart[:] = 0
        observation, _, ended, *_ = theirs.step(action)
        go_on(ours)
        observations, _, terminations, *_ = ours.step(action[None])
        np.testing.assert_allclose(observations[0], observation, atol=1e-6)
        assert terminations[0] == ended
        ends.add(bool(ended))
    assert ends == ({False, True} if name in ("hopper-dynamics", "walker2d-dynamics") else {False})


def test_starts_are_distributed_as_gymnasiums() -> None:
    for name, noise in (("half-cheetah-velocity", 0.1), ("ant-goal", 0.1), ("humanoid-direction", 0.01)):
        family = load(name)
        assert isinstance(family, MujocoFamily)
        envs = family.make_vec(family.sample("train", 2, seed=0), 400, threads=0)
        envs.reset(seed=0)
        state, model = envs.batch.state, family.model  # type: ignore[attr-defined]
        off = state["qpos"] - model.qpos0
        assert np.abs(off).max() <= noise
        assert off.std() == pytest.approx(noise / np.sqrt(3), rel=0.05)
        spread = noise / np.sqrt(3) if name == "humanoid-direction" else noise
        assert state["qvel"].std() == pytest.approx(spread, rel=0.05)


def test_delayed_action_arrives_as_many_steps_later() -> None:
    family = load("half-cheetah-delay")
    envs = family.make_vec(family.tasks([{"delay": 0}, {"delay": 2}]), threads=0)
    envs.reset(seed=[3, 3])
    push, rest = np.ones((2, 6), dtype=np.float32), np.zeros((2, 6), dtype=np.float32)
    positions = []
    for actions in (push, rest, rest, rest):
        envs.step(actions)
        positions.append(envs.batch.state["qpos"].copy())  # type: ignore[attr-defined]
    alone = family.make_vec(family.tasks({"delay": 0}), threads=0)
    alone.reset(seed=[3])
    for step, actions in enumerate((rest, rest, push, rest)):
        alone.step(actions[:1])
        np.testing.assert_array_equal(positions[step][1], alone.batch.state["qpos"][0])  # type: ignore[attr-defined]
    assert np.abs(positions[1][0] - positions[1][1]).max() > 1e-3


def test_direction_is_forward_and_back_and_headings_are_unit_vectors() -> None:
    # A direction of +-1 used as an angle gives headings of +-57 degrees instead.
    family = load("ant-circle", contacts="none")
    there = load("ant-direction", contacts="none")
    rewards = {}
    for label, made, task in (
        ("forward", there, {"direction": 1}),
        ("back", there, {"direction": -1}),
        ("east", family, {"heading": [1, 0]}),
        ("west", family, {"heading": [-1, 0]}),
    ):
        envs = made.make_vec(made.tasks(task), threads=0)
        envs.reset(seed=[1])
        rewards[label] = [float(envs.step(np.full((1, 8), 0.3, dtype=np.float32))[1][0]) for _ in range(5)]
    assert rewards["forward"] == rewards["east"]
    assert rewards["back"] == rewards["west"]
    headings = family.sample("train", 200, seed=0).values["heading"]
    np.testing.assert_allclose(np.hypot(*headings.T), 1)
    assert (np.abs(headings.mean(axis=0)) < 0.2).all()


@pytest.mark.parametrize("name", NAMES)
def test_unstable_physics_end_the_episode_with_a_flag(name: str) -> None:
    family = load(name)
    envs = family.make_vec(family.sample("train", 2, seed=0), threads=0)
    envs.reset(seed=0)
    envs.batch.state["qvel"][1, -1] = 1e12  # type: ignore[attr-defined]
    observations, rewards, terminations, truncations, infos = envs.step(
        np.zeros(envs.action_space.shape, dtype=np.float32)
    )
    assert infos["unstable"].tolist() == [False, True]
    assert truncations[1] and not terminations[1]
    assert np.isfinite(observations).all() and np.isfinite(rewards).all()
