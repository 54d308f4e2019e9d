"""The simulated recommender against plain loops, enumeration and its own formulas."""

from __future__ import annotations

import itertools
import math
from typing import Any

import gymnasium
import numpy as np
import pytest
from metarl.envs.recommender.catalogue import all_contexts, decode_context, encode_context, make_catalogue
from metarl.envs.recommender.simulator import STARS, Recommender
from metarl.envs.recommender.tastes import Tastes
from scipy import stats

import metarl
from metarl.base.errors import MetarlError
from metarl.base.streams import Streams
from metarl.families.vector import BatchedEnv
from metarl.trials.rollout import run_trial

PRESETS = list(Recommender.presets)


def sigmoid(logit: float) -> float:
    return 1 / (1 + math.exp(-logit))


def test_expected_outcomes_equal_a_plain_loop() -> None:
    catalogue = make_catalogue(7, 3, 2, 5, True)
    coin = np.random.default_rng(0)
    tastes, items = coin.normal(size=(4, 3)), coin.integers(7, size=(4, 2))
    contexts = all_contexts()[coin.integers(48, size=4)]
    found = catalogue.expected_outcomes(tastes, contexts, items)
    assert found.shape == (4, 2, 3)
    for world, slot in np.ndindex(4, 2):
        item, chances = int(items[world, slot]), []
        for objective in range(3):
            logit = catalogue.intercepts[objective, item]
            for factor in range(3):
                moved = tastes[world, factor] + sum(contexts[world, n] * catalogue.shifts[n, factor] for n in range(3))
                logit += moved * catalogue.loadings[factor, objective, item]
            chances.append(sigmoid(float(logit)))
        expected = [chances[0], chances[0] * chances[1], chances[0] * chances[2]]
        np.testing.assert_allclose(found[world, slot], expected, rtol=1e-12)


def frequencies(slate: list[int], worlds: int = 40_000) -> tuple[Recommender, np.ndarray, np.ndarray]:
    """Return a family, the mean outcome of each place [slot, objective], and its expectation if all are examined."""
    family = metarl.load("recommender", num_items=6, slate_size=3, context=False)
    assert isinstance(family, Recommender)
    task = family.sample("test", 1, seed=3)
    envs = family.make_vec(task, worlds)
    envs.reset(seed=0)
    observations, *_ = envs.step(np.tile(slate, (worlds, 1)))
    expected = family.catalogue.expected_outcomes(task.values["taste"][0], np.zeros(0), np.array(slate))
    return family, observations[:, 3:].reshape(worlds, 3, 3).mean(axis=0), expected


def test_outcomes_are_as_frequent_as_expected_and_rarer_in_lower_places() -> None:
    family, found, expected = frequencies([4, 0, 2])
    np.testing.assert_allclose(family.examination, [1, 1 / 2, 1 / 3])
    told = expected * family.examination[:, None]
    assert (np.abs(found - told) < 5 * np.sqrt(told * (1 - told) / 40_000)).all()


def test_item_shown_twice_earns_in_its_first_place_alone() -> None:
    family, found, expected = frequencies([2, 2, 4])
    assert (found[1] == 0).all()
    np.testing.assert_allclose(found[0], expected[0], atol=5 * 0.5 / math.sqrt(40_000))
    np.testing.assert_allclose(found[2], expected[2] / 3, atol=5 * 0.5 / math.sqrt(40_000))


@pytest.mark.parametrize("preset", PRESETS)
def test_nothing_is_bought_or_liked_without_a_click(preset: str) -> None:
    family = metarl.load("recommender", preset)
    envs = family.make_vec(family.sample("train", 300, seed=0))
    envs.reset(seed=0)
    envs.action_space.seed(0)
    seen = np.zeros(3)
    for _ in range(20):
        observations, _, _, _, _ = envs.step(envs.action_space.sample())
        click, conversion, satisfaction = np.moveaxis(
            observations[:, -3 * family.settings["slate_size"] :].reshape(300, -1, 3), -1, 0
        )
        assert (conversion <= click).all() and (satisfaction <= click).all()
        assert np.isin(STARS * satisfaction, np.arange(STARS + 1)).all()
        seen += [click.sum(), conversion.sum(), satisfaction.sum()]
    assert (seen > 20).all()


def test_episode_terminates_after_its_last_step() -> None:
    family = metarl.load("recommender", horizon=3)
    envs = family.make_vec(family.sample("train", 2, seed=0))
    envs.reset(seed=0)
    ends = [envs.step(np.zeros(2, dtype=np.int64))[2:4] for _ in range(3)]
    assert [bool(terminated.all()) for terminated, _ in ends] == [False, False, True]
    assert not any(truncated.any() for _, truncated in ends)


def reward_parts(envs: BatchedEnv) -> tuple[np.ndarray, np.ndarray]:
    envs.reset(seed=0)
    envs.action_space.seed(0)
    rewards, objectives = [], []
    for _ in range(20):
        _, reward, _, _, infos = envs.step(envs.action_space.sample())
        rewards.append(reward)
        objectives.append(infos["objectives"])
        assert infos["_objectives"].all()
    return np.array(rewards), np.array(objectives)


@pytest.mark.parametrize("preset", ["single", "slate"])
def test_reward_is_the_weighted_sum_of_the_objectives_in_the_infos(preset: str) -> None:
    family = metarl.load("recommender", preset)
    tasks = family.sample("train", 50, seed=0)
    rewards, objectives = reward_parts(family.make_vec(tasks))
    assert objectives.shape == (20, 50, 3)
    np.testing.assert_allclose(rewards, (objectives * tasks.values["weights"]).sum(axis=-1))
    assert rewards.sum() > 10


def test_single_environment_gives_the_objectives_of_its_world() -> None:
    env: Any = gymnasium.make("metarl/Recommender-v0", slate_size=4)
    env.reset(seed=0)
    env.action_space.seed(0)
    weights = np.array(env.unwrapped.task["weights"])
    total = np.zeros(3)
    for _ in range(50):
        _, reward, _, _, info = env.step(env.action_space.sample())
        assert info["objectives"].shape == (3,)
        assert reward == pytest.approx(float(weights @ info["objectives"]))
        total += info["objectives"]
    assert (total > 0).all()


def test_weights_are_seen_and_one_setting_fixes_them_in_all_tasks() -> None:
    drawn, fixed = metarl.load("recommender"), metarl.load("recommender", weights=[0, 0.25, 0.75])
    for family in (drawn, fixed):
        tasks = family.sample("test", 30, seed=0)
        observations, _ = family.make_vec(tasks).reset(seed=0)
        np.testing.assert_allclose(observations[:, 3:6], tasks.values["weights"], atol=1e-6)
    assert (tasks.values["weights"] == [0, 0.25, 0.75]).all()
    clicks = metarl.load("recommender", weights=[1, 0, 0])
    rewards, objectives = reward_parts(clicks.make_vec(clicks.sample("train", 50, seed=0)))
    np.testing.assert_array_equal(rewards, objectives[..., 0])


def test_first_observation_tells_nothing_of_the_taste() -> None:
    family = metarl.load("recommender", weights=[1, 0, 0])
    tasks = family.sample("test", 20, seed=0)
    same_place = type(tasks)(tasks.values, np.zeros(20, dtype=np.int64))
    observations, _ = family.make_vec(same_place).reset(seed=0)
    np.testing.assert_array_equal(observations, np.repeat(observations[:1], 20, axis=0))


def test_contexts_are_uniform_and_come_back_from_their_numbers() -> None:
    hours, phones = np.divmod(np.arange(48), 2)
    for precision in (np.float64, np.float32):
        found = decode_context(encode_context(hours, phones == 1).astype(precision))
        np.testing.assert_array_equal(found[0], hours)
        np.testing.assert_array_equal(found[1], phones == 1)
    family = metarl.load("recommender")
    observations, _ = family.make_vec(family.sample("train", 4800, seed=0)).reset(seed=0)
    counts = np.unique(observations[:, :3], axis=0, return_counts=True)[1]
    assert len(counts) == 48
    assert stats.chisquare(counts).pvalue > 1e-3


def test_context_changes_what_is_worth_most_and_is_gone_where_it_is_switched_off() -> None:
    family = metarl.load("recommender")
    assert isinstance(family, Recommender)
    taste = family.sample("test", 1, seed=0).values["taste"]
    observations = np.zeros((48, 9), dtype=np.float32)
    observations[:, :3], observations[:, 3] = all_contexts(), 1.0
    best = family.expected_rewards(observations, {"taste": taste}).argmax(axis=-1)
    assert len(set(best.tolist())) > 1
    without = metarl.load("recommender", "no-context")
    assert without.observation_space.shape == (6,)


def test_catalogue_is_the_same_in_all_splits_and_a_larger_one_begins_with_it() -> None:
    small, large, other = (make_catalogue(size, 8, 5, seed, True) for size, seed in ((20, 0), (40, 0), (20, 1)))
    np.testing.assert_array_equal(large.loadings[..., :20], small.loadings)
    np.testing.assert_array_equal(large.intercepts[:, :20], small.intercepts)
    np.testing.assert_array_equal(large.features[:20], small.features)
    assert not np.array_equal(other.loadings, small.loadings)
    with pytest.raises(ValueError, match="read-only"):
        small.loadings[0] = 0


def test_shown_features_tell_the_category_and_the_loading_of_clicks_with_noise() -> None:
    catalogue = make_catalogue(2000, 8, 5, 0, True)
    np.testing.assert_array_equal(catalogue.features[:, :5].argmax(axis=1), catalogue.categories)
    noise = catalogue.features[:, 5:] - catalogue.loadings[:, 0].T * math.sqrt(8) / 1.5
    assert stats.kstest(noise.ravel() / 0.5, "norm").pvalue > 1e-3


def test_popular_items_convert_and_satisfy_less() -> None:
    click, conversion, satisfaction = make_catalogue(4000, 8, 5, 0, True).intercepts
    assert np.corrcoef(click, conversion)[0, 1] == pytest.approx(-0.6, abs=0.05)
    assert np.corrcoef(click, satisfaction)[0, 1] == pytest.approx(-0.6, abs=0.05)


def test_best_slate_is_the_best_of_all_slates() -> None:
    family = metarl.load("recommender", num_items=5, slate_size=3)
    assert isinstance(family, Recommender)
    tasks = family.sample("test", 20, seed=0)
    trial = run_trial(metarl.make_agent("best-slate", family), family.make_vec(tasks), 1, seed=0)
    for step in (0, 40):
        observations, chosen = trial.rounds[0].observations[step, :, 0], trial.rounds[0].actions[step, :, 0]
        worth = np.array(
            [
                family.expected_slate_rewards(observations, np.tile(slate, (20, 1)), tasks.values)
                for slate in itertools.product(range(5), repeat=3)  # all 125, with repeats
            ]
        )
        found = family.expected_slate_rewards(observations, chosen, tasks.values)
        np.testing.assert_allclose(found, worth.max(axis=0), rtol=1e-12)
        assert (found > worth.mean(axis=0) + 0.01).all()


def test_expected_reward_of_a_slate_is_what_it_earns_on_average() -> None:
    family = metarl.load("recommender", num_items=8, slate_size=3)
    assert isinstance(family, Recommender)
    tasks = family.sample("test", 5, seed=0)
    envs, slate = family.make_vec(tasks, 20_000), np.array([3, 3, 1])
    observations, _ = envs.reset(seed=0)
    _, rewards, *_ = envs.step(np.tile(slate, (100_000, 1)))
    tastes = {"taste": np.repeat(tasks.values["taste"], 20_000, axis=0)}
    expected = family.expected_slate_rewards(observations, np.tile(slate, (100_000, 1)), tastes)
    for rewarded, told in zip(rewards.reshape(5, -1), expected.reshape(5, -1), strict=True):
        assert rewarded.mean() == pytest.approx(told.mean(), abs=5 * rewarded.std() / math.sqrt(20_000))


def test_linear_rewards_are_the_least_squares_fit_over_the_users_of_training() -> None:
    family = metarl.load("recommender", num_items=6)
    assert isinstance(family, Recommender)
    observations = np.zeros(9, dtype=np.float32)
    observations[:3], observations[3:6] = all_contexts()[31], (0.2, 0.3, 0.5)
    means, slopes = family.linear_rewards(observations)
    users = family.sample("train", 20_000, seed=1).values["taste"]
    rewards = family.expected_rewards(np.tile(observations, (20_000, 1)), {"taste": users})
    fitted = np.linalg.lstsq(np.hstack([np.ones((20_000, 1)), users]), rewards, rcond=None)[0]
    np.testing.assert_allclose(means, fitted[0], atol=0.02)
    np.testing.assert_allclose(slopes, fitted[1:].T, atol=0.02)
    assert np.abs(slopes).max() > 0.05


def test_usual_tastes_are_normal_vectors_below_the_quantile_and_the_others_lie_above() -> None:
    family = metarl.load("recommender")
    usual, others = (family.sample(split, 4000, seed=0).values["taste"] for split in ("train", "extrapolation"))
    shares = [stats.chi2(8).cdf(np.square(tastes).sum(axis=1)) for tastes in (usual, others)]
    assert stats.kstest(shares[0] / 0.9, "uniform").pvalue > 1e-3
    assert stats.kstest((shares[1] - 0.9) / 0.1, "uniform").pvalue > 1e-3
    angles = usual / np.linalg.norm(usual, axis=1, keepdims=True)
    np.testing.assert_allclose(angles.mean(axis=0), 0, atol=5 / math.sqrt(8 * 4000))
    np.testing.assert_allclose(angles.T @ angles / 4000, np.eye(8) / 8, atol=0.02)


def test_tastes_refuse_quantiles_out_of_order() -> None:
    with pytest.raises(MetarlError, match="0 <= low < high <= 1 must hold"):
        Tastes(8, 0.9, 0.9)
    assert np.isfinite(Tastes(3, 0.0, 1.0).sample(Streams.of(0, np.arange(1000)))).all()


def test_taste_changes_where_the_preset_drift_says_and_the_weights_do_not() -> None:
    family = metarl.load("recommender", "drift")
    assert family.settings["switch_at"] == [100]
    assert set(family.parameters) == {"taste", "weights", "taste@100", "weights@100"}
    assert metarl.load("recommender", "drift", switch_at=[20, 40]).settings["switch_at"] == [20, 40]
    assert "switch_at" not in metarl.load("recommender", "drift", switch_at=None).settings
    values = family.sample("test", 1, seed=0)[0]
    assert values["taste"] != values["taste@100"]
    assert values["weights"] == values["weights@100"] == [1, 0, 0]


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({"slate_size": 51}, "slate_size is 51; it must be at most num_items, 50"),
        ({"num_items": 1}, "num_items is 1; it must be at least 2"),
        ({"weights": [0.5, 0.6, 0.5]}, "they must sum to 1"),
        ({"weights": [1, 0]}, "weights"),
        ({"weights": [-0.5, 1.5, 0]}, "weights"),
        ({"position_bias": -1}, "position_bias"),
        ({"factors": 0}, "factors"),
    ],
)
def test_settings_that_make_no_sense_get_one_line(settings: dict[str, Any], told: str) -> None:
    with pytest.raises(MetarlError, match=told) as raised:
        metarl.load("recommender", **settings)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize("preset", PRESETS)
def test_picture_of_a_world_shows_something_at_the_start_and_after_a_slate(preset: str) -> None:
    family = metarl.load("recommender", preset)
    envs = BatchedEnv(family, family.sample("train", 1, seed=0), 1, render_mode="rgb_array")
    envs.reset(seed=0)
    before = envs.render_world(0)
    envs.action_space.seed(0)
    envs.step(envs.action_space.sample())
    after = envs.render_world(0)
    assert before is not None and after is not None
    assert before.shape == after.shape and (before != after).any()
    assert len(np.unique(after.reshape(-1, 3), axis=0)) > 20
