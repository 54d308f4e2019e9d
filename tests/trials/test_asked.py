"""Many questions to a policy at once: the same as one after the other."""

from __future__ import annotations

import contextlib
from typing import Any

import numpy as np
import pytest

from metarl.base.errors import MetarlError
from metarl.families.family import TaskFamily
from metarl.families.load import load
from metarl.trials.policy import Policy
from metarl.trials.registered import make_agent
from metarl.trials.rollout import run_trial
from tests.families.asked import Bindings, LeastSquares, Lines, Rote

AGENTS: dict[str, dict[str, Any]] = {
    "maml": {"inner_lr": 0.3},
    "ridge": {"hidden_sizes": [8]},
    "neural-process": {"hidden_sizes": [8]},
    "from-scratch": {"num_steps": 5},
}


@pytest.mark.parametrize("name", AGENTS)
def test_answers_after_learning_are_those_of_a_trial(name: str) -> None:
    family = load("sinusoid")
    agent = make_agent(name, family, AGENTS[name])
    with contextlib.closing(family.make_vec(family.sample("test", 1, seed=0))) as envs:
        support, queries = run_trial(agent, envs, 2, seed=4).rounds
    assert support.targets is not None
    policy = Policy(agent, family)
    policy.reset(seed=4)
    policy.learn(support.observations[:, 0, 0], support.targets[:, 0, 0])
    np.testing.assert_allclose(policy.answer(queries.observations[:, 0, 0]), queries.actions[:, 0, 0], atol=1e-5)
    assert policy.rounds == 1


@pytest.mark.parametrize("name", AGENTS)
def test_learning_at_once_is_acting_on_each_and_ending_the_episode(name: str) -> None:
    family = load("sinusoid")
    agent, rng = make_agent(name, family, AGENTS[name]), np.random.default_rng(0)
    x = rng.uniform(-5, 5, (7, 1)).astype(np.float32)
    y = np.sin(x)
    at_once, each = Policy(agent, family), Policy(agent, family)
    reward, target = 0.0, None
    for question, right in zip(x, y, strict=True):
        answer = each.act(question, reward, target=target)
        reward, target = float(family.score(answer[None], right[None])[0]), right
    each.end_episode(x[-1], reward, truncated=True, target=target)
    at_once.learn(x, y)
    np.testing.assert_allclose(at_once.answer(x), each.answer(x), atol=1e-5)


def test_answering_teaches_nothing_and_takes_no_step() -> None:
    policy = Policy(LeastSquares(), Lines())
    x = np.array([[0.5], [-0.25]], dtype=np.float32)
    np.testing.assert_array_equal(policy.answer(x), 0)
    policy.learn(x, 2 * x)
    first = policy.answer(x)
    np.testing.assert_allclose(first, 2 * x, atol=1e-6)
    np.testing.assert_array_equal(policy.answer(x[::-1])[::-1], first)
    np.testing.assert_array_equal(policy.act(x[0]), first[0])
    assert policy.rounds == 1


def test_an_agent_with_a_memory_learns_one_after_the_other_and_is_not_asked_many() -> None:
    family = Bindings(reveal="step", queries=4)
    policy = Policy(Rote(), family)
    angle = 2 * np.pi / 3
    kinds = np.zeros((3, 8), dtype=np.float32)
    kinds[:, :2] = [[1, 0], [np.cos(angle), np.sin(angle)], [np.cos(2 * angle), np.sin(2 * angle)]]
    # The label that came with the last question is shown with the next one.
    policy.learn(np.tile(kinds, (5, 1)), np.tile([2, 0, 1], 5))
    assert policy.rounds == 1 and policy.act(kinds[0]) == 2
    with pytest.raises(MetarlError, match="takes one question after the other"):
        policy.answer(kinds)


@pytest.mark.parametrize(
    ("family", "observations", "targets", "message"),
    [
        (Lines(), [[0.1]], [[0.1], [0.2]], r"targets has shape \(2, 1\).*it must be \(1, 1\)"),
        (Lines(), [[0.1]], [[9.0]], r"targets has \[9\.\]; it must be finite and lie in Box"),
        (Lines(), [[0.1]], [[float("nan")]], r"targets has \[nan\]"),
        (Lines(), [0.1], [[0.1]], r"observations has shape \(1,\)"),
        (Lines(), [], [], r"with at least one question"),
        (Lines(), [[float("inf")]], [[0.1]], "not finite"),
        (Lines(reveal="never"), [[0.1]], [[0.1]], "reveals no right answers"),
        (load("point-dense"), [[0.1, 0.1]], [[0.1, 0.1]], "asks no questions"),
    ],
)
def test_what_does_not_fit_is_told(family: TaskFamily, observations: Any, targets: Any, message: str) -> None:
    policy = Policy(make_agent("random", family), family)
    with pytest.raises(MetarlError, match=message) as caught:
        policy.learn(observations, targets)
    assert "\n" not in str(caught.value)


def test_learning_waits_for_the_end_of_an_episode_and_for_a_single_environment() -> None:
    policy = Policy(LeastSquares(), Lines())
    policy.act([0.1])
    with pytest.raises(MetarlError, match="one is under way; call end_episode first"):
        policy.learn([[0.1]], [[0.1]])
    several = Policy(LeastSquares(), Lines(), num_envs=2)
    for call in (lambda: several.learn([[0.1]], [[0.1]]), lambda: several.answer([[0.1]])):
        with pytest.raises(MetarlError, match="is for a single environment; leave num_envs out"):
            call()
