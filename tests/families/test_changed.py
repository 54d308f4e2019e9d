"""Settings of a family that may change under a trained agent: those that leave spaces and splits as they are."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import metarl
from metarl.base.errors import MetarlError
from metarl.families.changed import require_playable
from tests.envs.recommender.making import ratings_csv, write_csv

CHANGES: dict[str, tuple[str, dict[str, Any], dict[str, Any]]] = {
    "weights of objectives": ("recommender", {}, {"weights": (1.0, 0.0, 0.0)}),
    "shorter episodes": ("point-dense", {"horizon": 20}, {"horizon": 10}),
    "other items": ("recommender", {}, {"catalogue_seed": 3}),
    "nothing": ("sinusoid", {}, {}),
}
REFUSED: dict[str, tuple[str, dict[str, Any], dict[str, Any], str]] = {
    "observations": ("recommender", {}, {"context": False}, "the observation space is Box"),
    "actions": ("recommender", {}, {"num_items": 7}, "the action space is Discrete(7), and the agent was trained with"),
    "reveal": ("sinusoid", {}, {"reveal": "never"}, "the reveal is never, and the agent was trained with round"),
    "longer episodes": ("point-dense", {"horizon": 20}, {"horizon": 21}, "an episode has 21 steps, and the agent was"),
}


@pytest.mark.parametrize("change", CHANGES)
def test_settings_that_leave_the_spaces_are_playable(change: str) -> None:
    name, settings, changed = CHANGES[change]
    require_playable(metarl.load(name, **settings), metarl.load(name, **settings | changed))


@pytest.mark.parametrize("change", REFUSED)
def test_settings_that_change_what_an_agent_sees_or_does_are_refused(change: str) -> None:
    name, settings, changed, told = REFUSED[change]
    with pytest.raises(MetarlError) as error:
        require_playable(metarl.load(name, **settings), metarl.load(name, **settings | changed))
    assert told in str(error.value) and "train an agent with" in str(error.value)


def test_settings_that_could_make_a_test_of_what_was_trained_on_are_refused(tmp_path: Path) -> None:
    settings = {"file": str(write_csv(tmp_path, ratings_csv())), "shots": 3, "queries": 3}
    trained = metarl.load("ratings", **settings)
    require_playable(trained, metarl.load("ratings", **settings | {"shots": 2, "order": "time"}))
    other = metarl.load("ratings", **settings | {"fold": 2})
    train, test = trained.parameters["user"].of("train"), other.parameters["user"].of("test")
    # Places of test users have twice the number of users added.
    assert {value - 2 * 30 for value in test.values} <= set(train.values)
    with pytest.raises(MetarlError, match=r"user has other values in training and tests .* trained on a test"):
        require_playable(trained, other)
