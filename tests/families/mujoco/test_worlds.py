"""Native batches of MuJoCo worlds against MuJoCo stepped by hand, and against Gymnasium's class."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import gymnasium
import mujoco
import numpy as np
import pytest
from metarl.envs.mujoco.half_cheetah import HalfCheetah, HalfCheetahRun

from metarl.base.errors import MetarlError
from metarl.families.distributions import LogUniform
from metarl.families.load import load
from metarl.families.mujoco import worlds as physics
from metarl.families.mujoco.models import Blueprint, edit_copy
from metarl.families.mujoco.worlds import Worlds
from metarl.families.task import Parameter, Tasks, Values
from metarl.families.vector import BatchedEnv


@dataclass(frozen=True)
class HeavyCheetah(HalfCheetahRun):
    """HalfCheetah with the mass of its torso as the task."""

    name: ClassVar[str] = "heavy-cheetah"

    @property
    def parameters(self) -> Mapping[str, Parameter]:
        return {"mass": Parameter(LogUniform(1.0, 50.0), unit="kg")}

    def edit_model(self, model: mujoco.MjModel, task: Values) -> None:
        model.body("torso").mass = task["mass"]


def masses(*values: float) -> Tasks:
    return Tasks({"mass": np.array(values)}, np.zeros(len(values), dtype=np.int64))


def play(tasks: Tasks, world: int, threads: int | None = None) -> np.ndarray:
    envs = HeavyCheetah().make_vec(tasks, threads=threads)
    envs.reset(seed=[7] * envs.num_envs)
    actions = np.random.default_rng(0).uniform(-1, 1, (30, 6)).astype(np.float32)
    return np.stack([envs.step(np.repeat(action[None], envs.num_envs, 0))[0][world] for action in actions])


def test_task_a_then_b_then_a_again_equals_a_fresh_a() -> None:
    fresh = play(masses(3.0), 0)
    play(masses(40.0), 0)
    np.testing.assert_array_equal(play(masses(3.0), 0), fresh)
    np.testing.assert_array_equal(play(masses(3.0, 40.0, 3.0), 2, threads=2), fresh)
    assert np.abs(play(masses(40.0), 0) - fresh).max() > 1e-2


def test_edited_mass_reaches_every_derived_constant() -> None:
    family = HeavyCheetah()
    edited = edit_copy(family.model, lambda model: family.edit_model(model, {"mass": np.array(40.0)}))
    spec = mujoco.MjSpec.from_string(_xml_with_torso_mass(family.model, 40.0))
    fresh = spec.compile()
    for constant in ("body_subtreemass", "dof_M0", "body_invweight0", "dof_invweight0"):
        np.testing.assert_allclose(
            getattr(edited, constant), getattr(fresh, constant), rtol=1e-5
        )  # the file keeps six digits
        assert not np.allclose(getattr(edited, constant), getattr(family.model, constant))


def _xml_with_torso_mass(model: mujoco.MjModel, mass: float) -> str:
    """Return the model compiled with explicit inertias and another mass of the torso."""
    spec = mujoco.MjSpec.from_file(gymnasium.__path__[0] + "/envs/mujoco/assets/half_cheetah.xml")
    spec.compiler.settotalmass = -1
    spec.compiler.inertiafromgeom = mujoco.mjtInertiaFromGeom.mjINERTIAFROMGEOM_FALSE
    for body in spec.bodies[1:]:
        source = model.body(body.name)
        body.explicitinertial = True
        body.mass = mass if body.name == "torso" else float(source.mass[0])
        body.ipos, body.iquat, body.inertia = source.ipos, source.iquat, source.inertia
        body.fullinertia = [np.nan] * 6
    spec.compile()
    return spec.to_xml()


def test_replicas_of_a_task_share_one_model() -> None:
    envs = HeavyCheetah().make_vec(masses(3.0, 40.0), 5)
    assert len({id(model) for model in envs.batch.dynamics.worlds.models}) == 2  # type: ignore[attr-defined]


def test_worlds_equal_one_mjdata_stepped_by_hand() -> None:
    model = load("half-cheetah-velocity", "promp").model  # type: ignore[attr-defined]
    worlds = Worlds([model], 4, frame_skip=5, threads=2)
    rng = np.random.default_rng(0)
    qpos, qvel = 0.1 * rng.normal(size=(4, model.nq)), 0.1 * rng.normal(size=(4, model.nv))
    state = worlds.start({}, qpos, qvel, np.arange(4))
    data = [mujoco.MjData(model) for _ in range(4)]
    for world in range(4):
        data[world].qpos, data[world].qvel = qpos[world], qvel[world]
    # Our solver starts cold and MjData's warm: equal within its tolerance, until contacts amplify the difference.
    for _ in range(10):
        controls = rng.uniform(-1, 1, (4, model.nu))
        state, unstable = worlds.step(state, controls, np.ones(4, dtype=bool))
        for world in range(4):
            data[world].ctrl = controls[world]
            mujoco.mj_step(model, data[world], nstep=5)
    np.testing.assert_allclose(state["qpos"], [d.qpos for d in data], atol=1e-8)
    np.testing.assert_allclose(state["qvel"], [d.qvel for d in data], atol=1e-8)


@pytest.mark.parametrize("observes", ["joints", "joints+position", "joints+com"])
def test_half_cheetah_equals_gymnasiums_own_class(
    observes: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)  # Gymnasium's class makes MuJoCo write a log file
    family = load("half-cheetah-velocity", "promp", observes=observes)
    task = {"velocity": 1.3}
    ours = family.make_vec(family.tasks(task), threads=0)
    theirs = gymnasium.make("HalfCheetah-v5").unwrapped
    ours.reset(seed=0)
    theirs.reset(seed=0)
    state = ours.batch.state  # type: ignore[attr-defined]
    theirs.set_state(state["qpos"][0].copy(), state["qvel"][0].copy())
    for action in np.random.default_rng(1).uniform(-1, 1, (10, 6)).astype(np.float32):
        before = float(theirs.data.qpos[0])
        observation = theirs.step(action)[0]
        place = {
            "joints": [],
            "joints+position": theirs.data.body("torso").xpos,
            "joints+com": theirs.data.subtree_com[1],
        }
        seen, reward, *_ = ours.step(action[None])
        np.testing.assert_allclose(seen[0], [*observation, *place[observes]], atol=1e-8)
        velocity = (float(theirs.data.qpos[0]) - before) / 0.05
        expected = -abs(velocity - 1.3) - 0.05 * float(np.sum(action.astype(np.float64) ** 2))
        assert reward[0] == pytest.approx(expected, abs=1e-8)


def test_no_file_is_written_into_the_current_folder(tmp_path: Path) -> None:
    code = "import gymnasium, metarl; gymnasium.make('metarl/HalfCheetahVelocity-v0').reset(seed=0)"
    done = subprocess.run([sys.executable, "-W", "error", "-c", code], cwd=tmp_path, capture_output=True, check=False)
    assert done.returncode == 0, done.stderr.decode()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("threads", [0, 2])
def test_physics_that_break_down_print_nothing_and_write_no_file(threads: int, tmp_path: Path) -> None:
    code = f"""
import metarl, numpy as np
family = metarl.load('half-cheetah-direction')
envs = family.make_vec(family.sample('train', 40, seed=0), threads={threads})
envs.reset(seed=0)
envs.batch.state['qvel'][:] = 1e12
assert envs.step(np.zeros((40, 6), dtype=np.float32))[-1]['unstable'].all()
"""
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout == done.stderr == ""
    assert list(tmp_path.iterdir()) == []


def test_step_of_no_world_leaves_every_world_where_it_was() -> None:
    family = load("half-cheetah-velocity")
    envs = family.make_vec(family.sample("train", 3, seed=0), threads=0)
    observations, _ = envs.reset(seed=0)
    step = envs.advance(np.ones((3, 6), dtype=np.float32), np.zeros(3, dtype=bool))
    np.testing.assert_array_equal(step.observations, observations)
    assert not step.rewards.any()


def test_sensors_at_the_start_read_as_in_a_new_world() -> None:
    family = load("half-cheetah-velocity", "varibad")
    assert isinstance(family, HalfCheetah)
    envs = family.make_vec(family.sample("train", 3, seed=0), threads=0)
    envs.reset(seed=0)
    for _ in range(4):
        envs.step(np.ones((3, 6), dtype=np.float32))
    envs.reset(seed=1)
    state = envs.batch.state  # type: ignore[attr-defined]
    for world in range(3):
        data = mujoco.MjData(family.model)
        mujoco.mj_setState(family.model, data, state["physics"][world], mujoco.mjtState.mjSTATE_FULLPHYSICS)
        mujoco.mj_forward(family.model, data)
        np.testing.assert_array_equal(data.sensordata, state["sensordata"][world])


def blown_up(worlds: int, bad: int) -> BatchedEnv:
    """Return cheetahs, one of which spins so fast that MuJoCo gives up."""
    family = load("half-cheetah-direction", "promp")
    envs = family.make_vec(family.sample("train", worlds, seed=0), threads=0)
    envs.reset(seed=0)
    state = envs.batch.state  # type: ignore[attr-defined]
    state["qvel"][bad, 2] = 1e11
    return envs


def test_warnings_are_heard_again_when_the_last_of_two_rollouts_is_over_and_not_before(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The thread that starts first ends first, while the other one still runs."""
    heard: list[str] = []
    entered: list[int] = []
    second_is_in, first_is_out = threading.Event(), threading.Event()
    real = physics.Rollout.rollout

    def overlapping(*args: Any, **kwargs: Any) -> Any:
        entered.append(0)
        if len(entered) == 1:
            assert second_is_in.wait(30)
            return real(*args, **kwargs)
        second_is_in.set()
        assert first_is_out.wait(30)
        return real(*args, **kwargs)

    def step(envs: BatchedEnv) -> None:
        envs.step(np.zeros((3, 6), dtype=np.float32))
        first_is_out.set()

    monkeypatch.setattr(physics.Rollout, "rollout", overlapping)
    before = mujoco.get_mju_user_warning()
    mujoco.set_mju_user_warning(heard.append)
    try:
        with ThreadPoolExecutor(2) as pool:
            list(pool.map(step, [blown_up(3, 1), blown_up(3, 1)]))
        assert mujoco.get_mju_user_warning() == heard.append
    finally:
        mujoco.set_mju_user_warning(before)
    assert len(entered) == 2 and not heard


def test_unstable_physics_end_the_episode_with_a_flag_instead_of_nan() -> None:
    envs = blown_up(3, 1)
    before = envs.batch.state["physics"].copy()  # type: ignore[attr-defined]
    observations, rewards, terminations, truncations, infos = envs.step(np.zeros((3, 6), dtype=np.float32))
    assert infos["unstable"].tolist() == [False, True, False]
    assert truncations.tolist() == [False, True, False]
    assert not terminations.any()
    assert np.isfinite(observations).all() and np.isfinite(rewards).all()
    # MuJoCo would reset it to its default position, which would look like a step of some metres.
    np.testing.assert_array_equal(envs.batch.state["physics"][1], before[1])  # type: ignore[attr-defined]
    assert rewards[1] == 0


def test_neighbours_of_an_unstable_world_do_not_notice() -> None:
    actions = np.random.default_rng(0).uniform(-1, 1, (5, 3, 6)).astype(np.float32)
    sound = load("half-cheetah-direction", "promp")
    calm = sound.make_vec(sound.sample("train", 3, seed=0), threads=0)
    calm.reset(seed=0)
    envs = blown_up(3, 1)
    where = np.ones(3, dtype=bool)
    for action in actions:
        expected, step = calm.advance(action, np.ones(3, dtype=bool)), envs.advance(action, where)
        np.testing.assert_array_equal(step.observations[[0, 2]], expected.observations[[0, 2]])
        where = np.array([True, False, True])


def test_world_begins_anew_after_it_was_unstable() -> None:
    envs = blown_up(2, 0)
    envs.step(np.zeros((2, 6), dtype=np.float32))
    envs.reset(options={"reset_mask": np.array([True, False])})
    *_, infos = envs.step(np.zeros((2, 6), dtype=np.float32))
    assert not infos["unstable"].any()


def test_many_different_models_step_bit_for_bit_as_each_alone() -> None:
    tasks = masses(*np.linspace(1, 50, 12))
    actions = np.random.default_rng(0).uniform(-1, 1, (10, 6)).astype(np.float32)

    def play(some: Tasks, threads: int) -> np.ndarray:
        envs = HeavyCheetah().make_vec(some, threads=threads)
        envs.reset(seed=[7] * envs.num_envs)
        return np.stack([envs.step(np.repeat(action[None], envs.num_envs, 0))[0] for action in actions])

    together = play(tasks, 2)
    for world in range(12):
        np.testing.assert_array_equal(play(tasks[world : world + 1], 0)[:, 0], together[:, world])


def test_instability_shows_in_the_first_step_of_an_environment_of_one_substep() -> None:
    model = load("half-cheetah-velocity", "promp").model  # type: ignore[attr-defined]
    worlds = Worlds([model], 2, frame_skip=1, threads=0)
    state = worlds.start({}, np.zeros((2, model.nq)), np.zeros((2, model.nv)), np.arange(2))
    state["qvel"][1, 2] = 1e11
    _, unstable = worlds.step(state, np.zeros((2, model.nu)), np.ones(2, dtype=bool))
    assert unstable.tolist() == [False, True]


def test_missing_model_file_is_named_with_its_remedy() -> None:
    with pytest.raises(MetarlError, match=r"model file .*/arm\.xml does not exist; .* list the file in package-data"):
        Blueprint("/nowhere/arm.xml").spec()
