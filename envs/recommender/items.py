"""What training users' ratings tell of each item: its mean, its effect, how often it is rated, and latent factors.

The model of a rating r of item i by user u is

    r = center + effect_i + offset_u + loadings_u . factors_i + noise,

with offset_u ~ N(0, offset_variance), loadings_u ~ N(0, I) and normal noise. It is fitted by expectation-maximisation
over users: probabilistic principal components of a table with gaps (Tipping and Bishop, JRSS B 1999; Roweis, NeurIPS
1997), with the biases of Koren, Bell and Volinsky (Computer 2009). Effects and factors have normal priors, as in
probabilistic matrix factorisation (Salakhutdinov and Mnih, NeurIPS 2007); all variances are estimated. So that few
iterations do, loadings are made white after each (PX-EM: Liu, Rubin and Wu, Biometrika 1998). Cost and memory are
linear in ratings, users and items.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from metarl.base.streams import generator

ITERATIONS = 10
"""Iterations of expectation-maximisation."""
FIRST_SHARE = 0.01
"""Prior variance of an item's factor before the first iteration, as a share of the variance of ratings."""
LEAST_VARIANCE = 1e-9
"""Smallest variance, so that a table without noise can be fitted."""
CHUNK = 2**16
"""Ratings whose systems of equations are held at a time."""
STATISTICS = ("mean", "effect", "count")
"""Columns of an item before its factors."""


class ItemModel(NamedTuple):
    """Numbers of items, and the spread of users around them. Columns are `STATISTICS`, then the factors."""

    items: np.ndarray
    """Of each item: its shrunken mean minus `center`, its effect, log(1 + ratings) and its factors.
    float64 [item, column]"""
    ratings: np.ndarray
    """The same for each rating, as they are without its user. float64 [rating, column]"""
    center: float
    """Mean rating."""
    mean_offset_variance: float
    """Variance between users of the mean difference between their ratings and the items' means."""
    mean_noise_variance: float
    """Variance of ratings around an item's mean and the user's offset."""
    offset_variance: float
    """Variance of users' offsets in the model with factors."""
    noise_variance: float
    """Variance of ratings around the model with factors."""


class Spread(NamedTuple):
    """Variances of numbers in groups."""

    between: float
    within: float

    def shrunken(self, sums: np.ndarray, counts: np.ndarray) -> np.ndarray:
        """Return the posterior mean of each group's mean, given sums and counts of its numbers; zero without any."""
        scale = counts * self.between + self.within
        return np.divide(self.between * sums, scale, out=np.zeros_like(sums), where=scale > 0)


def spread(group: np.ndarray, values: np.ndarray, num_groups: int) -> Spread:
    """Return the variances between and within groups of values around zero, by the method of moments.

    Analysis of variance of a random effect (Searle, Casella and McCulloch, Variance Components, 1992, chapter 3).
    """
    counts = np.bincount(group, minlength=num_groups)
    means = np.bincount(group, values, minlength=num_groups) / np.maximum(counts, 1)
    filled = int((counts > 0).sum())
    if len(values) == filled:  # no group has two values: nothing tells both variances apart
        return Spread(0.0, float(np.square(values).mean()))
    within = float(np.square(values - means[group]).sum() / (len(values) - filled))
    between = float((counts * np.square(means)).sum() - filled * within) / len(values)
    return Spread(max(between, 0.0), within)


def fit_items(user: np.ndarray, item: np.ndarray, rating: np.ndarray, num_items: int, num_factors: int) -> ItemModel:
    """Return the numbers of items from ratings, each array [rating]; users are numbered from 0.

    What a rating's own user rated is left out of its row in `ratings`, exactly for means and counts, and for effects
    and factors given the other users' loadings: a training user then sees items as a new user does.
    """
    num_users = int(user.max(initial=-1)) + 1
    center = float(rating.mean())
    counts, deviation = np.bincount(item, minlength=num_items).astype(np.float64), rating - center
    sums, of_items = np.bincount(item, deviation, minlength=num_items), spread(item, deviation, num_items)
    means = of_items.shrunken(sums, counts)
    own_means = of_items.shrunken(sums[item] - deviation, counts[item] - 1)
    of_users = spread(user, deviation - own_means, num_users)
    model = _Factors(user, item, deviation, (num_users, num_items), num_factors)
    for _ in range(ITERATIONS):
        model.expect()
        model.maximise()
    effects, own_effects = model.solutions()
    return ItemModel(
        np.column_stack([means, effects[:, :1], np.log1p(counts), effects[:, 1:]]),
        np.column_stack([own_means, own_effects[:, :1], np.log1p(counts[item] - 1), own_effects[:, 1:]]),
        center,
        of_users.between,
        of_users.within,
        model.offset_variance,
        model.noise_variance,
    )


class _Factors:
    """The model of the module's docstring while it is fitted. A user has k = 1 + factors numbers: offset, loadings."""

    def __init__(
        self, user: np.ndarray, item: np.ndarray, deviation: np.ndarray, sizes: tuple[int, int], num_factors: int
    ) -> None:
        self.user, self.item, self.deviation = user, item, deviation
        self.num_users, self.num_items = sizes
        self.size = 1 + num_factors
        variance = float(deviation.var()) + LEAST_VARIANCE
        drawn = generator(0, "factors").normal(0.0, np.sqrt(FIRST_SHARE * variance), (self.num_items, num_factors))
        self.numbers = np.column_stack([np.zeros(self.num_items), drawn])
        """Effect and factors of each item. [item, k]"""
        self.offset_variance = self.effect_variance = 0.25 * variance
        self.noise_variance = 0.5 * variance
        self.factor_variance = FIRST_SHARE * variance
        self.means = np.zeros((self.num_users, self.size))
        """Posterior means of users' numbers. [user, k]"""
        self.covariances = np.zeros((self.num_users, self.size, self.size))
        """Posterior covariances of users' numbers. [user, k, k]"""

    def expect(self) -> None:
        """Set the posterior of every user's numbers, given the items; then make the loadings white."""
        seen = self._seen_by_users()
        prior = np.diag(np.r_[1 / self.offset_variance, np.ones(self.size - 1)])
        left = self.deviation - self.numbers[self.item, 0]
        self.covariances = np.linalg.inv(_grams(self.user, self.num_users, seen) / self.noise_variance + prior)
        sums = _sums(self.user, self.num_users, seen * left[:, None])
        self.means = np.einsum("ukl,ul->uk", self.covariances, sums) / self.noise_variance
        second = self.covariances + self.means[:, :, None] * self.means[:, None, :]
        self.offset_variance = max(float(second[:, 0, 0].mean()), LEAST_VARIANCE)
        self._transform(np.linalg.cholesky(second[:, 1:, 1:].mean(axis=0)))

    def _seen_by_users(self) -> np.ndarray:
        """Return what multiplies a user's numbers in each rating, [rating, k]."""
        return np.column_stack([np.ones(len(self.item)), self.numbers[self.item, 1:]])

    def _transform(self, root: np.ndarray) -> None:
        """Divide the loadings by a matrix, and multiply the factors by it: products stay the same."""
        whole = np.eye(self.size)
        whole[1:, 1:] = np.linalg.inv(root)
        self.means = self.means @ whole.T
        self.covariances = whole @ self.covariances @ whole.T
        self.numbers[:, 1:] = self.numbers[:, 1:] @ root

    def maximise(self) -> None:
        """Set the items' numbers and the variances, given the posterior of users."""
        system, right = self._item_equations()
        self.numbers = np.linalg.solve(system, right[..., None])[..., 0]
        rated = np.bincount(self.item, minlength=self.num_items) > 0
        spread = self.noise_variance * np.diagonal(np.linalg.inv(system[rated]), axis1=1, axis2=2)
        second = np.square(self.numbers[rated]) + spread
        self.effect_variance = max(float(second[:, 0].mean()), LEAST_VARIANCE)
        if self.size > 1:
            self.factor_variance = max(float(second[:, 1:].mean()), LEAST_VARIANCE)
        seen = self._seen_by_users()
        gaps = self.deviation - self.numbers[self.item, 0] - (seen * self.means[self.user]).sum(axis=1)
        unsure = (_grams(self.user, self.num_users, seen) * self.covariances).sum()
        self.noise_variance = max(float(np.square(gaps).sum() + unsure) / len(gaps), LEAST_VARIANCE)

    def _user_parts(self) -> tuple[np.ndarray, np.ndarray]:
        """Return E[x x'] [user, k, k] and Cov(x, offset) [user, k] of x = (1, loadings), which an effect multiplies."""
        x = self.means.copy()
        x[:, 0] = 1.0
        second = self.covariances.copy()
        second[:, 0, :] = second[:, :, 0] = 0.0
        with_offset = self.covariances[:, 0, :].copy()
        with_offset[:, 0] = 0.0
        return second + x[:, :, None] * x[:, None, :], with_offset

    def _rights(self, rows: slice, with_offset: np.ndarray) -> np.ndarray:
        """Return the part of each rating in the right side of its item's equations, [rating, k]."""
        user = self.user[rows]
        x = self.means[user]
        x[:, 0] = 1.0
        return x * (self.deviation[rows] - self.means[user, 0])[:, None] - with_offset[user]

    def _item_equations(self) -> tuple[np.ndarray, np.ndarray]:
        """Return the ridge regression of each item on its users: systems [item, k, k], right sides [item, k]."""
        second, with_offset = self._user_parts()
        right = _sums(self.item, self.num_items, self._rights(slice(None), with_offset))
        penalty = np.full(self.size, self.noise_variance / self.factor_variance)
        penalty[0] = self.noise_variance / self.effect_variance
        system = np.empty((self.num_items, self.size, self.size))
        for row in range(self.size):
            for column in range(row, self.size):
                of_user = np.ascontiguousarray(second[:, row, column])
                sums = np.bincount(self.item, of_user[self.user], minlength=self.num_items)
                system[:, row, column] = system[:, column, row] = sums
        return system + np.diag(penalty), right

    def solutions(self) -> tuple[np.ndarray, np.ndarray]:
        """Return the numbers of items [item, k], and those that each rating's item has without its user [rating, k].

        Factors are turned into their principal axes over the ratings, so that the first varies most.
        """
        system, right = self._item_equations()
        items = np.linalg.solve(system, right[..., None])[..., 0]
        second, with_offset = self._user_parts()
        own = np.empty((len(self.item), self.size))
        for start in range(0, len(own), CHUNK):
            rows = slice(start, start + CHUNK)
            item = self.item[rows]
            rest = right[item] - self._rights(rows, with_offset)
            own[rows] = np.linalg.solve(system[item] - second[self.user[rows]], rest[..., None])[..., 0]
        axes = np.linalg.eigh(items[self.item, 1:].T @ items[self.item, 1:])[1][:, ::-1]
        axes = axes * np.where(axes.sum(axis=0) < 0, -1.0, 1.0)
        return tuple(np.column_stack([each[:, :1], each[:, 1:] @ axes]) for each in (items, own))  # type: ignore[return-value]


def _sums(group: np.ndarray, num_groups: int, values: np.ndarray) -> np.ndarray:
    """Return the sum of the rows of `values` [rating, k] in each group, [group, k]."""
    columns = np.ascontiguousarray(values.T)
    return np.column_stack([np.bincount(group, column, minlength=num_groups) for column in columns])


def _grams(group: np.ndarray, num_groups: int, values: np.ndarray) -> np.ndarray:
    """Return the sum of x x' over the rows x of `values` [rating, k] in each group, [group, k, k]."""
    size, columns = values.shape[1], np.ascontiguousarray(values.T)
    grams = np.empty((num_groups, size, size))
    for row in range(size):
        for column in range(row, size):
            sums = np.bincount(group, columns[row] * columns[column], minlength=num_groups)
            grams[:, row, column] = grams[:, column, row] = sums
    return grams
