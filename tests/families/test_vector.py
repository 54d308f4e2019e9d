"""The batched environment, Gymnasium's entry points to it, and the independence of its worlds."""

from __future__ import annotations

import pickle
import subprocess
import sys
import warnings
from typing import Any

import gymnasium
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env
from gymnasium.vector import AutoresetMode

from metarl.adapters.gymnasium import SingleEnv
from metarl.base.errors import MetarlError
from metarl.families.batch import Step
from metarl.families.family import FAMILIES, missing_requirement
from metarl.families.infos import write_infos
from metarl.families.load import load
from metarl.families.task import Tasks
from metarl.families.vector import BatchedEnv
from tests.probes import UnequalEpisodes
from tests.same import assert_same

IDS = {name: f"metarl/{FAMILIES[name].__name__}-v0" for name in FAMILIES if not missing_requirement(FAMILIES[name])}


def random_actions(envs: BatchedEnv, steps: int, seed: int = 0) -> list[np.ndarray]:
    envs.action_space.seed(seed)
    return [envs.action_space.sample() for _ in range(steps)]


@pytest.mark.parametrize("name", IDS)
def test_gymnasium_make_passes_check_env(name: str) -> None:
    env = gymnasium.make(IDS[name])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        # Bounds of observations and moves are those of the papers; Gymnasium would like others.
        warnings.filterwarnings("ignore", ".*(infinity|normalized space|not overridden|human).*")
        check_env(env.unwrapped, skip_render_check=True)
    env.close()


@pytest.mark.parametrize("name", ["navigation-2d", "gridnavi"])
def test_environments_of_one_family_sample_from_spaces_of_their_own(name: str) -> None:
    one, other = SingleEnv(load(name)), SingleEnv(load(name))
    one.action_space.seed(0)
    other.action_space.seed(0)
    first = [one.action_space.sample() for _ in range(5)]
    np.testing.assert_array_equal([other.action_space.sample() for _ in range(5)], first)


@pytest.mark.parametrize("order", ["gymnasium, metarl", "metarl, gymnasium"])
def test_ids_are_registered_whichever_is_imported_first(order: str) -> None:
    code = (
        f"import {order}; print(gymnasium.make('metarl/Navigation2D-v0', task={{'goal': [0.1, 0.2]}}).unwrapped.task)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "{'goal': [0.1, 0.2]}"


def test_ids_are_registered_after_somebody_asked_whether_gymnasium_is_there() -> None:
    code = (
        "import metarl, importlib.util; importlib.util.find_spec('gymnasium'); import gymnasium;"
        "print(gymnasium.make('metarl/Navigation2D-v0').unwrapped.family.name)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "navigation-2d"


@pytest.mark.parametrize("name", IDS)
def test_gymnasium_make_vec_gives_the_native_batch(name: str) -> None:
    envs = gymnasium.make_vec(IDS[name], num_envs=6)
    assert isinstance(envs, BatchedEnv)
    assert envs.metadata["autoreset_mode"] is AutoresetMode.DISABLED
    observations, _ = envs.reset(seed=0)
    assert observations in envs.observation_space
    observations, rewards, terminations, truncations, _ = envs.step(random_actions(envs, 1)[0])
    assert observations in envs.observation_space
    assert rewards.shape == terminations.shape == truncations.shape == (6,)
    envs.close()


def test_make_vec_shares_worlds_equally_among_given_tasks() -> None:
    tasks = [{"goal": [0.1, 0.0]}, {"goal": [0.2, 0.0]}]
    envs = gymnasium.make_vec("metarl/Navigation2D-v0", num_envs=4, tasks=tasks)
    assert isinstance(envs, BatchedEnv)
    assert envs.shape == (2, 2)
    envs.reset(seed=0)
    rewards = envs.step(np.zeros((4, 2)))[1]
    np.testing.assert_allclose(rewards, [-0.1, -0.1, -0.2, -0.2])
    with pytest.raises(MetarlError, match="multiple of the number of tasks"):
        gymnasium.make_vec("metarl/Navigation2D-v0", num_envs=3, tasks=tasks)


def test_make_vec_takes_max_episode_steps_as_the_horizon() -> None:
    envs = gymnasium.make_vec("metarl/PointSparse-v0", num_envs=2, max_episode_steps=3)
    envs.reset(seed=0)
    cut = [envs.step(np.zeros((2, 2)))[3].tolist() for _ in range(3)]
    assert cut == [[False, False], [False, False], [True, True]]


@pytest.mark.parametrize("name", IDS)
def test_task_alone_equals_the_task_in_a_batch_bit_for_bit_on_any_number_of_threads(name: str) -> None:
    family = load(name)
    tasks = family.sample("test", 5, seed=0)
    together = [family.make_vec(tasks, 2, threads=threads) for threads in (0, 1, 2)]
    steps = min(8, family.horizon)
    actions = random_actions(together[0], 2 * steps)

    def run(envs: BatchedEnv, worlds: slice) -> list[np.ndarray]:
        seen = [envs.reset(seed=3)[0]]
        for t, action in enumerate(actions):
            if t == steps:  # a second episode: the streams go on
                seen.append(envs.reset()[0])
            step = envs.step(action[worlds])[:4]
            seen.extend(step)
            # A walker that falls at once begins again beside the others.
            seen.append(envs.reset(options={"reset_mask": step[2] | step[3]})[0])
        return seen

    everything = [run(envs, slice(None)) for envs in together]
    for task in range(5):
        worlds = slice(2 * task, 2 * task + 2)
        alone = run(family.make_vec(tasks[task : task + 1], 2, threads=0), worlds)
        for batch in everything:
            for mine, theirs in zip(alone, batch, strict=True):
                assert_same(mine, theirs, worlds)


def test_world_that_waits_is_bitwise_what_it_was_and_its_neighbours_do_not_feel_it() -> None:
    family = UnequalEpisodes()
    tasks = Tasks({"length": np.array([2.0, 8.0])}, np.arange(2))
    both, alone = family.make_vec(tasks), family.make_vec(tasks[1:])
    both.reset(seed=0)
    alone.reset(seed=0)
    active = np.array([True, True])
    last = None
    for _ in range(6):
        step = both.advance(np.zeros((2, 2)), active)
        mine = alone.step(np.zeros((1, 2)))
        np.testing.assert_array_equal(step.observations[1:], mine[0])
        np.testing.assert_array_equal(step.rewards[1:], mine[1])
        if not active[0]:
            np.testing.assert_array_equal(step.observations[0], last)
            assert step.rewards[0] == 0
        last = step.observations[0]
        active = active & ~(step.terminations | step.truncations)


def test_terminations_and_truncations_are_told_apart() -> None:
    family = UnequalEpisodes(horizon=4)
    envs = family.make_vec(Tasks({"length": np.array([2.0, 4.0, 6.0])}, np.arange(3)))
    envs.reset(seed=0)
    ends = []
    active = np.ones(3, dtype=bool)
    for _ in range(4):
        step = envs.advance(np.zeros((3, 2)), active)
        ends.append((step.terminations.tolist(), step.truncations.tolist()))
        active &= ~(step.terminations | step.truncations)
    none = [False, False, False]
    # An episode that ends by itself in its last step terminated: nothing follows it.
    assert ends == [
        (none, none),
        ([True, False, False], none),
        (none, none),
        ([False, True, False], [False, False, True]),
    ]


def test_stepping_an_ended_world_is_an_error_and_a_masked_reset_starts_it_anew() -> None:
    family = UnequalEpisodes(horizon=4)
    envs = family.make_vec(Tasks({"length": np.array([1.0, 9.0])}, np.arange(2)))
    observations, _ = envs.reset(seed=0)
    after = envs.step(np.zeros((2, 2)))[0]
    with pytest.raises(MetarlError, match="stepped after its episode had ended"):
        envs.step(np.zeros((2, 2)))
    fresh, _ = envs.reset(options={"reset_mask": np.array([True, False])})
    assert fresh[0, 0] == 0
    assert fresh[0, 1] != observations[0, 1]
    np.testing.assert_array_equal(fresh[1], after[1])
    envs.step(np.zeros((2, 2)))


def test_reset_seeds_make_episodes_repeat_and_no_seed_lets_them_go_on() -> None:
    envs = gymnasium.make_vec("metarl/HalfCheetahVelocity-v0", num_envs=3)
    first, second = envs.reset(seed=4)[0], envs.reset()[0]
    np.testing.assert_array_equal(envs.reset(seed=4)[0], first)
    np.testing.assert_array_equal(envs.reset()[0], second)
    assert not np.array_equal(first, second)
    assert len({row.tobytes() for row in first}) == 3
    each = envs.reset(seed=[1, 2, 1])[0]
    np.testing.assert_array_equal(each[0], each[2])
    assert not np.array_equal(each[0], each[1])
    with pytest.raises(MetarlError, match="2 seeds for 3 worlds"):
        envs.reset(seed=[1, 2])


@pytest.mark.parametrize("name", IDS)
def test_task_stays_over_resets_and_pickling(name: str) -> None:
    family = load(name)
    tasks = family.sample("test", 3, seed=9)
    env = SingleEnv(family, tasks[1])
    task = env.task
    for seed in (0, 1, None):
        env.reset(seed=seed)
        assert env.task == task == tasks[1]
    copy = pickle.loads(pickle.dumps(env))
    assert copy.task == task
    assert_same(copy.reset(seed=5)[0], env.reset(seed=5)[0])
    envs = family.make_vec(tasks, 2)
    again = pickle.loads(pickle.dumps(envs))
    assert list(again.tasks) == list(tasks)
    assert_same(again.reset(seed=5)[0], envs.reset(seed=5)[0])


def test_observations_are_copies_that_nobody_changes_later() -> None:
    for name in IDS:
        envs = load(name).make_vec(load(name).sample("train", 2, seed=0))
        first, _ = envs.reset(seed=0)
        kept = first.copy()
        second = envs.step(random_actions(envs, 1)[0])[0]
        assert not np.shares_memory(first, second)
        np.testing.assert_array_equal(first, kept)


def test_array_families_render_to_an_array_that_shows_the_task() -> None:
    pictures = []
    for goal in ([0.5, 0.5], [-0.5, -0.5]):
        env = gymnasium.make("metarl/Navigation2D-v0", task={"goal": goal}, render_mode="rgb_array")
        env.reset(seed=0)
        picture = env.render()
        assert isinstance(picture, np.ndarray)
        assert picture.shape == (480, 480, 3)
        assert picture.dtype == np.uint8
        pictures.append(picture)
        env.close()
    assert (pictures[0] != pictures[1]).any()


def test_mujoco_families_render_to_an_array_that_shows_the_motion() -> None:
    env = gymnasium.make("metarl/HalfCheetahVelocity-v0", render_mode="rgb_array")
    env.reset(seed=0)
    try:
        before = env.render()
    except MetarlError as error:
        pytest.skip(str(error))
    for _ in range(10):
        env.step(env.action_space.sample())
    after = env.render()
    assert isinstance(before, np.ndarray)
    assert isinstance(after, np.ndarray)
    assert before.shape == (480, 480, 3)
    assert before.std() > 5
    assert (before != after).any()
    env.close()


@pytest.mark.skipif(sys.platform != "linux", reason="a display is always there")
@pytest.mark.parametrize("env_id", ["metarl/Navigation2D-v0", "metarl/HalfCheetahVelocity-v0"])
def test_window_without_a_display_is_refused_with_the_remedy(env_id: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for variable in ("DISPLAY", "WAYLAND_DISPLAY"):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setenv("MPLBACKEND", "agg")
    env = gymnasium.make(env_id, render_mode="human", disable_env_checker=True).unwrapped
    with pytest.raises(MetarlError, match="take render_mode 'rgb_array'"):
        env.reset(seed=0)


@pytest.mark.parametrize("arm", [-1, 5])
def test_action_outside_a_discrete_space_is_refused(arm: int) -> None:
    envs = gymnasium.make_vec("metarl/BernoulliBandit-v0", num_envs=2)
    envs.reset(seed=0)
    with pytest.raises(MetarlError, match=f"action {arm} is not in"):
        envs.step(np.array([0, arm]))


def test_actions_of_another_shape_are_refused() -> None:
    envs = gymnasium.make_vec("metarl/Navigation2D-v0", num_envs=2)
    envs.reset(seed=0)
    with pytest.raises(MetarlError, match=r"actions have shape \(2,\); it must be \(2, 2\)"):
        envs.step(np.zeros(2))


def test_unknown_render_mode_is_refused() -> None:
    for make in (gymnasium.make, gymnasium.make_vec):
        with pytest.raises(MetarlError, match="render_mode is 'ascii'"):
            make(
                "metarl/Navigation2D-v0",
                render_mode="ascii",
                **({"disable_env_checker": True} if make is gymnasium.make else {}),
            )


def test_reward_of_another_shape_is_refused_by_the_familys_name() -> None:
    class Column(UnequalEpisodes):
        def reward(self, *arguments: Any) -> np.ndarray:
            return super().reward(*arguments)[:, None]

    envs = Column().make_vec(Column().sample("train", 3, seed=0))
    envs.reset(seed=0)
    with pytest.raises(MetarlError, match=r"Column' has shape \(3, 1\); it must be \(3,\)") as caught:
        envs.step(np.zeros((3, 2)))
    assert caught.value.__cause__ is None  # an error that is its own cause would be printed twice


def test_change_of_a_world_leaves_the_tasks_of_the_others() -> None:
    family = load("navigation-2d")
    envs = family.make_vec(family.tasks([{"goal": [0.1, 0.0]}, {"goal": [0.2, 0.0]}]))
    envs.reset(seed=0)
    envs.change(np.array([True, False]), {"goal": np.full((2, 2), 0.4)})
    assert [envs.task(world) for world in range(2)] == [{"goal": [0.4, 0.4]}, {"goal": [0.2, 0.0]}]
    np.testing.assert_allclose(envs.step(np.zeros((2, 2)))[1], [-np.hypot(0.4, 0.4), -0.2])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"replicas": 0}, "replicas is 0"),
        ({"threads": -1}, "threads is -1"),
    ],
)
def test_impossible_batches_are_refused(arguments: dict[str, int], message: str) -> None:
    family = load("navigation-2d")
    with pytest.raises(MetarlError, match=message):
        family.make_vec(family.sample("train", 1, seed=0), **arguments)  # type: ignore[arg-type]


def test_what_a_family_tells_on_its_own_is_zero_for_worlds_that_did_not_step() -> None:
    told = {"objectives": np.arange(6.0).reshape(3, 2), "level": np.array([4, 5, 6])}
    none, where = np.zeros(3, dtype=bool), np.array([True, False, True])
    infos = write_infos(Step(np.zeros((3, 1)), np.zeros(3), none, none, None, infos=told), where)
    assert infos["objectives"].tolist() == [[0, 1], [0, 0], [4, 5]]
    assert infos["level"].tolist() == [4, 0, 6]
    for name in told:
        assert infos[f"_{name}"].tolist() == where.tolist()
    assert write_infos(Step(np.zeros((3, 1)), np.zeros(3), none, none, None, infos=told), none) == {}
