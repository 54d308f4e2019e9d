"""Environments of metarl in TorchRL and in stable-baselines3's own vector environments, made by their ids."""

from __future__ import annotations

from typing import Any

import gymnasium
import numpy as np
import pytest
from stable_baselines3.common.env_util import make_vec_env
from stable_baselines3.common.vec_env import DummyVecEnv, SubprocVecEnv, VecEnv

import metarl

ID = "metarl/Navigation2D-v0"


MODULE_AND_ID = f"metarl:{ID}"
"""A process that starts anew has not imported metarl; an id with a module in front does it."""


def play_sb3(kind: type[VecEnv], **arguments: Any) -> list[np.ndarray]:
    """Return observations and rewards of two episodes of three steps."""
    extra = {"start_method": "spawn"} if kind is SubprocVecEnv else {}
    envs = make_vec_env(
        MODULE_AND_ID, n_envs=2, seed=5, env_kwargs={"horizon": 3, **arguments}, vec_env_cls=kind, vec_env_kwargs=extra
    )
    seen = [np.asarray(envs.reset())]
    for _ in range(6):
        observations, rewards, dones, infos = envs.step(np.full((2, 2), 0.05, dtype=np.float32))
        seen += [np.asarray(observations), rewards.astype(np.float32), dones]
    assert "terminal_observation" in infos[0]
    assert infos[0]["TimeLimit.truncated"]
    envs.close()
    return seen


@pytest.mark.parametrize("arguments", [{}, {"task_on_reset": "redraw"}])
def test_vector_environments_of_stable_baselines3_equal_the_native_batch(arguments: dict[str, Any]) -> None:
    dummy = play_sb3(DummyVecEnv, **arguments)
    native: Any = gymnasium.make_vec(
        ID,
        num_envs=2,
        autoreset_mode="SAME_STEP",
        horizon=3,
        **(arguments or {"tasks": [metarl.load("navigation-2d").sample("train", 1, seed=0)[0]]}),
    )
    seen = [native.reset(seed=[5, 6])[0]]
    for _ in range(6):
        observations, rewards, terminations, truncations, _ = native.step(np.full((2, 2), 0.05, dtype=np.float32))
        seen += [observations, rewards.astype(np.float32), terminations | truncations]
    for ours, theirs in zip(seen, dummy, strict=True):
        np.testing.assert_array_equal(ours, theirs)


def test_processes_of_stable_baselines3_give_what_one_process_gives() -> None:
    # Takes seconds: two new processes import torch.
    for ours, theirs in zip(play_sb3(SubprocVecEnv), play_sb3(DummyVecEnv), strict=True):
        np.testing.assert_array_equal(ours, theirs)


def torchrl_environments(kind: str) -> Any:
    gym = pytest.importorskip("torchrl.envs.libs.gym")
    if kind == "id":
        return gym.GymEnv(ID, horizon=3)
    if kind == "single":
        return gym.GymWrapper(gymnasium.make(ID, horizon=3))
    return gym.GymWrapper(gymnasium.make_vec(ID, num_envs=2, horizon=3, autoreset_mode=kind))


@pytest.mark.filterwarnings("ignore")  # its own, of other libraries
@pytest.mark.parametrize("kind", ["id", "single", "DISABLED", "SAME_STEP"])
def test_torchrl_plays_episodes_of_the_horizon_one_after_the_other(kind: str) -> None:
    env = torchrl_environments(kind)
    env.set_seed(0)
    rollout = env.rollout(9, break_when_any_done=False)
    shape = (9,) if kind in ("id", "single") else (2, 9)
    assert rollout.shape == shape
    truncated = rollout["next", "truncated"].reshape(-1, 9).numpy()
    np.testing.assert_array_equal(truncated, [[False, False, True] * 3] * len(truncated))
    first = rollout["observation"].reshape(-1, 9, 2).numpy()[:, ::3]
    np.testing.assert_array_equal(first, np.zeros_like(first))  # each episode begins at the origin
    final = rollout["next", "observation"].reshape(-1, 9, 2).numpy()[:, 2::3]
    assert (final != 0).all()  # and keeps its last observation
    env.close()
