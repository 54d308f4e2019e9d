"""How sure agents that learn from right answers are of theirs."""

from __future__ import annotations

import numpy as np
import pytest

import metarl
from metarl.trials.rollout import rounds_of
from tests.families.asked import Bindings, Lines

QUICK = {
    "maml": {"hidden_sizes": [8]},
    "ridge": {"hidden_sizes": [8]},
    "leo": {"hidden_sizes": [8]},
    "neural-process": {},
}
AT_ONCE = [*QUICK, "prototypes"]


def last_round(agent: metarl.Agent, family: metarl.TaskFamily) -> metarl.Episodes:
    rounds = rounds_of(agent, family.make_vec(family.sample("test", 5, seed=0), 2), seed=0)
    next(rounds)
    return next(rounds)


@pytest.mark.parametrize("name", AT_ONCE)
def test_an_agent_gives_its_own_answers_the_highest_probability_of_all_classes(name: str) -> None:
    agent = metarl.make_agent(name, Bindings(), QUICK.get(name, {}), seed=1)
    first = next(rounds_of(agent, Bindings().make_vec(Bindings().sample("test", 5, seed=0), 2), seed=0))
    episodes = last_round(agent, Bindings())
    for each in (first, episodes):
        assert each.confidences is not None and each.confidences.shape == each.mask.shape
        assert (each.confidences >= 1 / 3 - 1e-9).all() and (each.confidences <= 1).all()
    assert episodes.confidences is not None and np.ptp(episodes.confidences) > 0


def test_prototypes_are_as_sure_as_a_softmax_of_distances_is() -> None:
    family = Bindings()
    agent = metarl.make_agent("prototypes", family, {"initial_scale": 0.01}, seed=1)
    rounds = rounds_of(agent, family.make_vec(family.sample("test", 5, seed=0)), seed=0)
    support, queries = next(rounds), next(rounds)
    assert support.targets is not None and queries.confidences is not None
    for task in range(5):
        x, y = support.observations[:, task, 0], support.targets[:, task, 0]
        means = np.stack([x[y == label].mean(axis=0) for label in range(3)])
        logits = -0.01 * np.square(queries.observations[:, task, 0][:, None] - means).sum(-1)
        odds = np.exp(logits - logits.max(axis=1, keepdims=True))
        np.testing.assert_allclose(queries.confidences[:, task, 0], odds.max(1) / odds.sum(1), rtol=1e-3)


def test_a_memory_that_learns_from_targets_says_how_sure_it_is_and_one_that_learns_from_rewards_does_not() -> None:
    family = Bindings(reveal="step")
    memory = {"memory": {"name": "gru", "hidden_size": 8}}
    taught = last_round(metarl.make_agent("rl2", family, {**memory, "learns_from": "targets"}), family)
    assert taught.confidences is not None and (taught.confidences >= 1 / 3 - 1e-6).all()
    assert last_round(metarl.make_agent("rl2", family, memory), family).confidences is None


@pytest.mark.parametrize("name", [*QUICK])
def test_guesses_of_numbers_have_no_probability(name: str) -> None:
    assert last_round(metarl.make_agent(name, Lines(), QUICK[name]), Lines()).confidences is None
