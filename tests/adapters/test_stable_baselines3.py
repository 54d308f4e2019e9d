"""Families as a VecEnv of stable-baselines3: its contract, and its algorithms on them."""

from __future__ import annotations

import pickle
from typing import Any

import numpy as np
import pytest
from gymnasium import spaces
from stable_baselines3 import PPO
from stable_baselines3.common.evaluation import evaluate_policy
from stable_baselines3.common.vec_env import VecMonitor, VecNormalize

from metarl import load
from metarl.adapters.stable_baselines3 import SB3VecEnv, make_sb3_vec
from metarl.base.errors import MetarlError
from metarl.base.streams import Streams
from metarl.base.threads import one_thread
from metarl.families.batch import State
from metarl.families.task import Values
from tests.agents.sb3.sights import Sights
from tests.families.kinds import OBSERVATIONS, Meters
from tests.families.test_families import PendulumGravity
from tests.probes import UnequalEpisodes
from tests.scripted import Numbered


def play(env: SB3VecEnv, steps: int, seed: int = 0) -> list[tuple[Any, ...]]:
    """Return the results of a few random steps, with the tasks before each."""
    rng, seen = np.random.default_rng(seed), []
    for _ in range(steps):
        tasks = env.get_attr("task")
        actions = np.stack([env.action_space.sample() for _ in range(env.num_envs)])
        actions = rng.uniform(-1, 1, actions.shape).astype(actions.dtype) if actions.ndim > 1 else actions * 0
        seen.append((tasks, *env.step(actions)))
    return seen


def test_an_ended_world_begins_anew_in_the_same_step_and_tells_what_it_ended_with() -> None:
    env = make_sb3_vec("navigation-2d", 3, horizon=4)
    first = env.reset()
    seen = play(env, 9)
    dones = np.stack([done for _, _, _, done, _ in seen])
    np.testing.assert_array_equal(dones, np.tile(np.arange(1, 10)[:, None] % 4 == 0, 3))
    for _, observations, _, done, infos in seen:
        for world in range(3):
            assert bool(infos[world]) == done[world]
            if done[world]:
                assert infos[world]["TimeLimit.truncated"] is True
                np.testing.assert_array_equal(observations[world], first[world])  # every episode begins at the origin
                assert not np.array_equal(infos[world]["terminal_observation"], first[world])


def test_a_world_whose_episode_ends_early_is_terminated_and_begins_anew_alone() -> None:
    env = make_sb3_vec(UnequalEpisodes(), 6)
    env.reset()
    seen = play(env, 12)
    dones = np.stack([done for _, _, _, done, _ in seen])
    assert len({tuple(row) for row in dones.T}) > 1
    ends = [info["TimeLimit.truncated"] for _, _, _, _, infos in seen for info in infos if info]
    assert set(ends) == {True, False}


def test_every_episode_is_in_a_task_of_its_own_and_its_reward_is_that_task_s() -> None:
    env = make_sb3_vec("navigation-2d", 3, horizon=4)
    env.reset()
    seen = play(env, 12)
    goals = [[task["goal"] for task in tasks] for tasks, *_ in seen]
    assert goals[0] == goals[3] != goals[4] == goals[7] != goals[8]
    drawn = [goal for step in (0, 4, 8) for goal in goals[step]]
    expected = load("navigation-2d", horizon=4).sample("train", 9, seed=0).values["goal"]
    np.testing.assert_array_equal(drawn, expected)
    for step, (tasks, observations, rewards, done, infos) in enumerate(seen):
        after = [info.get("terminal_observation", o) for info, o in zip(infos, observations, strict=True)]
        distance = np.linalg.norm(np.array(after) - [task["goal"] for task in tasks], axis=1)
        np.testing.assert_allclose(rewards, -distance, rtol=1e-6, err_msg=str(step))
        assert rewards.dtype == np.float32
        assert done.dtype == bool


def test_given_tasks_are_kept_and_shared_equally() -> None:
    env = make_sb3_vec("navigation-2d", 4, tasks=[{"goal": [0.5, 0.0]}, {"goal": [0.0, 0.5]}], horizon=3)
    env.reset()
    goals = [[task["goal"] for task in tasks] for tasks, *_ in play(env, 7)]
    assert all(each == [[0.5, 0.0], [0.5, 0.0], [0.0, 0.5], [0.0, 0.5]] for each in goals)


def test_worlds_of_the_same_task_have_random_numbers_of_their_own() -> None:
    env = make_sb3_vec("half-cheetah-velocity", 2, tasks={"velocity": 1.0})
    first, second = env.reset()
    assert not np.array_equal(first, second)


@pytest.mark.parametrize("name", ["navigation-2d", "half-cheetah-velocity", "bernoulli-bandit"])
def test_the_same_seed_gives_the_same_and_another_another(name: str) -> None:
    def run(seed: int) -> tuple[Any, Any]:
        env = make_sb3_vec(name, 2, horizon=5)
        env.seed(seed)
        start = env.reset()
        seen = play(env, 11)
        return start, [(observations, rewards) for _, observations, rewards, _, _ in seen], [t for t, *_ in seen]

    one, same, other = run(3), run(3), run(4)
    np.testing.assert_equal(one, same)
    with pytest.raises(AssertionError):
        np.testing.assert_equal(one, other)


def test_reset_without_a_seed_goes_on_and_with_one_starts_afresh() -> None:
    env = make_sb3_vec("half-cheetah-velocity", 2)
    starts = [env.reset() for _ in range(2)]
    tasks = env.get_attr("task")
    env.seed(0)
    again = env.reset()
    np.testing.assert_array_equal(again, starts[0])
    assert not np.array_equal(starts[0], starts[1])
    assert env.get_attr("task")[0]["velocity"] != tasks[0]["velocity"]


def test_success_of_any_step_is_told_at_the_episode_s_end() -> None:
    env = make_sb3_vec("point-sparse", 40, horizon=20)
    env.reset()
    seen = play(env, 20)
    told = [info["is_success"] for info in seen[-1][-1]]
    np.testing.assert_array_equal(told, np.sum([rewards for _, _, rewards, _, _ in seen], axis=0) > 0)
    assert not any("is_success" in info for *_, infos in seen[:-1] for info in infos)


@pytest.mark.slow
def test_sb3_learns_to_go_to_the_goal_it_is_given() -> None:
    env = VecMonitor(make_sb3_vec("navigation-2d", 16, tasks={"goal": [0.4, 0.3]}, horizon=20))
    model = PPO("MlpPolicy", env, n_steps=20, batch_size=80, learning_rate=3e-3, seed=0, device="cpu", gamma=0.9)
    with one_thread():  # in a small network its threads would only wait for each other
        before, _ = evaluate_policy(model, env, n_eval_episodes=16)
        model.learn(9_600)
        after, _ = evaluate_policy(model, env, n_eval_episodes=16)
    assert after > before / 2  # distances are costs


def test_sb3_wrappers_work_on_it() -> None:
    env = VecNormalize(VecMonitor(make_sb3_vec("half-cheetah-velocity", 3, horizon=4)))
    env.reset()
    for _ in range(4):
        *_, infos = env.step(np.zeros((3, 6)))
    assert [info["episode"]["l"] for info in infos] == [4, 4, 4]
    assert env.get_attr("family") == [load("half-cheetah-velocity", horizon=4)] * 3
    assert env.env_is_wrapped(VecMonitor) == [False] * 3
    env.close()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"family": "navigation-3d"}, "did you mean 'navigation-2d'"),
        ({"num_envs": 0}, "num_envs is 0; it must be at least 1"),
        ({"num_envs": 3, "tasks": [{"goal": [0, 1]}, {"goal": [1, 0]}]}, "num_envs is 3 for 2 tasks"),
        ({"tasks": {"gaol": [0, 1]}}, "gaol"),
        ({"split": "dev"}, "split"),
        ({"split": "dev", "tasks": {"goal": [0, 1]}}, "split is 'dev', and tasks are given; give one of them"),
        ({"switch_at": [10]}, "plays single episodes; leave it out"),
        ({"family": load("navigation-2d"), "horizon": 5}, "belong to a family's name"),
    ],
)
def test_bad_arguments_are_told_in_one_line(arguments: dict[str, Any], words: str) -> None:
    with pytest.raises(MetarlError) as caught:
        make_sb3_vec(**{"family": "navigation-2d", **arguments})
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


def test_what_single_worlds_do_not_have_is_refused() -> None:
    env = make_sb3_vec("navigation-2d", 2)
    with pytest.raises(MetarlError, match="step together"):
        env.set_attr("goal", 1)
    with pytest.raises(MetarlError, match="step together"):
        env.env_method("teleport")
    with pytest.raises(AttributeError, match="known: task, family"):
        env.get_attr("goal")
    with pytest.raises(MetarlError, match="world 2 does not exist; take one of 0 to 1"):
        env.get_attr("task", 2)
    env.set_options({"reset_mask": [True, False]})
    with pytest.raises(MetarlError, match="takes none"):
        env.reset()
    with pytest.raises(MetarlError, match="give actions first"):
        env.step_wait()


def test_a_family_that_cannot_change_in_a_running_environment_takes_given_tasks() -> None:
    family = PendulumGravity()
    with pytest.raises(MetarlError, match="change"):
        make_sb3_vec(family, 2)
    env = make_sb3_vec(family, 2, tasks=family.sample("train", 2, seed=0))
    assert env.reset().shape == (2, 3)


def test_attributes_are_a_world_s_own() -> None:
    env = make_sb3_vec("navigation-2d", 3)
    assert [space.shape for space in env.get_attr("action_space")] == [(2,)] * 3
    assert env.get_attr("render_mode", [0, 2]) == [None, None]


def test_a_pickled_environment_begins_with_its_seed() -> None:
    env = make_sb3_vec("half-cheetah-velocity", 2, seed=4)
    start = env.reset()
    play(env, 3)
    for _ in range(2):
        np.testing.assert_array_equal(pickle.loads(pickle.dumps(env)).reset(), start)


class FromOne(Numbered):
    """Actions 1 and 2, of which 2 solves it."""

    @property
    def action_space(self) -> spaces.Discrete:
        return spaces.Discrete(2, start=1)

    def transition(self, state: State, action: np.ndarray, task: Values, streams: Streams) -> State:
        assert ((action == 1) | (action == 2)).all()
        return super().transition(state, action - 1, task, streams)


def test_discrete_actions_count_from_zero_for_sb3_wherever_they_do_for_the_family() -> None:
    env = make_sb3_vec(FromOne(), 2)
    assert env.action_space == spaces.Discrete(2)
    env.reset()
    _, rewards, dones, _ = env.step(np.array([0, 1]))
    np.testing.assert_array_equal(rewards, [0.0, 1.0])
    np.testing.assert_array_equal(dones, [False, True])


@pytest.mark.parametrize("seen", ["discrete", "multi-discrete", "multi-binary", "tuple"])
@pytest.mark.parametrize("acted", ["discrete", "multi-discrete", "multi-binary"])
def test_an_algorithm_learns_from_spaces_that_do_not_begin_at_zero_or_are_no_dict(seen: str, acted: str) -> None:
    family = Sights(seen=seen, acted=acted, horizon=3)
    env = make_sb3_vec(family, 2, tasks=family.sample("train", 2, seed=0))
    raw, _ = family.make_vec(family.sample("train", 2, seed=0), threads=0).reset(seed=0)
    first: Any = env.reset()
    if seen == "tuple":
        assert first.keys() == {"0", "1"}
        np.testing.assert_array_equal(first["0"], raw[0])
    else:
        low = np.asarray(getattr(family.observation_space, "start", 0))
        np.testing.assert_array_equal(first, (raw - low).reshape(first.shape))
    policy = "MultiInputPolicy" if seen == "tuple" else "MlpPolicy"
    PPO(policy, env, n_steps=4, batch_size=8, n_epochs=1, device="cpu").learn(8)
    for _ in range(3):
        observations, _, ended, infos = env.step(np.stack([env.action_space.sample()] * 2))
        alone: Any = {key: part[0] for key, part in observations.items()} if seen == "tuple" else observations[0]
        assert alone in env.observation_space
        assert all(info["terminal_observation"] in env.observation_space for info in infos if info)


def test_unknown_success_is_known_from_the_first_one_on_over_resets() -> None:
    env = make_sb3_vec("point-sparse", 2, horizon=2)
    env.reset()
    play(env, 2)
    env.reset()
    assert all("is_success" in info for info in play(env, 2)[-1][-1])


def test_a_dict_of_observations_is_passed_on_and_an_algorithm_learns_from_it() -> None:
    family = Meters(seen="dict", acted="multi-binary", horizon=3)
    tasks = family.sample("train", 2, seed=0)
    env = make_sb3_vec(family, 2, tasks=tasks)
    observations: Any = env.reset()
    assert isinstance(env.observation_space, spaces.Dict) and observations.keys() == env.observation_space.keys()
    assert observations["camera"].shape == (2, 6, 6, 1) and observations["camera"].dtype == np.uint8
    for _ in range(3):
        observations, _, ended, infos = env.step(np.ones((2, 3), dtype=np.int8))
    assert ended.all()
    last = infos[0]["terminal_observation"]
    assert last in env.observation_space
    assert not np.array_equal(last["place"], observations["place"][0])


def test_an_algorithm_learns_from_a_dict_of_observations(monkeypatch: pytest.MonkeyPatch) -> None:
    # The library's convolutions need a picture of at least 36 pixels a side, so there is none.
    parts = {"place": spaces.Box(-9.0, 9.0, (2,), dtype=np.float32), "way": spaces.Discrete(4)}
    monkeypatch.setitem(OBSERVATIONS, "parts", spaces.Dict(parts))
    env = make_sb3_vec(Meters(seen="parts", acted="multi-binary"), 2, tasks=Meters().sample("train", 2, seed=0))
    PPO("MultiInputPolicy", env, n_steps=4, batch_size=8, n_epochs=1, device="cpu").learn(8)
