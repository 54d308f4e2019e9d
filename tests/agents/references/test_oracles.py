"""Oracles earn exactly what the optimum of each task is known to be."""

from __future__ import annotations

import numpy as np
import pytest

from metarl.base.errors import MetarlError
from metarl.base.streams import Streams
from metarl.evaluation.evaluate import evaluate
from metarl.families.family import FAMILIES
from metarl.families.load import load
from metarl.trials.registered import make_agent

ORACLES = {
    "best-arm": ("bernoulli-bandit",),
    "shortest-path": ("gridnavi",),
    "beeline": ("navigation-2d", "point-dense", "point-sparse"),
    "true-curve": ("sinusoid",),
}


def test_best_arm_expects_the_pulls_times_the_highest_chance() -> None:
    family = load("bernoulli-bandit", "n100-k10")
    found = evaluate(make_agent("best-arm", family), family, num_tasks=200, rounds=1, replicas=20)
    best = found.tasks.values["chances"].max(axis=1)
    error = found.returns[:, 0] - 100 * best
    # Each return is the mean of 20 sums of 100 draws.
    assert np.all(np.abs(error) < 5 * np.sqrt(100 * best * (1 - best) / 20) + 1e-9)
    assert abs(error.mean()) < 4 * np.sqrt(100 * (best * (1 - best)).mean() / (20 * 200))


def test_shortest_path_is_on_the_goal_from_the_step_that_its_distance_says() -> None:
    family = load("gridnavi", "varibad")
    found = evaluate(make_agent("shortest-path", family), family, num_tasks=40, rounds=2)
    distance = found.tasks.values["goal"].sum(axis=1)
    on_goal = 15 - distance + 1
    expected = np.round(on_goal - 0.1 * (distance - 1), 9)
    np.testing.assert_allclose(found.returns, np.repeat(expected[:, None], 2, axis=1), atol=1e-9)


def test_beeline_leaves_each_axis_the_smallest_gap_at_every_step() -> None:
    family = load("point-dense", "origin")
    found = evaluate(make_agent("beeline", family), family, num_tasks=30, rounds=1)
    goal = np.abs(found.tasks.values["goal"])
    gaps = np.maximum(goal[:, None] - 0.1 * np.arange(1, 21)[:, None], 0.0)
    np.testing.assert_allclose(found.returns[:, 0], -np.linalg.norm(gaps, axis=-1).sum(axis=1), atol=1e-5)


def test_beeline_reaches_every_sparse_goal_and_stays_on_it() -> None:
    family = load("point-sparse", "varibad")
    found = evaluate(make_agent("beeline", family), family, split="extrapolation", num_tasks=30, rounds=2)
    assert found.success_rate is not None
    assert found.success_rate.tolist() == [1.0, 1.0]
    assert np.all(found.returns > 89.0)  # on the goal from the tenth step on, of 100


def test_beeline_ends_the_episode_of_navigation_as_soon_as_it_can() -> None:
    family = load("navigation-2d")
    found = evaluate(make_agent("beeline", family), family, num_tasks=30, rounds=1)
    farthest = np.abs(found.tasks.values["goal"]).max(axis=1)
    # On the goal is within 0.01 of it.
    np.testing.assert_array_equal(found.env_steps_per_task[:, 0], np.ceil((farthest - 0.01 + 1e-7) / 0.1))


@pytest.mark.parametrize("preset", FAMILIES["sinusoid"].presets)
@pytest.mark.parametrize("split", ["test", "extrapolation"])
def test_true_curve_makes_no_error(preset: str, split: str) -> None:
    family = load("sinusoid", preset)
    found = evaluate(make_agent("true-curve", family), family, split=split, num_tasks=30, rounds=2)
    assert np.all(found.returns > -1e-12)  # the right values are rounded to single precision, as the answers are


@pytest.mark.parametrize("name", ORACLES)
def test_oracle_plays_what_it_says_and_must_be_shown_the_task(name: str) -> None:
    for family in ORACLES[name]:
        with pytest.raises(MetarlError, match="begin_knowing"):
            make_agent(name, load(family)).begin(Streams.of(0, np.arange(2)[:, None], np.arange(1)))
    with pytest.raises(MetarlError, match="cannot play family 'half-cheetah-velocity'; take"):
        make_agent(name, load("half-cheetah-velocity"))
