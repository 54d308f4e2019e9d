"""References of the simulated recommender against plain loops, and the order of their returns."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from metarl.agents.references.recommending import (
    LinearLearner,
    Ridge,
    best_slates,
    posterior_tastes,
    upper_confidence_scores,
)
from metarl.envs.recommender.simulator import Recommender

import metarl
from metarl.base.errors import MetarlError
from metarl.base.streams import Streams
from metarl.families.family import TaskFamily
from metarl.trials.episodes import TimeStep, Trial
from metarl.trials.rollout import run_trial
from tests.agents.keeping import Keeping

LINEAR = ("linucb", "sliding-window-linucb", "linear-thompson")
NAMES = (*LINEAR, "most-popular", "best-slate")


def played(name: str, family: TaskFamily, rounds: int, **settings: object) -> tuple[Trial, LinearLearner]:
    keeping = Keeping(metarl.make_agent(name, family, settings))
    trial = run_trial(keeping, family.make_vec(family.sample("test", 3, seed=0), 2), rounds, seed=0)
    assert isinstance(keeping.learner, LinearLearner)
    return trial, keeping.learner


def regression(family: Recommender, trial: Trial, world: tuple[int, int], last: int, ridge: float) -> tuple[Any, Any]:
    """Return matrix and vector of the normal equations of the last so many steps, by a plain loop.

    The last step of the trial is left out: nothing is adapted, and nothing played, after it.
    """
    gram, moment, steps = ridge * np.eye(family.factors), np.zeros(family.factors), []
    for episodes in trial.rounds:
        after = [*episodes.observations[1:], episodes.final_observations]
        steps += [(*each, chosen) for *each, chosen in zip(episodes.observations, after, episodes.actions, strict=True)]
    for before, following, chosen in steps[:-1][-last:]:
        weights = before[world][3:6].astype(np.float64)
        means, slopes = family.linear_rewards(before[world])
        for slot, item in enumerate(np.atleast_1d(chosen[world])):
            examined = (slot + 1.0) ** -family.position_bias
            earned = following[world][6 + 3 * slot : 9 + 3 * slot].astype(np.float64) @ weights
            x = examined * slopes[item]
            gram += np.outer(x, x)
            moment += x * (earned - examined * means[item])
    return gram, moment


@pytest.mark.parametrize(("name", "last"), [("linucb", 23), ("linear-thompson", 23), ("sliding-window-linucb", 9)])
@pytest.mark.parametrize("slate_size", [1, 3])
def test_regression_equals_a_plain_loop_over_all_steps_of_all_rounds(name: str, last: int, slate_size: int) -> None:
    family = metarl.load("recommender", horizon=12, slate_size=slate_size, num_items=20)
    assert isinstance(family, Recommender)
    settings = {"window": last} if name.startswith("sliding") else {}
    trial, learner = played(name, family, 2, ridge=0.3, **settings)
    for world in np.ndindex(3, 2):
        gram, moment = regression(family, trial, world, last, 0.3)
        np.testing.assert_allclose(learner.ridge.gram[world], gram, atol=1e-9)
        np.testing.assert_allclose(learner.ridge.moment[world], moment, atol=1e-9)
        assert (learner.ridge.moment[world] != 0).any()


def filled(shape: tuple[int, int] = (2, 3)) -> tuple[Ridge, np.ndarray]:
    coin = np.random.default_rng(0)
    ridge = Ridge(shape, 4, 0.5)
    for _ in range(6):
        ridge.add(coin.normal(size=(*shape, 1, 4)), coin.normal(size=(*shape, 1)), np.ones(shape, dtype=bool))
    return ridge, coin.normal(size=(*shape, 7, 4))


def test_upper_confidence_scores_equal_a_plain_loop() -> None:
    ridge, slopes = filled()
    found = upper_confidence_scores(slopes, ridge, 0.7)
    for task, replica, item in np.ndindex(2, 3, 7):
        inverse = np.linalg.inv(ridge.gram[task, replica])
        theta, x = inverse @ ridge.moment[task, replica], slopes[task, replica, item]
        assert found[task, replica, item] == pytest.approx(x @ theta + 0.7 * math.sqrt(x @ inverse @ x))


def test_drawn_tastes_have_the_posteriors_mean_and_covariance() -> None:
    ridge, _ = filled((1, 1))
    many = Ridge((20_000, 1), 4, 1.0)
    many.gram[:], many.moment[:] = ridge.gram, ridge.moment
    draws = posterior_tastes(many, 0.3, Streams.of(0, "test", np.arange(20_000)[:, None], np.arange(1)))[:, 0]
    inverse = np.linalg.inv(ridge.gram[0, 0])
    error = 5 * 0.3 * np.sqrt(np.diag(inverse) / 20_000)
    assert (np.abs(draws.mean(axis=0) - inverse @ ridge.moment[0, 0]) < error).all()
    np.testing.assert_allclose(np.cov(draws.T), 0.09 * inverse, atol=0.03 * 0.09 * np.abs(inverse).max())


def test_window_forgets_every_step_but_the_last() -> None:
    coin = np.random.default_rng(0)
    windowed, steps = Ridge((1, 1), 3, 0.2, window=4), []
    for number in range(11):
        steps.append((coin.normal(size=(1, 1, 2, 3)), coin.normal(size=(1, 1, 2))))
        windowed.add(*steps[-1], np.ones((1, 1), dtype=bool))
        fresh = Ridge((1, 1), 3, 0.2)
        for each in steps[max(0, number - 3) :]:
            fresh.add(*each, np.ones((1, 1), dtype=bool))
        np.testing.assert_allclose(windowed.gram, fresh.gram, atol=1e-12)
        np.testing.assert_allclose(windowed.coefficients(), fresh.coefficients(), atol=1e-9)


def test_slates_are_in_descending_order_and_equals_in_that_of_the_catalogue() -> None:
    assert best_slates(np.array([[0.1, 0.9, 0.5, 0.9]]), 3).tolist() == [[1, 3, 2]]


def test_regression_and_random_numbers_stand_still_in_worlds_that_wait() -> None:
    family = metarl.load("recommender")
    learner = metarl.make_agent("linear-thompson", family).begin(
        Streams.of(0, "test", np.arange(2)[:, None], np.arange(1))
    )
    assert isinstance(learner, LinearLearner)

    def act(active: list[bool], *, clicked: bool) -> None:
        observation = [0.0, 1.0, 1.0, 1.0, 0.0, 0.0, float(clicked), 0.0, 0.0]
        none = np.zeros((2, 1), dtype=bool)
        learner.act(
            TimeStep(
                observations=np.tile(observation, (2, 1, 1)),
                previous_actions=np.zeros((2, 1), dtype=np.int64),
                previous_rewards=np.zeros((2, 1)),
                previous_terminations=none,
                previous_truncations=none,
                active=np.array(active)[:, None],
            ),
            deterministic=False,
        )

    act([True, True], clicked=False)
    assert learner.ridge.steps[:, 0].tolist() == [0, 0]
    act([True, False], clicked=True)
    assert learner.ridge.steps[:, 0].tolist() == [1, 0]
    assert learner.streams.counters[:, 0].tolist() == [16, 8]
    inputs = learner.inputs[1].copy()
    act([True, False], clicked=True)
    np.testing.assert_array_equal(learner.inputs[1], inputs)


def mean_return(name: str, family: TaskFamily, **settings: object) -> tuple[float, float]:
    agent = metarl.make_agent(name, family, settings)
    returns = metarl.evaluate(agent, family, num_tasks=40, rounds=1, replicas=1).returns[:, 0]
    return float(returns.mean()), float(returns.std() / math.sqrt(40))


@pytest.mark.parametrize("preset", ["single", "slate"])
def test_who_knows_more_earns_more(preset: str) -> None:
    family = metarl.load("recommender", preset)
    random, popular, bandit, best = (
        mean_return(name, family)[0] for name in ("random", "most-popular", "linucb", "best-slate")
    )
    assert random * 1.5 < popular
    assert popular * 1.15 < bandit
    assert bandit * 1.05 < best


def test_oracle_earns_what_the_family_expects_of_the_best_items_also_after_the_taste_changed() -> None:
    family = metarl.load("recommender", "drift", horizon=40, switch_at=[15])
    tasks = family.sample("test", 10, seed=0)
    trial = run_trial(metarl.make_agent("best-slate", family), family.make_vec(tasks, 40), 1, seed=0)
    base, episodes = metarl.load("recommender", "drift", horizon=40, switch_at=None), trial.rounds[0]
    assert isinstance(base, Recommender)
    gained = 0.0
    for step in range(40):
        taste = tasks.values["taste" if step < 15 else "taste@15"][:, None]
        worth = base.expected_rewards(episodes.observations[step], {"taste": taste})
        shown = np.take_along_axis(worth, episodes.actions[step][..., None], axis=-1)[..., 0]
        np.testing.assert_array_equal(shown, worth.max(axis=-1))
        gained += float(worth.max(axis=-1).mean())
    assert trial.returns.mean() == pytest.approx(gained, rel=0.03)


def test_sliding_window_earns_more_than_linucb_after_the_taste_changed() -> None:
    family = metarl.load("recommender", "drift", horizon=120, switch_at=[60])
    late = {}
    for name, settings in (("linucb", {}), ("sliding-window-linucb", {"window": 30})):
        envs = family.make_vec(family.sample("test", 60, seed=0))
        trial = run_trial(metarl.make_agent(name, family, settings), envs, 1, seed=0)
        late[name] = trial.rounds[0].rewards[80:].mean()
    assert late["sliding-window-linucb"] > late["linucb"] * 1.05


@pytest.mark.parametrize("name", NAMES)
def test_other_families_are_refused_with_the_remedy(name: str) -> None:
    with pytest.raises(MetarlError, match="cannot play family 'gridnavi'; take recommender"):
        metarl.make_agent(name, metarl.load("gridnavi"))
