"""Ratings of simulated users."""

from __future__ import annotations

import csv
import io

import numpy as np
import pytest
from metarl.envs.recommender.simulated_ratings import simulate_ratings, to_csv

from metarl.base.errors import MetarlError


def test_every_user_rates_different_items_in_ascending_time() -> None:
    columns = simulate_ratings(50, 20, num_items=30)
    assert {len(column) for column in columns.values()} == {1000}
    for user in range(50):
        mine = columns["user"] == user
        assert len(set(columns["item"][mine].tolist())) == 20
        assert (np.diff(columns["timestamp"][mine]) > 0).all()
    assert set(columns["rating"].tolist()) == {1, 2, 3, 4, 5}
    assert set(columns["item"].tolist()) == set(range(30))


def test_users_do_not_depend_on_how_many_there_are_and_seeds_differ() -> None:
    few, many, other = simulate_ratings(3, 5), simulate_ratings(5000, 5), simulate_ratings(3, 5, seed=1)
    for name, column in few.items():
        np.testing.assert_array_equal(column, many[name][:15])
    assert (few["item"] != other["item"]).any()


def test_ratings_tell_items_and_tastes_apart() -> None:
    columns = simulate_ratings(3000, 30, num_items=60)
    ratings = columns["rating"].astype(np.float64)
    sums = np.bincount(columns["item"], ratings, 60) / np.bincount(columns["item"], minlength=60)
    by_item = ratings - sums[columns["item"]]
    assert by_item.var() < 0.97 * ratings.var()
    # A user's ratings of one category go together: a part of the taste.
    first = (columns["category"] == 0).reshape(3000, 30)
    residual = by_item.reshape(3000, 30)
    halves = [
        (residual * (first & half)).sum(1) / np.maximum((first & half).sum(1), 1)
        for half in (np.arange(30) % 2 == 0, np.arange(30) % 2 == 1)
    ]
    known = (first[:, ::2].sum(1) > 0) & (first[:, 1::2].sum(1) > 0)
    assert np.corrcoef(halves[0][known], halves[1][known])[0, 1] > 0.2


def test_popular_items_are_rated_more_often() -> None:
    counts = np.bincount(simulate_ratings(2000, 10, num_items=100)["item"], minlength=100)
    assert counts.max() > 3 * max(int(counts.min()), 1)


def test_text_of_a_csv_file_reads_back() -> None:
    columns = simulate_ratings(4, 3)
    rows = list(csv.DictReader(io.StringIO(to_csv(columns))))
    assert len(rows) == 12
    for name, column in columns.items():
        assert [int(row[name]) for row in rows] == column.tolist()


@pytest.mark.parametrize(
    ("numbers", "told"),
    [
        ((0, 5), "num_users is 0; it must be at least 1"),
        ((5, 0), "ratings_per_user is 0; it must be at least 1"),
        ((5, 201), "ratings_per_user is 201; it must be at most num_items, 200"),
    ],
)
def test_numbers_out_of_range_are_refused_in_one_line(numbers: tuple[int, int], told: str) -> None:
    with pytest.raises(MetarlError, match=told):
        simulate_ratings(*numbers)
