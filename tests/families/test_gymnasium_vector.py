"""The batched environment beside Gymnasium's `SyncVectorEnv` of single environments, bit for bit."""

from __future__ import annotations

import functools
from typing import Any

import gymnasium
import numpy as np
import pytest
from gymnasium.vector import AutoresetMode, SyncVectorEnv

from metarl.adapters.gymnasium import SingleEnv
from metarl.families.family import FAMILIES, TaskFamily, missing_requirement
from metarl.families.load import load
from metarl.families.vector import BatchedEnv

NAMES = [name for name in FAMILIES if not missing_requirement(FAMILIES[name])]
MASKS = np.array([[True, False, True], [False, True, False]])
"""Worlds of two masked resets."""


def in_sync(family: TaskFamily, num_envs: int = 3) -> SyncVectorEnv:
    """Return single environments of the first training tasks behind Gymnasium's own vector environment."""
    tasks = family.sample("train", num_envs, seed=0)
    makers = [functools.partial(SingleEnv, family, tasks[i]) for i in range(num_envs)]
    return SyncVectorEnv(makers, autoreset_mode=AutoresetMode.DISABLED)


def assert_equal(ours: Any, theirs: Any) -> None:
    for mine, other in zip(ours, theirs, strict=True):
        np.testing.assert_array_equal(mine, other)
        assert mine.dtype == other.dtype


def play_with_masks(envs: Any) -> list[np.ndarray]:
    """Return all that an environment says over masked resets in mid-episode, with seeds for marked and other worlds."""
    envs.action_space.seed(0)
    seen = [envs.reset(seed=[1, 2, 3])[0]]
    for seed, mask in (([7, 9, 8], MASKS[0]), ([5, None, 6], MASKS[1]), (None, MASKS[0]), ([None, 4, 4], ~MASKS[1])):
        for _ in range(2):
            seen += (step := envs.step(envs.action_space.sample()))[:4]
            if (ended := step[2] | step[3]).any():
                seen.append(envs.reset(options={"reset_mask": ended})[0])
        seen.append(envs.reset(seed=seed, options={"reset_mask": mask.copy()})[0])
    seen.append(envs.reset()[0])  # the streams of all worlds go on
    return seen


@pytest.mark.parametrize("name", NAMES)
def test_masked_reset_touches_the_marked_worlds_alone_as_in_sync_vector_env(name: str) -> None:
    family = load(name)
    ours = family.make_vec(family.sample("train", 3, seed=0), threads=0)
    assert_equal(play_with_masks(ours), play_with_masks(in_sync(family)))


def test_masked_seed_restarts_the_trial_of_the_marked_worlds_alone() -> None:
    family = load("navigation-2d", switch_at=[4])
    ours = family.make_vec(family.sample("train", 3, seed=0), threads=0)
    theirs = in_sync(family)
    for envs in (ours, theirs):
        envs.reset(seed=[1, 2, 3])
    for t in range(8):
        step = [envs.step(np.full((3, 2), 0.05, dtype=np.float32)) for envs in (ours, theirs)]
        assert_equal(step[0][:4], step[1][:4])
        if t == 2:  # in mid-episode, before the switch
            again = [envs.reset(seed=[7, 9, 8], options={"reset_mask": MASKS[0].copy()})[0] for envs in (ours, theirs)]
            assert_equal(again[:1], again[1:])


@pytest.mark.parametrize("seed", [5, [5, 6, 7]])
def test_seed_of_a_masked_reset_leaves_the_generator_of_the_batch(seed: Any) -> None:
    envs: BatchedEnv = load("navigation-2d").make_vec(load("navigation-2d").sample("train", 3, seed=0))
    envs.reset(seed=1)
    before = envs.np_random.bit_generator.state
    envs.reset(seed=seed, options={"reset_mask": MASKS[0]})
    assert envs.np_random.bit_generator.state == before


@pytest.mark.parametrize(
    ("arguments", "kind", "words"),
    [
        ({"seed": [1, 2]}, ValueError, "2 seeds for 3 worlds"),
        ({"seed": -1}, ValueError, "seed is -1"),
        ({"seed": [1, -2, 3]}, ValueError, "seed is -2"),
        ({"seed": 2**64}, ValueError, "2\\^64"),
        ({"seed": 1.5}, TypeError, "seed is 1.5"),
        ({"seed": [1, "2", 3]}, TypeError, "seed is '2'"),
        ({"options": {"reset_mask": np.array([True, False])}}, ValueError, "reset_mask has shape"),
        ({"options": {"reset_mask": np.array([0, 2, 1])}}, TypeError, "reset_mask has dtype int64"),
    ],
)
def test_wrong_arguments_of_reset_are_refused_with_the_kinds_of_errors_of_gymnasium(
    arguments: dict[str, Any], kind: type[Exception], words: str
) -> None:
    envs = gymnasium.make_vec("metarl/Navigation2D-v0", num_envs=3)
    with pytest.raises(kind, match=words):
        envs.reset(**arguments)
