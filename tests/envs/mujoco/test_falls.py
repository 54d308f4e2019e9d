"""The reward of the step in which a body falls: that of Gymnasium's versions 2 to 4, and not of version 5."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import pytest

from metarl.families.family import FAMILIES
from metarl.families.load import load
from metarl.families.mujoco.family import MujocoFamily

BONUS = {"hopper-dynamics": 1.0, "walker2d-dynamics": 1.0, "ant-dynamics": 1.0, "humanoid-dynamics": 5.0}
"""Healthy bonus of a step, by family with Gymnasium's reward."""
PRESETS = [
    (name, preset)
    for name in FAMILIES
    if issubclass(FAMILIES[name], MujocoFamily) and FAMILIES[name].terminated is not MujocoFamily.terminated
    for preset in FAMILIES[name].presets or [None]
]


@pytest.fixture(autouse=True)
def in_a_folder_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)  # Gymnasium's classes make MuJoCo write a log file


def fall(name: str) -> tuple[np.ndarray, np.ndarray, np.ndarray, float]:
    """Return position, velocity and action before the step that ends an episode, and its reward."""
    settings = {"contacts": "none"} if name == "ant-dynamics" else {}
    family = load(name, horizon=1000, **settings)
    envs = family.make_vec(family.tasks(dict.fromkeys(family.parameters, 1.0)), threads=0)
    envs.reset(seed=1)
    envs.action_space.seed(0)
    while True:
        state = envs.batch.state  # type: ignore[attr-defined]
        before = state["qpos"][0].copy(), state["qvel"][0].copy()
        action = envs.action_space.sample()
        _, rewards, terminations, truncations, _ = envs.step(action)
        if terminations[0]:
            return *before, action[0], float(rewards[0])
        assert not truncations[0]


def reward_of_gymnasium(
    name: str, version: int, qpos: np.ndarray, qvel: np.ndarray, action: np.ndarray
) -> tuple[float, bool]:
    # Contacts are left out, because Gymnasium reads them at another time (see docs/families/differences.md).
    free = {"contact_cost_weight": 0.0} if version == 5 and name in ("ant-dynamics", "humanoid-dynamics") else {}
    id_ = FAMILIES[name].gymnasium_id.replace("v5", f"v{version}")
    env: Any = gymnasium.make(id_, disable_env_checker=True, **free).unwrapped
    env.reset(seed=0)
    env.set_state(qpos, qvel)
    env.data.qacc_warmstart[:] = 0
    _, reward, terminated, _, _ = env.step(action)
    return float(reward), terminated


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::UserWarning")
@pytest.mark.parametrize("name", BONUS)
def test_step_that_ends_in_a_fall_pays_the_bonus_as_in_version_4_and_unlike_version_5(name: str) -> None:
    qpos, qvel, action, ours = fall(name)
    fourth, fell = reward_of_gymnasium(name, 4, qpos, qvel, action)
    fifth, fell_too = reward_of_gymnasium(name, 5, qpos, qvel, action)
    assert fell
    assert fell_too
    # Ant and Humanoid integrate by Runge-Kutta, where Gymnasium's velocity is of the last stage but one.
    tolerance = 1e-6 if name in ("hopper-dynamics", "walker2d-dynamics") else 0.05
    assert ours == pytest.approx(fourth, abs=tolerance)
    assert ours - fifth == pytest.approx(BONUS[name], abs=tolerance)


@pytest.mark.parametrize(("name", "preset"), PRESETS)
def test_reward_of_no_preset_depends_on_whether_the_body_has_fallen(name: str, preset: str | None) -> None:
    family: Any = load(name, preset)
    tasks = family.sample("train", 2, seed=0)
    envs = family.make_vec(tasks, threads=0)
    envs.reset(seed=0)
    before: Any = envs.batch.state  # type: ignore[attr-defined]
    action = envs.action_space.sample()
    envs.step(action)
    after: Any = envs.batch.state  # type: ignore[attr-defined]
    sunk = {**after, "qpos": after["qpos"].copy()}
    sunk["qpos"][:, 1 if family.model.nq < 10 else 2] -= 3.0  # the height of the torso
    if np.any(family.terminated(sunk, tasks.values)):
        rewards = [family.reward(before, action, state, tasks.values) for state in (after, sunk)]
        np.testing.assert_array_equal(*rewards)
    else:
        assert getattr(family, "area", "") == "disc"  # the one kind of family that does not end in a fall
