"""Returns, advantages and the baseline against independent loops."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from metarl.agents.common.advantage import (
    discounted_returns,
    explained_variance,
    generalized_advantages,
    linear_baseline,
    normalize_advantages,
    suffix_sums,
)


def plain_advantages(
    rewards: list[float], values: list[float], bootstrap: float, discount: float, gae_lambda: float
) -> list[float]:
    """A_t = sum over k of (discount lambda)^k delta_{t+k}, written as the double sum of the paper."""
    following = [*values[1:], bootstrap]
    deltas = [r + discount * n - v for r, v, n in zip(rewards, values, following, strict=True)]
    return [sum((discount * gae_lambda) ** k * d for k, d in enumerate(deltas[t:])) for t in range(len(deltas))]


@settings(max_examples=100, deadline=None)
@given(
    taken=st.lists(st.booleans(), min_size=1, max_size=12).filter(any),
    discount=st.floats(0, 1),
    gae_lambda=st.floats(0, 1),
    seed=st.integers(0, 1000),
)
def test_gae_equals_the_double_sum_over_the_steps_taken(
    taken: list[bool], discount: float, gae_lambda: float, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    mask = np.array(taken)
    rewards, values, bootstrap = rng.normal(size=len(mask)), rng.normal(size=len(mask)), rng.normal()
    computed = generalized_advantages(
        rewards, values, mask, np.array(bootstrap), discount=discount, gae_lambda=gae_lambda
    )
    expected = plain_advantages(list(rewards[mask]), list(values[mask]), bootstrap, discount, gae_lambda)
    np.testing.assert_allclose(computed[mask], expected, atol=1e-12)
    assert (computed[~mask] == 0).all()


def test_gae_bootstraps_at_truncation_and_cuts_at_termination() -> None:
    rewards, values, mask = np.ones((1, 2)), np.zeros((1, 2)), np.ones((1, 2), dtype=bool)
    truncated_and_terminated = np.array([10.0, 0.0])
    computed = generalized_advantages(rewards, values, mask, truncated_and_terminated, discount=0.9, gae_lambda=0.95)
    np.testing.assert_allclose(computed, [[10.0, 1.0]])


def test_gae_with_lambda_one_is_the_return_less_the_value() -> None:
    rng = np.random.default_rng(0)
    rewards, values = rng.normal(size=(9, 4)), rng.normal(size=(9, 4))
    mask = np.arange(9)[:, None] < np.array([9, 5, 1, 7])
    bootstrap = rng.normal(size=4)
    returns = discounted_returns(rewards, mask, 0.97, bootstrap)
    advantages = generalized_advantages(rewards, values, mask, bootstrap, discount=0.97, gae_lambda=1.0)
    np.testing.assert_allclose(advantages, (returns - values) * mask)


def test_discounted_return_of_a_hand_computed_case() -> None:
    mask = np.array([True, True, False])
    returns = discounted_returns(np.array([1.0, 2.0, 99.0]), mask, 0.5, np.array(8.0))
    np.testing.assert_allclose(returns, [1 + 0.5 * (2 + 0.5 * 8), 2 + 0.5 * 8, 0])


def test_normalization_counts_only_the_steps_taken() -> None:
    rng = np.random.default_rng(0)
    values, mask = rng.normal(5.0, 3.0, (7, 3, 4)), rng.random((7, 3, 4)) < 0.6
    values[~mask] = 1e6
    result = normalize_advantages(values, mask, axis=(0, 2))
    for task in range(3):
        chosen = result[:, task][mask[:, task]]
        assert chosen.mean() == pytest.approx(0.0, abs=1e-9)
        assert chosen.std() == pytest.approx(1.0, abs=1e-6)
    assert (result[~mask] == 0).all()


def test_linear_baseline_equals_least_squares_task_by_task() -> None:
    rng = np.random.default_rng(0)
    observations, final = rng.normal(size=(20, 2, 6, 3)), rng.normal(size=(2, 6, 3))
    mask = np.arange(20)[:, None, None] < rng.integers(10, 21, size=(2, 6))
    returns = rng.normal(size=(20, 2, 6)) * mask
    values, final_values = linear_baseline(observations, final, returns, mask, ridge=0.0)

    def features(observation: np.ndarray, time: int) -> np.ndarray:
        t = time / 100
        return np.concatenate([observation, observation**2, [t, t**2, t**3, 1.0]])

    for task in range(2):
        steps = [(t, r) for t in range(20) for r in range(6) if mask[t, task, r]]
        rows = np.array([features(observations[t, task, r], t) for t, r in steps])
        target = np.array([returns[t, task, r] for t, r in steps])
        weights = np.linalg.lstsq(rows, target, rcond=None)[0]
        np.testing.assert_allclose([values[t, task, r] for t, r in steps], rows @ weights, atol=1e-7)
        ends = [features(final[task, r], int(mask[:, task, r].sum())) for r in range(6)]
        np.testing.assert_allclose(final_values[task], np.array(ends) @ weights, atol=1e-6)
    assert (values[~mask] == 0).all()


def test_linear_baseline_stands_constant_observations() -> None:
    shape = (10, 2, 5)
    values, _ = linear_baseline(np.zeros((*shape, 1)), np.zeros((2, 5, 1)), np.full(shape, 3.0), np.ones(shape, bool))
    np.testing.assert_allclose(values, 3.0, rtol=1e-3)


def test_explained_variance_is_one_for_exact_values_and_zero_for_a_constant() -> None:
    returns, mask = np.arange(6.0).reshape(2, 3), np.ones((2, 3), dtype=bool)
    assert explained_variance(returns, returns, mask) == 1.0
    assert explained_variance(np.full((2, 3), 2.5), returns, mask) == 0.0
    assert explained_variance(returns, np.ones((2, 3)), mask) == 0.0


@pytest.mark.parametrize("length", [1, 2, 3, 7, 8, 100])
def test_suffix_sums_equal_the_recursion(length: int) -> None:
    rng = np.random.default_rng(length)
    terms, factors = rng.normal(size=(length, 3)), rng.uniform(-1, 1, size=(length, 3))
    expected, following = np.zeros_like(terms), np.zeros(3)
    for t in reversed(range(length)):
        expected[t] = following = terms[t] + factors[t] * following
    np.testing.assert_allclose(suffix_sums(terms, factors), expected, rtol=1e-12, atol=1e-12)


def test_suffix_sums_do_not_depend_on_how_much_nothing_follows() -> None:
    """A task alone has fewer rows behind its last step than beside a neighbour that plays longer."""
    rng = np.random.default_rng(0)
    terms, factors = rng.normal(size=(37, 2)), rng.uniform(0, 1, size=(37, 2))
    longer = [np.concatenate([array, np.full((60, 2), end)]) for array, end in ((terms, 0.0), (factors, 1.0))]
    assert np.array_equal(suffix_sums(*longer)[:37], suffix_sums(terms, factors))
