"""What sessions are measured by, against plain loops over the steps of a trial."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from metarl.envs.recommender.diversity import cosine_distances, gini
from metarl.envs.recommender.simulator import Recommender

import metarl
from metarl.families.family import TaskFamily
from metarl.families.task import Tasks
from metarl.trials.episodes import Trial
from metarl.trials.rollout import run_trial


def played(family: TaskFamily, name: str = "random", rounds: int = 1, replicas: int = 2) -> tuple[Tasks, Trial]:
    tasks = family.sample("test", 4, seed=0)
    return tasks, run_trial(metarl.make_agent(name, family), family.make_vec(tasks, replicas), rounds, seed=0)


@pytest.mark.parametrize("slate_size", [1, 3])
def test_objectives_regret_and_variety_equal_a_plain_loop(slate_size: int) -> None:
    family = metarl.load("recommender", slate_size=slate_size, num_items=12, horizon=15)
    assert isinstance(family, Recommender)
    tasks, trial = played(family)
    episodes = trial.rounds[0]
    found = family.measure_round(tasks.values, 0, episodes)
    after = np.concatenate([episodes.observations[1:], episodes.final_observations[None]])
    distances = cosine_distances(family.catalogue.features)
    for task in range(4):
        earned, regrets, lists, items, counts = np.zeros(3), [], [], [], Counter[int]()
        for replica in range(2):
            seen, lost = set(), 0.0
            for step in range(15):
                slate = np.atleast_1d(episodes.actions[step, task, replica]).tolist()
                earned += after[step, task, replica, 6:].reshape(-1, 3).sum(axis=0)
                worth = family.expected_rewards(
                    episodes.observations[step, task, replica], {"taste": tasks.values["taste"][task]}
                )
                best = sorted(worth.tolist(), reverse=True)
                for slot, item in enumerate(slate):
                    own = worth[item] if item not in slate[:slot] else 0.0
                    lost += (best[slot] - own) / (slot + 1)
                seen |= set(slate)
                counts.update(slate)
                lists += [distances[a, b] for n, a in enumerate(slate) for b in slate[:n]]
            regrets.append(lost)
            items.append(len(seen))
        told = [found[name][task] for name in ("clicks", "conversions", "satisfaction")]
        np.testing.assert_allclose(told, earned / 30, rtol=1e-6)
        assert found["regret"][task] == pytest.approx(np.mean(regrets))
        assert found["items shown"][task] == np.mean(items)
        assert found["coverage"][task].tolist() == [counts[item] for item in range(12)]
        if slate_size > 1:
            assert found["intra-list distance"][task] == pytest.approx(np.mean(lists))
    assert ("intra-list distance" in found) == (slate_size > 1)


def test_evaluation_tells_the_outcomes_and_the_oracle_has_no_regret() -> None:
    family = metarl.load("recommender", horizon=20)
    found = metarl.evaluate(metarl.make_agent("best-slate", family), family, num_tasks=10, rounds=2, replicas=2)
    assert found.outcomes["regret"].values.shape == (10, 2)
    np.testing.assert_allclose(found.outcomes["regret"].values, 0, atol=1e-12)
    assert found.outcomes["coverage"].values.shape == (2,)
    other = metarl.evaluate(metarl.make_agent("most-popular", family), family, num_tasks=10, rounds=1, replicas=2)
    assert other.outcomes["regret"].mean(0)[0] > 1
    weighted = np.stack([other.outcomes[name].values[:, 0] for name in ("clicks", "conversions", "satisfaction")], 1)
    np.testing.assert_allclose((weighted * other.tasks.values["weights"]).sum(axis=1) * 20, other.returns[:, 0])


@pytest.mark.parametrize(("switch_at", "rounds"), [([7], 1), ([10], 2), ([13], 2), ([25], 2)])
def test_regret_follows_the_taste_in_force(switch_at: list[int], rounds: int) -> None:
    family = metarl.load("recommender", "drift", horizon=10, switch_at=switch_at)
    tasks, trial = played(family, "best-slate", rounds)
    for number, episodes in enumerate(trial.rounds):
        np.testing.assert_allclose(family.measure_round(tasks.values, number, episodes)["regret"], 0, atol=1e-12)
    late = rounds - 1
    as_if_never = metarl.load("recommender", "drift", horizon=10, switch_at=None)
    wrong = as_if_never.measure_round({"taste": tasks.values["taste"]}, late, trial.rounds[late])["regret"]
    assert (wrong.mean() > 0.1) == (switch_at[0] < 10 * rounds)


def test_gini_index_of_one_item_for_all_is_the_highest() -> None:
    assert gini(np.array([0, 0, 0, 8])) == pytest.approx(0.75)
    assert gini(np.array([2, 2, 2, 2])) == 0


def test_policies_for_other_weights_trade_the_objectives_off() -> None:
    points = []
    for weights in np.eye(3).tolist():
        family = metarl.load("recommender", weights=weights, horizon=30)
        agent = metarl.make_agent("best-slate", family)
        found = metarl.evaluate(agent, family, num_tasks=60, rounds=1, replicas=5).outcomes
        points.append([found[name].mean(0)[0] for name in ("clicks", "conversions", "satisfaction")])
    assert np.argmax(points, axis=0).tolist() == [0, 1, 2]
    assert metarl.pareto_front(np.array(points)).all()
    assert not metarl.pareto_front(np.array([*points, np.min(points, axis=0) - 0.01]))[-1]
