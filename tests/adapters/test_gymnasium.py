"""The batched environment beside Gymnasium's `SyncVectorEnv` of single environments, bit for bit."""

from __future__ import annotations

import functools
import pickle
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import gymnasium
import numpy as np
import pytest
from gymnasium import spaces
from gymnasium.vector import AutoresetMode, SyncVectorEnv
from gymnasium.wrappers import TimeAwareObservation
from gymnasium.wrappers import vector as wrappers

from metarl.adapters.autoreset import AutoresetVectorEnv
from metarl.adapters.gymnasium import SingleEnv
from metarl.base.errors import MetarlError
from metarl.families.classes import ClassFamily
from metarl.families.distributions import Choice
from metarl.families.family import FAMILIES, TaskFamily, missing_requirement
from metarl.families.load import load
from metarl.families.task import Horizon, Parameter
from metarl.families.vector import BatchedEnv
from tests.probes import UnequalEpisodes
from tests.same import assert_same

NAMES = [name for name in FAMILIES if not missing_requirement(FAMILIES[name])]
MASKS = np.array([[True, False, True], [False, True, False]])
"""Worlds of two masked resets."""


def in_sync(
    family: TaskFamily, num_envs: int = 3, *, mode: AutoresetMode = AutoresetMode.DISABLED, redraw: bool = False
) -> SyncVectorEnv:
    """Return single environments of the first training tasks behind Gymnasium's own vector environment."""
    tasks = family.sample("train", num_envs, seed=0)
    makers = [
        functools.partial(SingleEnv, family, None if redraw else tasks[i], redraw=redraw) for i in range(num_envs)
    ]
    return SyncVectorEnv(makers, autoreset_mode=mode)


def assert_equal(ours: Any, theirs: Any) -> None:
    for mine, other in zip(ours, theirs, strict=True):
        assert_same(mine, other)


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


def assert_same_infos(ours: dict[str, Any], theirs: dict[str, Any]) -> None:
    assert ours.keys() == theirs.keys()
    for key, value in ours.items():
        if isinstance(value, dict):
            assert_same_infos(value, theirs[key])
        elif key == "final_obs":
            for mine, other in zip(value, theirs[key], strict=True):
                np.testing.assert_equal(mine, other)
        else:
            np.testing.assert_array_equal(value, theirs[key])
            assert value.dtype == theirs[key].dtype


MODES = [AutoresetMode.NEXT_STEP, AutoresetMode.SAME_STEP]


# What a mode does, and what a new task is, does not depend on each other.
@pytest.mark.parametrize(
    ("mode", "redraw"),
    [
        (AutoresetMode.NEXT_STEP, False),
        (AutoresetMode.SAME_STEP, True),
        pytest.param(AutoresetMode.NEXT_STEP, True, marks=pytest.mark.slow),
        pytest.param(AutoresetMode.SAME_STEP, False, marks=pytest.mark.slow),
    ],
)
@pytest.mark.parametrize("name", NAMES)
def test_autoreset_is_that_of_sync_vector_env(name: str, mode: AutoresetMode, redraw: bool) -> None:
    family = load(name)
    family = family.with_horizon(min(family.horizon, 4))
    if redraw:
        try:
            family.require_changeable()
        except MetarlError:
            pytest.skip("its tasks cannot change")
    batch = family.make_vec(family.sample("train", 3, seed=0), threads=0)
    pair: list[Any] = [AutoresetVectorEnv(batch, mode, redraw=redraw), in_sync(family, mode=mode, redraw=redraw)]
    pair[0].action_space.seed(0)
    assert_equal(*([envs.reset(seed=[3, 4, 5])[0]] for envs in pair))
    for t in range(14):
        actions = pair[0].action_space.sample()
        ours, theirs = (envs.step(actions) for envs in pair)
        assert_equal(ours[:4], theirs[:4])
        assert_same_infos(ours[4], theirs[4])
        if t == 6:  # some worlds in mid-episode, with a seed for one of them
            again = [envs.reset(seed=[None, 9, 8], options={"reset_mask": MASKS[0].copy()})[0] for envs in pair]
            assert_equal(again[:1], again[1:])


@pytest.mark.parametrize("mode", MODES)
def test_autoreset_of_episodes_that_end_at_different_times_is_that_of_sync_vector_env(mode: AutoresetMode) -> None:
    family = UnequalEpisodes()
    pair: list[Any] = [
        AutoresetVectorEnv(family.make_vec(family.sample("train", 5, seed=0)), mode),
        in_sync(family, 5, mode=mode),
    ]
    for envs in pair:
        envs.reset(seed=[3, 4, 5, 6, 7])
    ends = np.zeros(5, dtype=int)
    for _ in range(25):
        ours, theirs = (envs.step(np.zeros((5, 2), dtype=np.float32)) for envs in pair)
        assert_equal(ours[:4], theirs[:4])
        assert_same_infos(ours[4], theirs[4])
        ends += ours[2] | ours[3]
    assert len(set(ends)) > 1


class Parts(gymnasium.Env[Any, int]):
    """Observes its clock and its length as a Dict, and ends after `length` steps."""

    observation_space = spaces.Dict({"clock": spaces.Discrete(9), "length": spaces.Box(0.0, 9.0, (1,))})
    action_space = spaces.Discrete(2)

    def __init__(self, length: float) -> None:
        self.length, self.clock = length, 0

    def _look(self) -> dict[str, Any]:
        return {"clock": np.int64(self.clock), "length": np.array([self.length], dtype=np.float32)}

    def reset(self, *, seed: int | None = None, options: Any = None) -> tuple[Any, dict[str, Any]]:
        self.clock = 0
        return self._look(), {}

    def step(self, action: int) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        self.clock += 1
        over = self.clock >= self.length
        return self._look(), float(self.clock), over, False, {"success": over} if self.clock > 1 else {}


@dataclass(frozen=True)
class PartsFamily(ClassFamily):
    name: ClassVar[str] = "parts"
    horizon: Horizon = 4

    @property
    def parameters(self) -> Mapping[str, Parameter]:
        return {"length": Parameter(Choice((1.0, 2.0, 3.0, 5.0)))}

    def make(self, task: dict[str, Any], render_mode: str | None) -> Parts:
        return Parts(task["length"])


@pytest.mark.parametrize("mode", MODES)
def test_autoreset_of_composed_observations_and_partial_infos_is_that_of_sync_vector_env(mode: AutoresetMode) -> None:
    family = PartsFamily()
    batch = family.make_vec(family.sample("train", 5, seed=0))
    pair: list[Any] = [AutoresetVectorEnv(batch, mode), in_sync(family, 5, mode=mode)]
    for envs in pair:
        envs.reset(seed=[1, 2, 3, 4, 5])
    for _ in range(12):
        ours, theirs = (envs.step(np.zeros(5, dtype=np.int64)) for envs in pair)
        for part in ("clock", "length"):
            assert_equal([ours[0][part]], [theirs[0][part]])
        assert_equal(ours[1:4], theirs[1:4])
        assert_same_infos(ours[4], theirs[4])


def test_redrawn_tasks_are_the_training_list_of_the_seed_in_turn() -> None:
    family = load("navigation-2d", horizon=2)
    envs = AutoresetVectorEnv(family.make_vec(family.sample("train", 3, seed=0)), AutoresetMode.SAME_STEP, redraw=True)
    expected = [family.sample("train", 9, seed=5)[i] for i in range(9)]
    envs.reset(seed=5)
    for episode in range(3):
        assert [envs.task(world) for world in range(3)] == expected[3 * episode : 3 * episode + 3]
        for _ in range(2):
            rewards = envs.step(np.zeros((3, 2), dtype=np.float32))[1]
        goals = np.array([task["goal"] for task in expected[3 * episode : 3 * episode + 3]])
        np.testing.assert_allclose(rewards, -np.linalg.norm(goals, axis=1))
    single = gymnasium.make("metarl/Navigation2D-v0", horizon=2, task_on_reset="redraw")
    for _ in range(2):  # a seed begins the list again
        single.reset(seed=5)
        assert single.unwrapped.task == expected[0]  # type: ignore[attr-defined]
        single.reset()
        assert single.unwrapped.task == expected[1]  # type: ignore[attr-defined]


def test_kept_tasks_stay_over_automatic_resets() -> None:
    envs = gymnasium.make_vec("metarl/Navigation2D-v0", num_envs=2, autoreset_mode="SAME_STEP", max_episode_steps=1)
    assert isinstance(envs, AutoresetVectorEnv)
    envs.reset(seed=0)
    tasks = [envs.task(world) for world in range(2)]
    for _ in range(4):
        envs.step(np.zeros((2, 2), dtype=np.float32))
        assert [envs.task(world) for world in range(2)] == tasks


@pytest.mark.parametrize("given", [AutoresetMode.SAME_STEP, "SAME_STEP", "SameStep"])
def test_make_vec_takes_an_autoreset_mode_or_its_name(given: Any) -> None:
    envs = gymnasium.make_vec("metarl/Navigation2D-v0", num_envs=2, autoreset_mode=given)
    assert envs.metadata["autoreset_mode"] is envs.autoreset_mode is AutoresetMode.SAME_STEP  # type: ignore[attr-defined]
    plain = gymnasium.make_vec("metarl/Navigation2D-v0", num_envs=2)
    assert plain.metadata["autoreset_mode"] is plain.autoreset_mode is AutoresetMode.DISABLED  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("arguments", "kind", "words"),
    [
        ({"autoreset_mode": "never"}, ValueError, "NEXT_STEP, SAME_STEP, DISABLED"),
        ({"task_on_reset": "never"}, ValueError, "'keep' or 'redraw'"),
        ({"task_on_reset": "redraw", "tasks": [{"goal": [0.0, 0.0]}]}, ValueError, "tasks is given"),
        ({"task_on_reset": "redraw", "switch_at": [3]}, ValueError, "switch_at, which counts steps"),
        ({"max_episode_steps": 0}, ValueError, "max_episode_steps is 0"),
        ({"frameskip": 4}, TypeError, "got an unexpected keyword argument 'frameskip'"),
        ({"goal": [0.1, 0.2]}, TypeError, re.escape("give tasks=[{'goal': [0.1, 0.2]}]")),
    ],
)
def test_wrong_arguments_of_make_vec_are_refused(arguments: dict[str, Any], kind: type[Exception], words: str) -> None:
    with pytest.raises(MetarlError, match=words) as caught:
        gymnasium.make_vec("metarl/Navigation2D-v0", num_envs=2, **arguments)
    assert isinstance(caught.value, kind)


def test_step_before_a_reset_or_by_an_impossible_action_raises_gymnasiums_errors() -> None:
    envs = gymnasium.make_vec("metarl/BernoulliBandit-v0", num_envs=2)
    with pytest.raises(gymnasium.error.ResetNeeded):
        envs.step(np.array([0, 0]))
    envs.reset(seed=0)
    with pytest.raises(gymnasium.error.InvalidAction):
        envs.step(np.array([0, 99]))


@pytest.mark.parametrize("mode", MODES)
def test_vector_wrappers_of_gymnasium_work_on_the_native_batch(mode: AutoresetMode) -> None:
    envs: Any = gymnasium.make_vec("metarl/Navigation2D-v0", num_envs=3, autoreset_mode=mode, max_episode_steps=5)
    envs = wrappers.RecordEpisodeStatistics(envs)
    if mode is AutoresetMode.NEXT_STEP:  # the only mode that they take
        envs = wrappers.FlattenObservation(wrappers.NormalizeObservation(envs))
    envs = wrappers.NormalizeReward(wrappers.ClipAction(envs))
    envs.reset(seed=0)
    lengths = []
    for _ in range(12):
        infos = envs.step(envs.action_space.sample())[4]
        for source in (infos, infos.get("final_info", {})):
            lengths += source["episode"]["l"][source["_episode"]].tolist() if "episode" in source else []
    assert lengths == [5] * 6


@pytest.mark.parametrize("mode", AutoresetMode)
def test_copy_by_pickle_gives_the_same_episodes(mode: AutoresetMode) -> None:
    family = load("point-sparse", horizon=3)
    envs = AutoresetVectorEnv(family.make_vec(family.sample("train", 3, seed=0)), mode, redraw=True)
    copy = pickle.loads(pickle.dumps(envs))
    for one in (envs, copy):
        one.reset(seed=[1, 2, 3])
    for _ in range(3):
        assert_equal(envs.step(np.zeros((3, 2), np.float32))[:4], copy.step(np.zeros((3, 2), np.float32))[:4])


def test_async_vector_env_of_single_environments_equals_the_native_batch() -> None:
    kwargs = {"vectorization_mode": "async", "vector_kwargs": {"context": "spawn", "autoreset_mode": "SameStep"}}
    task = {"goal": [0.3, -0.2]}
    theirs = gymnasium.make_vec("metarl/Navigation2D-v0", num_envs=2, task=task, horizon=3, **kwargs)  # type: ignore[arg-type]
    ours = gymnasium.make_vec("metarl/Navigation2D-v0", 2, tasks=[task], horizon=3, autoreset_mode="SAME_STEP")
    pair: list[Any] = [ours, theirs]
    assert_equal(*([envs.reset(seed=[3, 4])[0]] for envs in pair))
    for _ in range(5):
        assert_equal(*(envs.step(np.full((2, 2), 0.05, dtype=np.float32))[:4] for envs in pair))
    theirs.close()


def test_spec_tells_the_horizon_and_makes_the_same_environment_again() -> None:
    single: Any = gymnasium.make("metarl/PointSparse-v0", horizon=7)
    assert single.spec.max_episode_steps == 7
    assert gymnasium.make(single.spec).unwrapped.family == single.unwrapped.family  # type: ignore[attr-defined]
    for more in ({}, {"autoreset_mode": "SAME_STEP"}):
        envs: Any = gymnasium.make_vec("metarl/PointSparse-v0", num_envs=3, horizon=7, **more)  # type: ignore[arg-type]
        assert envs.spec.max_episode_steps == 7
        again: Any = gymnasium.make_vec(envs.spec)
        assert (again.family, again.num_envs, type(again)) == (envs.family, 3, type(envs))
    assert gymnasium.make("metarl/PointSparse-v0", max_episode_steps=4).spec.max_episode_steps == 4  # type: ignore[union-attr]


def test_time_aware_observation_works_without_a_time_limit_wrapper() -> None:
    env = TimeAwareObservation(gymnasium.make("metarl/Navigation2D-v0"), normalize_time=True, flatten=True)
    assert env.reset(seed=0)[0].shape == (3,)
    assert env.step(np.zeros(2, dtype=np.float32))[0][2] == pytest.approx(0.01)


def test_task_given_as_a_keyword_is_refused_with_the_right_one() -> None:
    with pytest.raises(TypeError, match=re.escape("give task={'velocity': 3}")) as caught:
        gymnasium.make("metarl/HalfCheetahVelocity-v0", velocity=3)
    assert "\n" not in str(caught.value)
    with pytest.raises(TypeError, match=re.escape("task={'gravity': 3, 'masscart': ..., ")):
        gymnasium.make("metarl/CartPolePhysics-v0", gravity=3)


@pytest.mark.parametrize("name", NAMES)
def test_pictures_play_in_the_time_of_the_simulation(name: str) -> None:
    family: Any = load(name)
    env = SingleEnv(family)
    told = env.metadata["render_fps"]
    if hasattr(family, "dt"):
        assert told == round(1 / family.dt)
    if family.gymnasium_id:
        assert told == gymnasium.make(family.gymnasium_id).metadata["render_fps"]
    assert told == family.make_vec(family.sample("train", 2, seed=0)).metadata["render_fps"]


@pytest.mark.parametrize("seed", [5, [5, 6, 7]])
def test_first_reset_seeds_the_worlds_that_it_leaves_out(seed: Any) -> None:
    family = load("half-cheetah-velocity")
    full, partial = (family.make_vec(family.sample("train", 3, seed=0), threads=0) for _ in range(2))
    partial.reset(seed=seed, options={"reset_mask": MASKS[0]})
    assert_equal(partial.reset(options={"reset_mask": ~MASKS[0]})[:1], full.reset(seed=seed)[:1])


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
