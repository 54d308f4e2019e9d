"""Built-in families: docstrings, rewards, ends and starts, against their papers' formulas."""

from __future__ import annotations

import dataclasses
import inspect
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

import metarl
from metarl.base.errors import MetarlError
from metarl.base.streams import Streams
from metarl.families.family import FAMILIES, TaskFamily, missing_requirement
from metarl.families.load import load
from metarl.trials.agent import Agent, Learner
from metarl.trials.episodes import Episodes, TimeStep
from metarl.trials.rollout import run_trial


@pytest.mark.parametrize("name", [name for name in FAMILIES if not missing_requirement(FAMILIES[name])])
def test_first_observation_does_not_tell_the_task(name: str) -> None:
    family = load(name)
    if family.shows_task:
        pytest.skip("what is to be seen there is part of the task")
    tasks = family.sample("test", 10, seed=0)
    same_place = type(tasks)(tasks.values, np.zeros(10, dtype=np.int64))
    observations, _ = family.make_vec(same_place).reset(seed=0)
    np.testing.assert_array_equal(observations, np.repeat(observations[:1], 10, axis=0))


@pytest.mark.parametrize("name", FAMILIES)
def test_constants_of_a_class_are_no_settings(name: str) -> None:
    settings = {field.name for field in dataclasses.fields(FAMILIES[name])}  # type: ignore[arg-type]
    constants = {"parameters", "observation_space", "action_space", "physics", "presets", "source", "shared_doc"}
    assert not settings & constants
    assert settings <= set(inspect.signature(FAMILIES[name]).parameters)


@pytest.mark.parametrize("name", FAMILIES)
def test_docstring_says_what_is_observed_done_and_drawn_and_how_an_episode_ends(name: str) -> None:
    doc = inspect.getdoc(FAMILIES[name]) or ""
    if name == "gymnasium":
        pytest.skip("it is any environment")
    for word in ("task", "reward", "terminate"):
        assert word in doc.lower(), word
    if not name.startswith("metaworld-ml") or name.endswith("ml1"):
        assert "| observation |" in doc and "| action |" in doc


def test_navigation_rewards_minus_the_distance_and_ends_on_the_goal() -> None:
    family = load("navigation-2d")
    envs = family.make_vec(family.tasks({"goal": [0.3, -0.1]}))
    observation, _ = envs.reset(seed=0)
    np.testing.assert_array_equal(observation, [[0.0, 0.0]])
    observation, reward, terminated, *_ = envs.step(np.array([[5.0, -5.0]]))
    np.testing.assert_allclose(observation, [[0.1, -0.1]])
    assert reward[0] == pytest.approx(-np.hypot(0.2, 0.0))
    envs.step(np.array([[0.1, 0.0]]))
    *_, terminated, truncated, _ = envs.step(np.array([[0.095, 0.005]]))
    assert terminated[0] and not truncated[0]


def test_sparse_point_pays_within_its_radius_alone() -> None:
    family = load("point-sparse")
    envs = family.make_vec(family.tasks({"goal": [0.0, 1.0]}))
    envs.reset(seed=0)
    rewards, successes = [], []
    for _ in range(10):
        _, reward, _, _, infos = envs.step(np.array([[0.0, 0.095]]))
        rewards.append(reward[0])
        successes.append(bool(infos["success"][0]))
    np.testing.assert_allclose(rewards, [0, 0, 0, 0, 0, 0, 0, 0, 0.855, 0.95], atol=1e-9)
    assert successes == [False] * 8 + [True] * 2


def test_bandit_pays_with_each_arms_own_chance_and_ends_with_the_last_pull() -> None:
    family = load("bernoulli-bandit", "n100-k5")
    chances = [0.0, 0.25, 0.5, 0.9, 1.0]
    envs = family.make_vec(family.tasks({"chances": chances}), 100)
    envs.reset(seed=0)
    for arm, chance in enumerate(chances):
        payout = np.mean([envs.step(np.full(100, arm))[1] for _ in range(20)])
        assert payout == pytest.approx(chance, abs=4 * np.sqrt(chance * (1 - chance) / 2000))
    envs.reset(seed=0)
    ends = [envs.step(np.zeros(100, dtype=np.int64))[2:4] for _ in range(100)]
    assert all(not end.any() for pair in ends[:-1] for end in pair)
    assert ends[-1][0].all()
    assert not ends[-1][1].any()


def test_cheetah_direction_pays_velocity_in_its_direction() -> None:
    family = load("half-cheetah-direction")
    envs = family.make_vec(family.tasks([{"direction": 1}, {"direction": -1}]))
    envs.reset(seed=[3, 3])
    for _ in range(5):
        rewards = envs.step(np.full((2, 6), 0.5, dtype=np.float32))[1]
        assert rewards[0] == pytest.approx(-rewards[1] - 2 * 0.05 * 6 * 0.25)


class Scripted(Agent, Learner):
    """A controller of the point families that walks straight to the goal."""

    def __init__(self, family: TaskFamily, goals: np.ndarray) -> None:
        self.family, self.goals = family, goals

    def begin(self, streams: Streams) -> Learner:
        return self

    def act(self, timestep: TimeStep, *, deterministic: bool) -> np.ndarray:
        return np.clip(self.goals[:, None] - timestep.observations, -0.1, 0.1).astype(np.float32)

    def adapt(self, episodes: Episodes) -> None:
        pass


@pytest.mark.parametrize("name", ["navigation-2d", "point-sparse"])
def test_good_controller_scores_above_a_random_one(name: str) -> None:
    from metarl.trials.registered import make_agent

    family = load(name)
    tasks = family.sample("test", 20, seed=0)
    good = run_trial(Scripted(family, tasks.values["goal"]), family.make_vec(tasks), 1, seed=0).returns
    random = run_trial(make_agent("random", family), family.make_vec(tasks), 1, seed=0).returns
    assert (good > random).all()


def test_random_agent_needs_bounds_and_gaussian_policy_too() -> None:
    from gymnasium import spaces

    unbounded = spaces.Box(-np.inf, np.inf, (2,))
    family: Any = SimpleNamespace(name="open", observation_space=unbounded, action_space=unbounded)
    for name in ("random", "maml-ppo", "rl2"):
        with pytest.raises(MetarlError, match="bounds"):
            metarl.make_agent(name, family, device="cpu")
