"""Ratings of one's own: what is read, and errors of one line."""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np
import pytest
from metarl.envs.recommender.features import encode_feature
from metarl.envs.recommender.files import read_ratings
from metarl.envs.recommender.table import RatingTable

from metarl.base.errors import MetarlError
from metarl.families.load import load

from .making import write_csv


def read(folder: Path, content: str | bytes, scale: tuple[float, float] | None = None) -> RatingTable:
    return read_ratings(write_csv(folder, content), scale)


def listed(table: RatingTable) -> list[tuple[str, str, float]]:
    return [
        (table.users[user], table.items[item], rating)
        for user, item, rating in zip(table.user, table.item, table.rating.tolist(), strict=True)
    ]


def test_ratings_in_any_order_are_sorted_by_user_and_time(tmp_path: Path) -> None:
    found = read(tmp_path, "\ufeffuser,item,rating,timestamp\nb,x,1,5\na,y,2,9\n\na,x,3,7\nb,z,4.5,5\n")
    assert listed(found) == [("a", "x", 3.0), ("a", "y", 2.0), ("b", "x", 1.0), ("b", "z", 4.5)]
    assert found.time is not None and found.time.tolist() == [7, 9, 5, 5]
    assert found.scale == (1.0, 4.5)


def test_without_times_the_order_of_the_file_stays(tmp_path: Path) -> None:
    found = read(tmp_path, "user,item,rating\nb,x,1\na,y,2\na,x,3\n")
    assert listed(found) == [("a", "y", 2.0), ("a", "x", 3.0), ("b", "x", 1.0)] and found.time is None


def test_a_column_belongs_to_items_then_to_users_then_to_single_ratings(tmp_path: Path) -> None:
    rows = ["user,item,rating,genre,age,device,same,title", "a,x,1,p|q,30,web,s,Film X", "b,y,2,q,50,app,s,"]
    found = read(tmp_path, "\n".join([*rows, "a,y,3,q,30,web,s,", "b,x,2,p|q,50,web,s,Film X", "b,z,2,p,50,web,s,Z"]))
    assert found.item_features.names == ("genre p", "genre q")
    assert found.item_features.values.tolist() == [[1, 1], [0, 1], [1, 0]]
    assert found.user_features.names == ("age",) and found.user_features.values.tolist() == [[-1], [1]]
    assert found.context.names == ("device app", "device web")
    assert found.context.values.tolist() == [[0, 1], [0, 1], [1, 0], [0, 1], [0, 1]]
    assert found.titles == ("Film X", "y", "Z")


def test_numbers_are_scaled_and_unknown_ones_are_the_mean() -> None:
    found = encode_feature("here", "price", ["1", "", "3"])
    assert found.names == ("price",) and found.values[:, 0].tolist() == [-1, 0, 1]
    assert encode_feature("here", "price", ["2", "2"]).names == ()
    assert encode_feature("here", "code", ["1", "2"], "words").names == ("code 1", "code 2")
    assert encode_feature("here", "word", ["inf", "1"]).names == ("word 1", "word inf")
    with pytest.raises(MetarlError, match=r"here has 51 different words in column 'name'; at most 50 are taken, so"):
        encode_feature("here", "name", [f"w{number}" for number in range(51)])


BAD: dict[str, tuple[str | bytes, str]] = {
    "encoding": (
        "user,item,rating\nÇad,x,1\n".encode("cp1252"),
        "file 'mine.csv' is not UTF-8 at byte 17, in line 2; save it as UTF-8",
    ),
    "column": (
        "user,film,rating\na,x,1\n",
        "file 'mine.csv' has no column 'item' in line 1, but user, film, rating; ad",
    ),
    "empty": ("", "file 'mine.csv' has no column 'user' in line 1, but none; add it"),
    "no ratings": ("user,item,rating\n", "file 'mine.csv' has no ratings; give a user, an item and a rating in each"),
    "cells": ("user,item,rating\na,x,1\n\na,y\n", "file 'mine.csv' has 2 cells in line 4 and 3 columns; put a text"),
    "quotes": (
        'user,item,rating\n"a,x,1\n',
        "file 'mine.csv' is no table in line 2 (unexpected end of data); write it",
    ),
    "twice a column": ("user,item,rating,item\n", "file 'mine.csv' names a column twice in line 1; give each"),
    "no user": ("user,item,rating\na,x,1\n ,x,1\n", "file 'mine.csv' has no user in line 3; give one, or leave"),
    "a word": (
        "user,item,rating\na,x,1\na,y,good\n",
        "file 'mine.csv' has rating 'good' in line 3; it must be a number",
    ),
    "no number": ("user,item,rating\na,x,nan\n", "file 'mine.csv' has rating 'nan' in line 2; it must be a number"),
    "in a text of two lines": (
        'user,item,rating,title\na,x,1,"one\ntwo"\na,y,?,z\n',
        "file 'mine.csv' has rating '?' in line 4; it must be a number",
    ),
    "time": (
        "user,item,rating,timestamp\na,x,1,1577836800000\n",
        "file 'mine.csv' has timestamp 1577836800000 in line 2; it must be in seconds since 1970, UTC",
    ),
    "date": (
        "user,item,rating,timestamp\na,x,1,2020-01-01\n",
        "file 'mine.csv' has timestamp '2020-01-01' in line 2; it must be a number",
    ),
    "duplicate": (
        "user,item,rating\na,x,1\nb,x,2\na,y,1\na,x,2\n",
        "file 'mine.csv' has item 'x' of user 'a' in line 5 again, after line 2; keep one of both ratings",
    ),
    "title": (
        "user,item,rating,title\na,x,1,One\nb,x,2,Two\n",
        "file 'mine.csv' has title 'Two' of item 'x' in line 3, and another one before; give each item one title",
    ),
    "one rating": (
        "user,item,rating\na,x,3\nb,x,3\n",
        "file 'mine.csv' has the rating 3 alone; give ratings that differ, or their scale by family.scale",
    ),
}


@pytest.mark.parametrize("name", BAD)
def test_a_file_that_holds_no_ratings_is_refused_in_one_line(tmp_path: Path, name: str) -> None:
    content, words = BAD[name]
    with pytest.raises(MetarlError) as caught:
        read(tmp_path, content)
    assert str(caught.value).startswith(words) and "\n" not in str(caught.value)


def test_a_rating_outside_a_stated_scale_is_refused(tmp_path: Path) -> None:
    content = "user,item,rating\na,x,1\nb,x,6\n"
    assert read(tmp_path, content, (0.0, 10.0)).scale == (0.0, 10.0)
    with pytest.raises(
        MetarlError, match=r"has rating 6 in line 3, outside the scale from 1 to 5; correct it, or give"
    ):
        read(tmp_path, content, (1.0, 5.0))


def test_paths_of_no_ratings_are_refused_in_one_line(tmp_path: Path) -> None:
    for path, words in (
        (tmp_path / "mine.txt", r"mine.txt'; it must end in .csv"),
        (tmp_path / "mine.csv", r"mine.csv' is not there; give the path of a CSV file"),
    ):
        with pytest.raises(MetarlError, match=words):
            load("ratings", file=str(path))
    large = tmp_path / "large.csv"
    with large.open("wb") as file:
        file.truncate(60 * 2**20)
    with pytest.raises(MetarlError, match=r"large.csv' has 60 MB; a run holds a copy of at most 50 MB, so leave some"):
        load("ratings", file=str(large))


def test_a_hundred_thousand_ratings_are_read_in_seconds(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    pairs = rng.choice(1000 * 2000, 100_000, replace=False)
    rows = (f"{pair // 2000},{pair % 2000},{1 + pair % 5},{pair}" for pair in pairs.tolist())
    path = write_csv(tmp_path, "\n".join(["user,item,rating,timestamp", *rows]))
    began = time.process_time()
    assert len(read_ratings(path, None).rating) == 100_000
    assert time.process_time() - began < 5
