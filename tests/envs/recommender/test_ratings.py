"""Tasks of ratings: which users and items a split has, what is shown and asked, and that nothing leaks."""

from __future__ import annotations

import contextlib
import pickle
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from metarl.envs.recommender import inputs, pools, ratings
from metarl.envs.recommender.pools import shares
from metarl.envs.recommender.ratings import Ratings

from metarl.base.errors import MetarlError
from metarl.evaluation.evaluate import evaluate
from metarl.families.load import load
from metarl.families.model_files import keep_models
from metarl.families.question_batch import Asked
from metarl.families.questions import require_questions
from metarl.families.task import Tasks
from metarl.pictures.gallery import tasks_figure
from metarl.runs.config import load_config, resolve
from metarl.trials.registered import make_agent
from metarl.trials.rollout import run_trial

from .making import ratings_csv, write_csv

NEWS = ("users", "items", "both")
ORDERS = ("random", "time")


@pytest.fixture(autouse=True)
def _own_cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("METARL_CACHE", str(tmp_path_factory.getbasetemp() / "ratings-cache"))


@pytest.fixture(scope="module")
def csv(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Eighty users with 40 ratings of 60 items each."""
    return write_csv(tmp_path_factory.mktemp("csv"), ratings_csv(num_users=80, per_user=40))


def make(csv: Path, **settings: Any) -> Ratings:
    # Of new items, each user rated few.
    usual = {"shots": 3, "queries": 2 if settings.get("order") == "time" and "new" in settings else 3, "factors": 2}
    family = require_questions(load("ratings", file=str(csv), **{**usual, **settings}))
    assert isinstance(family, Ratings)
    return family


def ask(family: Ratings, tasks: Tasks, rounds: int = 2) -> list[Asked]:
    """Return the questions of the first rounds."""
    asked = []
    with contextlib.closing(family.make_vec(tasks)) as envs:
        for number in range(rounds):
            envs.restart(seed=None if number else 0)
            found = envs.asked()
            assert found is not None
            asked.append(found)
            envs.answer(np.zeros_like(found.targets), found)
    return asked


def rows(family: Ratings, split: str, rounds: int = 3, num_tasks: int = 12) -> list[list[np.ndarray]]:
    """Return the ratings that each round of each task asks."""
    tasks = family.sample(split, num_tasks, seed=0)
    asked = ask(family, tasks, rounds)
    users = tasks.values["user"].astype(int)
    return [
        [family.rows_of(user, each.observations[:, world], each.targets[:, world]) for each in asked]
        for world, user in enumerate(users)
    ]


def asked_of_others(family: Ratings) -> list[str]:
    """Return faults of the splits: users and items of tests that training has too."""
    table, faults = family.table, []
    seen = {split: np.concatenate([np.concatenate(task) for task in rows(family, split)]) for split in pools.SHARED}
    for split in ("validation", "test"):
        if family.new != "items" and set(table.user[seen[split]]) & set(table.user[family.pools.fitted]):
            faults.append(f"users of {split} are in training")
    for split in ("validation", "test"):
        queries = np.concatenate([np.concatenate(task[1:]) for task in rows(family, split)])
        if family.new != "users" and set(table.item[queries]) & set(table.item[family.pools.fitted]):
            faults.append(f"items asked in {split} are in training")
    return faults


def future_shown(family: Ratings) -> bool:
    """Return whether a task shows a rating that is later than one that it asks."""
    time = family.table.time
    assert time is not None
    tasks = [task for split in pools.SHARED for task in rows(family, split)]
    return any(time[shown].max() > time[np.concatenate(asked)].min() for shown, *asked in tasks)


@pytest.mark.parametrize("new", NEWS)
@pytest.mark.parametrize("order", ORDERS)
def test_questions_are_the_users_ratings_and_none_is_asked_twice(csv: Path, new: str, order: str) -> None:
    family = make(csv, new=new, order=order)
    for split in pools.SHARED:
        tasks = family.sample(split, 12, seed=0)
        for user, task in zip(tasks.values["user"].astype(int), rows(family, split), strict=True):
            both = np.concatenate(task[:2])
            assert len(set(both.tolist())) == len(both) == family.shots + family.queries
            assert (family.table.user[both] == user % len(family.table.users)).all()
            assert not set(task[0].tolist()) & set(task[2].tolist())


@pytest.mark.parametrize("new", NEWS)
@pytest.mark.parametrize("order", ORDERS)
def test_training_has_no_user_or_item_that_is_to_be_new(csv: Path, new: str, order: str) -> None:
    assert asked_of_others(make(csv, new=new, order=order)) == []


def leaking(family: Ratings) -> Ratings:
    """Return a family whose training has the ratings of all users and items."""
    assert family.inputs.size  # they are made of the honest ones
    family.__dict__["pools"] = replace(family.pools, fitted=np.ones(len(family.table.user), dtype=bool))
    return family


@pytest.mark.parametrize(
    ("new", "faults"),
    [
        ("users", ["users of validation are in training", "users of test are in training"]),
        ("items", ["items asked in validation are in training", "items asked in test are in training"]),
    ],
)
def test_a_planted_leak_of_what_is_to_be_new_is_found(csv: Path, new: str, faults: list[str]) -> None:
    assert asked_of_others(leaking(make(csv, new=new))) == faults


@pytest.mark.parametrize("new", NEWS)
def test_in_the_order_of_time_nothing_that_is_shown_is_later_than_what_is_asked(csv: Path, new: str) -> None:
    assert not future_shown(make(csv, new=new, order="time"))


def test_a_planted_rating_of_the_future_is_found(csv: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert future_shown(make(csv, order="random"))
    honest = ratings.choose
    monkeypatch.setattr(ratings, "choose", lambda *args: honest(*args[:-1], 1 - args[-1] if args[-1] < 2 else args[-1]))
    assert future_shown(make(csv, order="time"))


def numbers_after_change(csv: Path, folder: Path, split: str) -> tuple[np.ndarray, np.ndarray]:
    """Return the numbers of items, before and after users of a split changed all their ratings."""
    family = make(csv, scale=(1.0, 5.0))
    users = {family.table.users[int(place) % 80] for place in family.pools.members[split]}
    lines = [line.split(",") for line in csv.read_text().splitlines()]
    changed = [[*line[:2], str(6 - int(line[2])), *line[3:]] if line[0] in users else line for line in lines]
    other = make(write_csv(folder, "\n".join(map(",".join, changed))), scale=(1.0, 5.0))
    return family.inputs.items, other.inputs.items


@pytest.mark.parametrize("split", ["validation", "test"])
def test_what_is_known_of_items_does_not_change_with_ratings_of_new_users(
    csv: Path, tmp_path: Path, split: str
) -> None:
    before, after = numbers_after_change(csv, tmp_path, split)
    np.testing.assert_array_equal(before, after)


def test_ratings_of_test_users_in_the_numbers_of_items_are_found(
    csv: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    honest = ratings.make_pools

    def all_fitted(table: Any, rule: Any) -> Any:
        return replace(honest(table, rule), fitted=np.ones(len(table.user), dtype=bool))

    monkeypatch.setattr(ratings, "_pools", all_fitted)
    monkeypatch.setattr(inputs.STORE, "get", lambda key, make: make())
    before, after = numbers_after_change(csv, tmp_path, "test")
    assert (before != after).any()


def test_a_users_own_rating_does_not_change_what_it_sees_of_the_item(csv: Path, tmp_path: Path) -> None:
    family = make(csv, scale=(1.0, 5.0))
    table, columns = family.table, family.columns
    row = int(np.flatnonzero(family.pools.fitted)[7])
    user, item = table.users[table.user[row]], table.items[table.item[row]]
    lines = [line.split(",") for line in csv.read_text().splitlines()]
    (at,) = (place for place, line in enumerate(lines) if line[:2] == [user, item])
    lines[at][2] = str(6 - int(lines[at][2])) if lines[at][2] != "3" else "5"
    other = make(write_csv(tmp_path, "\n".join(map(",".join, lines))), scale=(1.0, 5.0))
    ((before,), (after,)) = (each.inputs.observe(np.array([row])) for each in (family, other))
    moved = {name: float(np.abs(before[place] - after[place]).max(initial=0)) for name, place in columns.items()}
    # The mean of all moves a little with any rating; the item's own numbers move by a fifth and more.
    assert max(moved["mean"], moved["effect"]) < 0.02 and moved["count"] == 0
    assert np.abs(family.inputs.items[table.item[row], 0] - other.inputs.items[table.item[row], 0]) > 0.02


def test_folds_test_each_user_once_and_no_split_shares_any() -> None:
    ids = [f"u{number}" for number in range(103)]
    splits = np.stack([shares(ids, fold) for fold in range(10)])
    assert ((splits == 2).sum(axis=0) == 1).all() and ((splits == 1).sum(axis=0) == 1).all()
    assert sorted({int((each == 2).sum()) for each in splits}) == [10, 11]
    backwards = shares(ids[::-1], 4)[::-1]
    np.testing.assert_array_equal(backwards, splits[4])  # neither order nor other ids decide, but for their ranks


def test_a_task_alone_asks_what_it_asks_in_a_batch(csv: Path) -> None:
    family = make(csv)
    tasks = family.sample("train", 8, seed=0)
    for together, alone in zip(ask(family, tasks), ask(family, tasks[5:6]), strict=True):
        np.testing.assert_array_equal(together.observations[:, 5:6], alone.observations)
        np.testing.assert_array_equal(together.targets[:, 5:6], alone.targets)


def test_observations_hold_what_the_table_says(csv: Path) -> None:
    family = make(csv)
    columns = family.columns
    assert columns["context"].stop == family.observation_space.shape[0] == 3 + 2 + 6 + 1 + 4
    assert make(csv, context=False).columns["context"] == slice(12, 12)
    row = np.array([5])
    seen, time = family.inputs.observe(row)[0], family.table.time
    assert time is not None
    hour, weekday = 2 * np.pi * (time[5] % 86400) / 86400, 2 * np.pi * ((time[5] + 3 * 86400) % 604800) / 604800
    expected = [np.sin(hour), np.cos(hour), np.sin(weekday), np.cos(weekday)]
    np.testing.assert_allclose(seen[columns["context"]], expected, atol=1e-6)
    scaled = family.inputs.ratings[family.pools.fitted, columns["count"]]
    assert scaled.mean() == pytest.approx(0, abs=1e-5) and scaled.std() == pytest.approx(1, abs=1e-5)


def test_items_held_out_have_the_mean_of_all_and_their_features_alone(csv: Path) -> None:
    family = make(csv, new="items")
    held = shares(family.table.items, 0) > 0
    np.testing.assert_array_equal(family.inputs.items[held, :2], 0)
    np.testing.assert_array_equal(family.inputs.items[held, 3:], 0)
    assert (family.inputs.items[~held, :2] != 0).all() and family.table.item_features.values[held].any()


def test_the_reward_is_minus_the_absolute_error_of_a_clipped_answer(csv: Path) -> None:
    family = make(csv)
    assert family.score(np.array([[4.5]], np.float32), np.array([[3.0]], np.float32)).tolist() == [-1.5]
    evaluation = evaluate(make_agent("random", family), family, num_tasks=6)
    np.testing.assert_allclose(evaluation.outcomes["MAE"].values, -evaluation.returns, rtol=1e-6)


def test_outcomes_of_a_round_are_those_of_a_loop_over_users(csv: Path) -> None:
    family = make(csv, queries=8)
    evaluation = evaluate(make_agent("random", family), family, num_tasks=6)
    assert set(evaluation.outcomes) == set(family.outcomes) and len(family.outcomes) == 8
    told = {name: outcome.values for name, outcome in evaluation.outcomes.items()}
    assert told["MAE"].shape == (6, 2) and told["RMSE"].shape == (2,)
    assert (told["RMSE"] >= told["MAE"].mean(axis=0)).all()
    assert 0 < told["coverage@5"][1] <= 1 and 0 <= told["Gini@5"][1] < 1
    assert ((told["nDCG@5"] > 0) & (told["nDCG@5"] < 1 + 1e-9)).all()


def test_an_oracle_has_the_best_of_every_measure(csv: Path) -> None:
    family = make(csv, queries=8)
    tasks = family.sample("test", 4, seed=0)
    with contextlib.closing(family.make_vec(tasks)) as envs:
        envs.restart(seed=0)
        asked = envs.asked()
    assert asked is not None
    played = _Played(asked)
    found = family.measure_round(tasks.values, 0, played)
    assert (found["MAE"] == 0).all() and (found["RMSE"][:, 0] == 0).all()
    np.testing.assert_allclose(found["nDCG@5"], 1.0)
    counts = found["coverage@5"].sum(axis=0).reshape(2, -1)
    assert counts[0].sum() == 4 * 3 and (counts[1] == counts[0]).all()  # all three shown are in a list of five


class _Played:
    """A round whose answers are right."""

    def __init__(self, asked: Asked) -> None:
        self.observations, self.targets = asked.observations[:, :, None], asked.targets[:, :, None]
        self.actions, self.mask = self.targets, asked.mask[:, :, None]
        self.rewards = np.zeros(self.mask.shape)
        self.final_observations = self.observations[-1]


def test_users_with_few_or_many_ratings_are_left_out_and_counted(tmp_path: Path) -> None:
    few = "".join(f"few{number},i1,3,1000000000,Film 1,x,5,20\n" for number in range(10))
    path = write_csv(tmp_path, ratings_csv(num_users=40, per_user=30) + few.replace("x,5,20", _of_film_1(tmp_path)))
    family = make(path)
    assert sum(family.pools.left_out.values()) == 10
    members = np.concatenate(list(family.pools.members.values())) % len(family.table.users)
    assert len(members) == 40 and (family.table.counts[members] >= 6).all()
    with pytest.raises(
        MetarlError, match=r"none of the \d+ users in split '\w+' of file 'mine.csv' has 6 ratings and at mo"
    ):
        make(path, most_ratings=29)
    with pytest.raises(
        MetarlError, match=r"none of the \d+ users in split 'train' of .* has 33 ratings; lower shots or"
    ):
        make(path, queries=30)


def _of_film_1(folder: Path) -> str:
    line = next(line for line in ratings_csv(num_users=40, per_user=30).splitlines() if line.split(",")[1] == "i1")
    return ",".join(line.split(",")[5:])


def test_settings_that_the_ratings_cannot_serve_are_refused(csv: Path, tmp_path: Path) -> None:
    for settings, words in (
        ({"digest": "0"}, r"digest is '0', and the ratings of file 'mine.csv' have '\w+'; restore those of before"),
        ({"folder": str(tmp_path)}, r"file is '.*mine.csv' and folder is '.*'; give one of both"),
        ({"fold": 10}, r"setting 'fold' of family 'ratings' is 10: .* less than or equal to 9"),
        ({"scale": (1.0, 4.0)}, r"has rating 5 in line \d+, outside the scale from 1 to 4; correct it, or give the sc"),
    ):
        with pytest.raises(MetarlError, match=words):
            make(csv, **settings)
    timeless = write_csv(
        tmp_path, "user,item,rating\n" + "".join(f"u{n},i{k},{n % 5}\n" for n in range(30) for k in range(9))
    )
    with pytest.raises(
        MetarlError, match=r"order is 'time', and the ratings of file 'mine.csv' have no times; add a col"
    ):
        make(timeless, order="time")


@pytest.mark.parametrize("user", [-1.0, 0.5, 4000.0])
def test_a_task_of_a_user_that_is_none_is_refused(csv: Path, user: float) -> None:
    family = make(csv)
    with pytest.raises(MetarlError, match=r"user .* is no task; take a place that `metarl.load"):
        family.make_vec(family.tasks({"user": user}))


def test_a_run_holds_its_own_copy_of_a_file_that_a_config_names(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("METARL_CACHE", str(tmp_path / "cache"))
    path = write_csv(tmp_path, ratings_csv())
    config = tmp_path / "config.yaml"
    config.write_text("family: {name: ratings, file: mine.csv, shots: 3, queries: 3}\nagent: random\n")
    resolved = resolve(load_config(config))
    assert resolved["family"]["file"].startswith("models/")
    keep_models(tmp_path / "run", resolved["family"])
    before = make(path).table.digest
    path.unlink()
    assert make(resolved["family"]["file"]).table.digest == before == resolved["family"]["digest"]  # type: ignore[arg-type]


def test_a_family_that_goes_to_another_process_takes_its_settings_alone(csv: Path) -> None:
    family = make(csv)
    assert family.inputs.size and len(sent := pickle.dumps(family)) < 2000
    assert pickle.loads(sent) == family


def test_pictures_show_the_titles_of_what_a_user_rated(csv: Path) -> None:
    family = make(csv)
    figure = tasks_figure(family, 1)
    written = {label.get_text() for axes in figure.axes for label in axes.get_yticklabels()}
    shown = rows(family, "train", 1, 1)[0][0]
    assert {family.table.titles[at] for at in family.table.item[shown]} <= written


def test_a_new_user_is_asked_what_a_test_user_is_asked(csv: Path) -> None:
    family = make(csv)
    table = family.table
    user = int(family.pools.members["test"][0]) % len(table.users)
    rows = np.flatnonzero(table.user == user)
    assert table.time is not None
    for row in rows[:5]:
        seen = family.observe([table.items[table.item[row]]], like=table.users[user], time=float(table.time[row]))
        np.testing.assert_array_equal(seen[0], family.inputs.observe(rows[:1] * 0 + row)[0])


def test_a_user_of_whom_nothing_is_known_is_in_the_middle(csv: Path) -> None:
    family = make(csv)
    seen = family.observe(family.items[:7])
    assert seen.shape == (7, family.inputs.size) and seen.dtype == np.float32
    np.testing.assert_allclose(seen[:, family.columns["context"]], 0)
    np.testing.assert_allclose(seen[:, family.columns["user"]], 0, atol=1e-5)
    assert family.titles[family.items[3]].startswith("Film ")


def test_items_and_users_that_are_not_there_are_told(csv: Path) -> None:
    family = make(csv)
    for call in (lambda: family.observe(["nothing"]), lambda: family.observe(["i1"], like="nobody")):
        with pytest.raises(
            MetarlError, match=r"(item 'nothing'|user 'nobody') is not in the ratings of .*; take the id"
        ):
            call()


@pytest.mark.parametrize("split", ["train", "test"])
def test_a_question_is_told_by_the_title_of_its_item(split: str, csv: Path) -> None:
    family = make(csv)
    with contextlib.closing(family.make_vec(family.sample(split, 4, seed=0))) as envs:
        trial = run_trial(make_agent("random", family), envs, 2, seed=0)
    for task, row in enumerate(trial.tasks):
        asked = trial.rounds[1].observations[:, task, 0]
        assert trial.rounds[1].targets is not None
        rows = family.rows_of(int(row["user"]), asked, trial.rounds[1].targets[:, task, 0])
        assert [family.tell(each) for each in asked] == [family.table.titles[at] for at in family.table.item[rows]]
    assert family.tell_answer(np.array([3.5])) == "rated 3.5"


def test_items_that_look_alike_are_told_as_such(tmp_path: Path) -> None:
    lines = [line.rsplit(",", 4)[0] for line in ratings_csv(num_users=80, per_user=20).splitlines()]
    family = make(write_csv(tmp_path, "\n".join(lines)), new="items", queries=1, shots=1)
    new = [item for item in family.items if family.tell(family.observe([item])[0]) != item]
    assert len(new) > 1 and all(" like it" in family.tell(family.observe([item])[0]) for item in new)
