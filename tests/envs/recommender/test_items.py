"""Numbers of items: what they are fitted to, and that none tells what its own user rated."""

from __future__ import annotations

import numpy as np
import pytest
from metarl.envs.recommender import items as module
from metarl.envs.recommender.items import ItemModel, fit_items, spread

USERS, ITEMS, FACTORS = 60, 40, 2


def rated(seed: int = 0, noise: float = 0.3) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return users, items and ratings of half of all pairs, made by offsets, effects and two factors."""
    rng = np.random.default_rng(seed)
    offset, effect = rng.normal(0, 0.5, USERS), rng.normal(0, 0.5, ITEMS)
    loadings, factors = rng.normal(size=(USERS, FACTORS)), 0.4 * rng.normal(size=(ITEMS, FACTORS))
    table = 3 + offset[:, None] + effect + loadings @ factors.T + noise * rng.normal(size=(USERS, ITEMS))
    user, item = np.nonzero(rng.random((USERS, ITEMS)) < 0.5)
    return user, item, table[user, item]


def fit(seed: int = 0, factors: int = FACTORS, noise: float = 0.3) -> ItemModel:
    return fit_items(*rated(seed, noise), ITEMS, factors)


def test_the_model_finds_how_users_and_noise_spread() -> None:
    model = fit()
    assert model.noise_variance == pytest.approx(0.3**2, rel=0.35)
    assert model.offset_variance == pytest.approx(0.5**2, rel=0.5)
    assert model.noise_variance < 0.75 * fit(factors=0).noise_variance


def test_factors_foretell_ratings_that_they_were_not_fitted_to() -> None:
    user, item, rating = rated()
    errors = {}
    for factors in (0, FACTORS):
        model = fit(factors=factors)
        errors[factors] = np.mean(
            [_fold_in_error(model, item[user == each], rating[user == each]) for each in range(20)]
        )
    assert errors[FACTORS] < 0.85 * errors[0]


def _fold_in_error(model: ItemModel, item: np.ndarray, rating: np.ndarray) -> float:
    """Return the error of a user's ratings from the 15th on, foretold from those before by a ridge regression."""
    rows = np.column_stack([np.ones(len(item)), model.items[item, 3:]])
    left = rating - model.center - model.items[item, 1]
    penalty = np.diag(np.r_[model.noise_variance / model.offset_variance, [model.noise_variance] * (rows.shape[1] - 1)])
    numbers = np.linalg.solve(rows[:14].T @ rows[:14] + penalty, rows[:14].T @ left[:14])
    return float(np.abs(left[14:] - rows[14:] @ numbers).mean())


def test_means_and_counts_without_a_user_are_those_of_a_loop_over_others() -> None:
    user, item, rating = rated()
    model = fit()
    between, within = spread(item, rating - model.center, ITEMS)
    for row in range(0, len(user), 97):
        others = (item == item[row]) & (user != user[row])
        total = (rating[others] - model.center).sum()
        expected = between * total / (others.sum() * between + within)
        assert model.ratings[row, 0] == pytest.approx(expected)
        assert model.ratings[row, 2] == pytest.approx(np.log1p(others.sum()))


def test_effects_and_factors_without_a_user_are_the_regression_on_the_others(monkeypatch: pytest.MonkeyPatch) -> None:
    user, item, rating = rated()
    found = module._Factors(user, item, rating - rating.mean(), (USERS, ITEMS), FACTORS)
    for _ in range(3):
        found.expect()
        found.maximise()
    of_items, own = found.solutions()
    system, _ = found._item_equations()
    second, with_offset = found._user_parts()
    penalty = system - np.stack([second[user[item == at]].sum(axis=0) for at in range(ITEMS)])
    x = np.column_stack([np.ones(USERS), found.means[:, 1:]])
    axes = np.linalg.lstsq(np.linalg.solve(system, found._item_equations()[1][..., None])[:, 1:, 0], of_items[:, 1:])[0]
    for row in range(0, len(user), 151):
        at = item[row]
        left, right = penalty[at].copy(), np.zeros(1 + FACTORS)
        for other in user[(item == at) & (user != user[row])]:
            value = rating[(item == at) & (user == other)].item() - rating.mean() - found.means[other, 0]
            left += second[other]
            right += x[other] * value - with_offset[other]
        numbers = np.linalg.solve(left, right)
        np.testing.assert_allclose(own[row], np.r_[numbers[0], numbers[1:] @ axes], rtol=1e-6, atol=1e-9)


def test_an_item_of_one_user_has_nothing_without_it() -> None:
    user, item, rating = rated()
    user, item, rating = np.r_[user, 0], np.r_[item, ITEMS], np.r_[rating, 5.0]
    model = fit_items(user, item, rating, ITEMS + 2, FACTORS)
    assert model.items[ITEMS, 0] > 0.1 and model.items[ITEMS, 2] == pytest.approx(np.log(2))
    np.testing.assert_allclose(model.ratings[-1], 0.0, atol=1e-12)
    np.testing.assert_allclose(model.items[ITEMS + 1], 0.0, atol=1e-12)  # rated by nobody


@pytest.mark.parametrize("rating", [[3.0, 3.0, 4.0], [1.0, 2.0, 5.0]])
def test_tables_that_tell_little_give_finite_numbers(rating: list[float]) -> None:
    for user in ([0, 0, 0], [0, 1, 2]):
        model = fit_items(np.array(user), np.array([0, 1, 2]), np.array(rating), 3, 4)
        assert all(np.isfinite(part).all() for part in model)


def test_ratings_on_another_scale_give_the_same_numbers_on_that_scale() -> None:
    user, item, rating = rated()
    ours, larger = fit(), fit_items(user, item, 20 * rating, ITEMS, FACTORS)
    columns = [0, 1, 3, 4]
    np.testing.assert_allclose(larger.items[:, columns], 20 * ours.items[:, columns], rtol=1e-4, atol=1e-6)
    assert larger.noise_variance == pytest.approx(400 * ours.noise_variance, rel=1e-5)


def test_a_table_without_noise_is_fitted_too() -> None:
    assert all(np.isfinite(part).all() for part in fit(noise=0.0))
