"""References for bandits against the RL^2 paper's table, published indices and independent loops."""

from __future__ import annotations

import functools
import math
from typing import Any

import numpy as np
import pytest
from metarl.agents.references.bandits import (
    BanditLearner,
    approximate_gittins_indices,
    bayes_optimal_return,
    gittins_indices,
    posterior_samples,
    upper_confidence_bounds,
)
from scipy import stats

import metarl
from metarl.base.errors import MetarlError
from metarl.base.streams import Streams
from metarl.families.load import load
from metarl.trials.episodes import TimeStep, Trial
from metarl.trials.registered import make_agent
from metarl.trials.rollout import run_trial
from tests.agents.keeping import Keeping

NAMES = ("gittins", "thompson", "ucb1", "greedy", "epsilon-greedy")
PAPER = {
    "n100-k5": (78.3, 74.7, 78.0, 74.8),
    "n100-k10": (82.8, 76.7, 82.4, 77.1),
    "n100-k50": (85.2, 64.5, 84.3, 78.0),
    "n500-k10": (437.8, 429.5, 437.1, 395.0),
    "n500-k50": (463.7, 427.2, 457.6, 402.8),
}
"""Total rewards of Gittins, Thompson, UCB1 and greedy in Duan et al., RL^2, 2016, table 1."""


@pytest.mark.parametrize(
    ("preset", "name", "published"),
    [
        pytest.param(preset, name, published, marks=[pytest.mark.slow] if "n500" in preset else [])
        for preset, row in PAPER.items()
        for name, published in zip(NAMES, row, strict=False)
    ],
)
def test_total_reward_is_the_papers_to_one_and_a_half_percent(preset: str, name: str, published: float) -> None:
    family = load("bernoulli-bandit", preset)
    result = metarl.evaluate(make_agent(name, family), family, num_tasks=2000, rounds=1)
    assert result.mean[0] == pytest.approx(published, rel=0.015)


@pytest.mark.parametrize(
    ("discount", "successes", "failures", "published"),
    [
        (0.9, 0, 0, 0.7029),
        (0.9, 1, 0, 0.8001),
        (0.9, 2, 0, 0.8452),
        (0.9, 0, 1, 0.5001),
        (0.9, 1, 1, 0.6346),
        (0.95, 0, 0, 0.7614),
        (0.99, 0, 0, 0.8699),
    ],
)
def test_gittins_indices_are_those_of_the_published_tables(
    discount: float, successes: int, failures: int, published: float
) -> None:
    assert gittins_indices(10, discount)[successes + failures, successes] == pytest.approx(published, abs=6e-5)


def slow_gittins_index(successes: int, failures: int, discount: float, depth: int = 120) -> float:
    """The reward a pull that makes retiring for good as good as pulling, by bisection and plain recursion."""

    def advantage(retirement: float) -> float:
        @functools.cache
        def value(won: int, lost: int) -> float:
            chance = (1 + won) / (2 + won + lost)
            if won + lost - successes - failures == depth:
                return max(chance, retirement) / (1 - discount)
            return max(pull(won, lost), retirement / (1 - discount))

        def pull(won: int, lost: int) -> float:
            chance = (1 + won) / (2 + won + lost)
            return chance * (1 + discount * value(won + 1, lost)) + (1 - chance) * discount * value(won, lost + 1)

        return pull(successes, failures) - retirement / (1 - discount)

    low, high = 0.0, 1.0
    while high - low > 1e-6:
        middle = (low + high) / 2
        low, high = (middle, high) if advantage(middle) > 0 else (low, middle)
    return low


@pytest.mark.parametrize(("successes", "failures"), [(0, 0), (3, 0), (0, 4), (10, 3)])
def test_gittins_indices_equal_bisection_by_plain_recursion(successes: int, failures: int) -> None:
    table = gittins_indices(20, 0.9)
    assert table[successes + failures, successes] == pytest.approx(
        slow_gittins_index(successes, failures, 0.9), abs=5e-5
    )


def test_gittins_indices_beyond_the_table_go_on_where_it_ends() -> None:
    successes = np.arange(50, 451)
    table = gittins_indices(500, 0.998)
    approximate = approximate_gittins_indices(successes, 500 - successes, 0.998)
    np.testing.assert_allclose(approximate, table[500, successes], atol=2e-3)
    assert (table[500, successes] > (1 + successes) / 502 + 0.004).all()


def test_gittins_indices_rise_with_successes_and_tables_with_the_discount() -> None:
    table = gittins_indices(100, 0.99)
    for pulls in range(101):
        assert (np.diff(table[pulls, : pulls + 1]) > 0).all()
        assert np.isnan(table[pulls, pulls + 1 :]).all()
    inside = ~np.isnan(table)
    assert (gittins_indices(100, 0.9)[inside] < table[inside]).all()


def test_gittins_agent_plays_on_when_the_rounds_of_a_trial_outgrow_its_table() -> None:
    family = load("bernoulli-bandit", "n10-k5")
    returns = metarl.evaluate(make_agent("gittins", family), family, num_tasks=1000, rounds=10).mean
    assert returns[-1] > returns[0] + 1
    assert returns.sum() == pytest.approx(77.0, rel=0.02)


def test_gittins_agent_looks_ahead_to_the_end_of_the_trial() -> None:
    family = load("bernoulli-bandit", "n10-k5")
    agent: Any = make_agent("gittins", family, {"rounds": 4})
    successes, failures = np.array([7, 0, 20]), np.array([13, 15, 15])
    expected = gittins_indices(40, 1 - 1 / 40)[successes + failures, successes]
    np.testing.assert_array_equal(agent.index(successes, failures, Streams.of(0)), expected)


def test_upper_confidence_bounds_equal_a_plain_loop() -> None:
    coin = np.random.default_rng(0)
    successes, failures = coin.integers(0, 20, (2, 7, 3, 4))
    bounds = upper_confidence_bounds(successes, failures, 0.3)
    for place in np.ndindex(7, 3):
        time = 1 + int(successes[place].sum() + failures[place].sum())
        for arm in range(4):
            won, pulls = int(successes[(*place, arm)]) + 1, int(successes[(*place, arm)] + failures[(*place, arm)]) + 2
            expected = won / pulls + 0.3 * math.sqrt(2 * math.log(time) / pulls)
            assert bounds[(*place, arm)] == pytest.approx(expected)


def test_posterior_samples_have_the_beta_distribution() -> None:
    counts = np.broadcast_to([[0, 3, 40]], (5000, 3)), np.broadcast_to([[0, 9, 2]], (5000, 3))
    samples = posterior_samples(*counts, Streams.of(0, "test", np.arange(5000)))
    for arm, (successes, failures) in enumerate([(0, 0), (3, 9), (40, 2)]):
        assert stats.kstest(samples[:, arm], stats.beta(1 + successes, 1 + failures).cdf).pvalue > 1e-3


def test_optimistic_thompson_sampling_earns_more() -> None:
    family = load("bernoulli-bandit", "n100-k10")
    plain, optimistic = (make_agent("thompson", family, {"optimistic": choice}) for choice in (False, True))
    results = [metarl.evaluate(agent, family, num_tasks=1000, rounds=1).mean[0] for agent in (plain, optimistic)]
    assert results[1] > results[0] + 0.5


def test_epsilon_greedy_pulls_any_arm_as_often_where_epsilon_is_one() -> None:
    family = load("bernoulli-bandit", "n100-k5")
    trial = played("epsilon-greedy", 400, rounds=1, epsilon=1.0)[0]
    shares = np.bincount(trial.rounds[0].actions.ravel(), minlength=5) / trial.rounds[0].actions.size
    np.testing.assert_allclose(shares, 0.2, atol=0.01)
    assert trial.returns.mean() == pytest.approx(50, abs=2)
    assert family.horizon == 100


def played(name: str, num_tasks: int, rounds: int, **settings: object) -> tuple[Trial, BanditLearner]:
    family = load("bernoulli-bandit", "n100-k5")
    keeping = Keeping(make_agent(name, family, settings))
    trial = run_trial(keeping, family.make_vec(family.sample("test", num_tasks, seed=0), 2), rounds, seed=0)
    assert isinstance(keeping.learner, BanditLearner)
    return trial, keeping.learner


def test_counts_equal_a_plain_loop_over_all_rounds_but_for_the_last_pull() -> None:
    trial, learner = played("thompson", 3, rounds=3)
    for task, replica in np.ndindex(3, 2):
        pulls = [
            (int(arm), int(reward))
            for episodes in trial.rounds
            for arm, reward in zip(episodes.actions[:, task, replica], episodes.rewards[:, task, replica], strict=True)
        ]
        for arm in range(5):
            rewards = [reward for pulled, reward in pulls[:-1] if pulled == arm]
            assert learner.successes[task, replica, arm] == sum(rewards)
            assert learner.failures[task, replica, arm] == len(rewards) - sum(rewards)


def test_counts_and_random_numbers_stand_still_in_worlds_that_wait() -> None:
    streams = Streams.of(0, "test", np.arange(2)[:, None], np.arange(1))
    learner = make_agent("thompson", load("bernoulli-bandit")).begin(streams)
    assert isinstance(learner, BanditLearner)

    def act(active: list[bool]) -> None:
        learner.act(
            TimeStep(
                observations=np.zeros((2, 1, 1)),
                previous_actions=np.full((2, 1), 3),
                previous_rewards=np.ones((2, 1)),
                previous_terminations=np.zeros((2, 1), dtype=bool),
                previous_truncations=np.zeros((2, 1), dtype=bool),
                active=np.array(active)[:, None],
            ),
            deterministic=False,
        )

    act([True, True])
    assert learner.successes.sum() == 0
    act([True, False])
    assert learner.successes[:, 0, 3].tolist() == [1, 0]
    assert learner.streams.counters[:, 0].tolist() == [10, 5]
    act([True, True])
    assert learner.successes[:, 0, 3].tolist() == [2, 1]


def test_families_that_a_reference_cannot_play_are_refused_with_the_remedy() -> None:
    with pytest.raises(MetarlError, match=r"^Gittins cannot play family 'gridnavi'; take bernoulli-bandit$"):
        make_agent("gittins", load("gridnavi"))
    with pytest.raises(MetarlError, match="only without options"):
        make_agent("gittins", load("bernoulli-bandit", switch_at=[5]))


@pytest.mark.parametrize(
    ("pulls", "num_arms", "expected"),
    [
        (1, 5, 1 / 2),
        # A success is followed (2/3), a failure left (1/2); with one arm there is nothing to choose.
        (2, 5, 1 / 2 + 1 / 2 * 2 / 3 + 1 / 2 * 1 / 2),
        (7, 1, 7 / 2),
    ],
)
def test_bayes_optimal_return_of_few_pulls_is_what_is_found_by_hand(pulls: int, num_arms: int, expected: float) -> None:
    assert bayes_optimal_return(pulls, num_arms) == pytest.approx(expected)


def test_gittins_agent_earns_no_more_than_bayes_allows_and_all_but_one_percent_of_it() -> None:
    family = load("bernoulli-bandit", "n10-k5")
    best = bayes_optimal_return(10, 5)
    returns = metarl.evaluate(make_agent("gittins", family), family, num_tasks=4000, rounds=1, replicas=5).returns
    error = returns.std() / math.sqrt(len(returns))
    assert best == pytest.approx(6.65999, abs=1e-5)
    assert 0.99 * best - 3 * error < returns.mean() < best + 3 * error


def test_a_title_is_no_option_and_other_values_are_one() -> None:
    plain, titled = load("bernoulli-bandit"), load("bernoulli-bandit", title="mine")
    found = [metarl.evaluate(make_agent("ucb1", family), family, num_tasks=5).returns for family in (plain, titled)]
    np.testing.assert_array_equal(*found)
    means = [0.1] * len(plain.sample("train", 1, seed=0)[0]["chances"])
    with pytest.raises(MetarlError, match="only without options"):
        make_agent("ucb1", load("bernoulli-bandit", parameters={"chances": means}))
