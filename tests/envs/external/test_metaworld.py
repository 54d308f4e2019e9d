"""Meta-World: hidden goals that stay, unseen test tasks, 500 steps, and none of the original's faults."""

from __future__ import annotations

import pickle
import subprocess
import sys
from typing import Any

import numpy as np
import pytest
from metarl.envs.external.metaworld import Draws, MetaWorldML1, MetaWorldML10, MetaWorldML45

from metarl.adapters.gymnasium import SingleEnv
from metarl.base.errors import MetarlError
from metarl.checks.check import check_family
from metarl.checks.replay import difference, play_new
from metarl.families.family import TaskFamily
from metarl.families.load import load

SCRIPTED = pytest.mark.filterwarnings("ignore:Constant")  # the policies warn that their actions are clipped
FAMILIES = [MetaWorldML1, MetaWorldML10, MetaWorldML45]


@pytest.fixture
def metaworld() -> Any:
    return pytest.importorskip("metaworld")


@pytest.mark.parametrize("cls", FAMILIES, ids=lambda cls: cls.name)
def test_missing_package_is_told_in_one_line(cls: type[TaskFamily], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    monkeypatch.setitem(sys.modules, "metaworld", None)
    family = load(cls.name)
    assert len(family.sample("test", 3, seed=0)) == 3
    with pytest.raises(MetarlError, match=f"family '{cls.name}' needs package 'metaworld'") as caught:
        _ = family.observation_space
    assert "\n" not in str(caught.value)


def test_module_imports_and_draws_tasks_without_the_package() -> None:
    code = (
        "import sys; sys.modules['metaworld'] = None; from metarl.envs.external.metaworld import MetaWorldML10 as M; "
        "print(sorted({t['environment'] for t in M().sample('extrapolation', 99, seed=0)}))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[10.0, 11.0, 12.0, 13.0, 14.0]"


def test_draws_give_the_tasks_own_numbers_once() -> None:
    place = np.linspace(0.1, 0.6, 6)
    draws, again = Draws(place), Draws(place)
    np.testing.assert_array_equal(draws.uniform(np.zeros(3), 2 * np.ones(3), 3), 2 * place[:3])
    again.uniform(np.zeros(3), np.ones(3), 3)
    second = draws.uniform(np.zeros(3), np.ones(3), 3)
    assert not np.array_equal(second, place[:3])
    np.testing.assert_array_equal(second, again.uniform(np.zeros(3), np.ones(3), 3))


@pytest.mark.parametrize("name", ["metaworld-ml1", "metaworld-ml10"])
def test_family_keeps_the_rules(metaworld: Any, name: str) -> None:
    assert check_family(load(name)) == []


@pytest.mark.parametrize("cls", [MetaWorldML10, MetaWorldML45], ids=lambda cls: cls.name)
def test_sets_are_those_of_metaworld(metaworld: Any, cls: Any) -> None:
    family = cls()
    names = [f"{name}" for name in family.environments]
    assert len(set(names)) == cls.num_train + 5
    benchmark = getattr(metaworld, f"ML{cls.num_train}")
    original = metaworld.env_dict.__dict__[f"{benchmark.__name__}_V3"]
    assert names[: cls.num_train] == list(original["train"])
    assert names[cls.num_train :] == list(original["test"])


def test_every_environment_has_the_same_spaces_hides_its_goal_and_repeats_itself(metaworld: Any) -> None:
    for name in metaworld.ALL_V3_ENVIRONMENTS:
        family = load("metaworld-ml1", task_name=name, horizon=10)
        assert family.observation_space == load("metaworld-ml10").observation_space, name
        assert family.action_space == load("metaworld-ml10").action_space, name
        tasks = family.sample("train", 2, seed=0)
        once = play_new(family, tasks, replicas=1)
        np.testing.assert_array_equal(once[0].observations[0], once[1].observations[0], err_msg=name)
        assert difference(once, play_new(family, tasks, replicas=1)) == "", name
        assert (once[0].observations[..., 36:] == 0).all(), name


def test_goal_alone_changes_nothing_that_is_seen_at_first(metaworld: Any) -> None:
    family = load("metaworld-ml1")
    place = family.sample("train", 8, seed=0).values["place"]
    rows = [{"place": [0.5, 0.5, 0.5, *row[3:]]} for row in place]
    envs = family.make_vec(family.tasks(rows))
    observations, _ = envs.reset(seed=0)
    np.testing.assert_array_equal(observations, np.repeat(observations[:1], 8, axis=0))
    rewards = envs.step(np.zeros((8, 4), dtype=np.float32))[1]
    assert len(set(rewards)) == 8


def goals(family: TaskFamily, split: str, seed: int) -> set[bytes]:
    envs = family.make_vec(family.sample(split, 20, seed=seed))
    envs.reset(seed=0)
    return {env._target_pos.tobytes() for env in envs.batch.envs}  # type: ignore[attr-defined]


def test_test_goals_are_not_train_goals_and_follow_from_the_seed(metaworld: Any) -> None:
    """Metaworld #573 (test was train) and #350 (goals were not controlled by the seed)."""
    family = load("metaworld-ml1")
    train, test = goals(family, "train", 0), goals(family, "test", 0)
    assert len(train) == len(test) == 20
    assert not train & test
    assert goals(family, "test", 0) == test
    assert not goals(family, "test", 1) & test


def test_task_stays_over_resets_and_pickling(metaworld: Any) -> None:
    """Metaworld #24 and #140."""
    env = SingleEnv(load("metaworld-ml10"), {"environment": 1, "place": [0.2, 0.4, 0.6, 0.8, 0.1, 0.3]})

    def goal(env: Any) -> bytes:
        return env._envs.batch.envs[0]._target_pos.tobytes()

    env.reset(seed=0)
    before = goal(env)
    for seed in (1, 2, None):
        env.reset(seed=seed)
        assert goal(env) == before
    copy = pickle.loads(pickle.dumps(env))
    copy.reset(seed=3)
    assert copy.task == env.task
    assert goal(copy) == before


def test_place_too_close_to_its_goal_is_drawn_again_within_the_range(metaworld: Any) -> None:
    family = load("metaworld-ml1")
    too_close = {"place": [0.5, 1.0, 0.5, 0.5, 0.0, 0.5]}
    assert np.linalg.norm([0.0, 0.7 - 0.8]) < 0.15
    first, again = (family.make_vec(family.tasks(too_close)).batch.envs[0] for _ in range(2))  # type: ignore[attr-defined]
    vector = first._last_rand_vec
    assert np.linalg.norm(vector[:2] - vector[3:5]) >= 0.15
    assert vector in first._random_reset_space
    np.testing.assert_array_equal(vector, again._last_rand_vec)


def episode(family: TaskFamily, task: dict[str, Any], policy: Any) -> tuple[float, bool, int, bool, bool]:
    """Return the return, whether any step was a success, the length, and how the episode ended."""
    env = SingleEnv(family, task)
    observation, _ = env.reset(seed=0)
    inside: Any = env._envs.batch.envs[0]  # type: ignore[attr-defined]
    total, success, steps = 0.0, False, 0
    while True:
        full = observation.copy()
        full[36:] = inside._get_pos_goal()
        action = np.clip(policy(full), -1, 1).astype(np.float32)
        observation, reward, terminated, truncated, info = env.step(action)
        total, success, steps = total + reward, success or info["success"], steps + 1
        if terminated or truncated:
            return total, success, steps, terminated, truncated


@SCRIPTED
@pytest.mark.parametrize(
    ("preset", "policy"),
    [("reach", "SawyerReachV3Policy"), ("push", "SawyerPushV3Policy"), ("pick-place", "SawyerPickPlaceV3Policy")],
)
def test_scripted_policy_succeeds_where_a_random_one_fails_and_success_ends_nothing(
    metaworld: Any, preset: str, policy: str
) -> None:
    policies = pytest.importorskip("metaworld.policies")
    family = load("metaworld-ml1", preset)
    rng = np.random.default_rng(0)
    good, random = [], []
    for task in family.sample("test", 4, seed=0):
        good.append(episode(family, task, getattr(policies, policy)().get_action))
        random.append(episode(family, task, lambda full: rng.uniform(-1, 1, 4)))
    assert all(success for _, success, *_ in good)
    assert not any(success for _, success, *_ in random)
    assert all(ours[0] > theirs[0] for ours, theirs in zip(good, random, strict=True))
    assert {row[2:] for row in good + random} == {(500, False, True)}


@SCRIPTED
def test_policy_that_sees_the_goal_solves_a_held_out_environment(metaworld: Any) -> None:
    policies = pytest.importorskip("metaworld.policies")
    family = load("metaworld-ml10")
    names: Any = family.environments  # type: ignore[attr-defined]
    tasks = family.sample("extrapolation", 30, seed=0)
    task = next(task for task in tasks if names[int(task["environment"])] == "door-close-v3")
    assert episode(family, task, policies.SawyerDoorCloseV3Policy().get_action)[1]


@pytest.mark.parametrize(
    ("name", "settings", "task", "words"),
    [
        ("metaworld-ml1", {"task_name": "reech-v3"}, {"place": [0.5] * 6}, "did you mean 'reach-v3'?"),
        ("metaworld-ml10", {}, {"environment": 15, "place": [0.5] * 6}, "whole number from 0 to 14"),
        ("metaworld-ml10", {}, {"environment": 0.5, "place": [0.5] * 6}, "whole number from 0 to 14"),
    ],
)
def test_bad_environment_is_told_in_one_line(
    metaworld: Any, name: str, settings: dict[str, Any], task: dict[str, Any], words: str
) -> None:
    with pytest.raises(MetarlError) as caught:
        SingleEnv(load(name, **settings), task)
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


def test_horizon_set_anew_is_what_the_environment_has(metaworld: Any) -> None:
    family = load("metaworld-ml1", horizon=600)
    env = SingleEnv(family)
    env.reset(seed=0)
    ends = [env.step(np.zeros(4, dtype=np.float32))[2:4] for _ in range(600)]
    assert ends[:-1] == [(False, False)] * 599
    assert ends[-1] == (False, True)
