"""Kernel regression: its answers are those of a loop, users' offsets are its limit, and what it learns."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from metarl.agents.prototypes.kernel import KernelRegression
from metarl.agents.supervised.support import Support
from torch import Tensor

from metarl.base.errors import MetarlError
from metarl.base.streams import Streams
from metarl.checks.check import check_agent
from metarl.checks.questions import Guess, Sort
from metarl.trials.registered import make_agent
from tests.agents.supervised.test_ridge import learned, made, numbers
from tests.families.asked import Bindings, Lines


def support(tasks: int = 2, questions: int = 5) -> Support:
    """Return answered questions; the last three of the second task were not asked."""
    answers = numbers(tasks, questions, 1, seed=1)
    mask = torch.ones(tasks, questions, dtype=torch.float64)
    mask[1, 2:] = 0
    features = numbers(tasks, questions, 7)
    return Support(features, features, answers, answers, mask)


def answer_of_loop(parameters: dict[str, Tensor], known: list[tuple[Tensor, Tensor]], asked: Tensor) -> Tensor:
    """Return the answer to one question, from one answered question after the other."""
    scale, total = parameters["log_scale"].exp(), parameters["log_prior"].exp()
    base = parameters["base"] @ asked + parameters["shift"]
    moved = torch.zeros_like(base)
    for features, answer in known:
        distance = (parameters["points"] @ (asked - features)).square().sum()
        weight = torch.exp(-scale * distance)
        total = total + weight
        moved = moved + weight * (answer - parameters["base"] @ features - parameters["shift"])
    return base + moved / total


def test_answers_and_gradients_are_those_of_a_loop() -> None:
    agent = made("kernel-regression", Lines(), point_size=3)
    parameters = {name: value + 0.1 * numbers(*value.shape, seed=5) for name, value in agent.of_head.items()}
    data, asked = support(), numbers(2, 4, 7, seed=2)
    found = agent.head.outputs(parameters, agent.head.fit(parameters, data, None).weights, asked)
    known = [[(data.features[n, i], data.answers[n, i]) for i in range(5) if data.mask[n, i]] for n in range(2)]
    loop = torch.stack([torch.stack([answer_of_loop(parameters, known[n], x) for x in asked[n]]) for n in range(2)])
    torch.testing.assert_close(found, loop)
    names = list(parameters)
    ours, theirs = (torch.autograd.grad(each.square().sum(), [parameters[n] for n in names]) for each in (found, loop))
    for name, one, other in zip(names, ours, theirs, strict=True):
        torch.testing.assert_close(one, other, msg=name)
        assert one.abs().max() > 0, name


def test_where_all_is_alike_a_user_is_its_shrunken_offset() -> None:
    agent = made("kernel-regression", Lines())
    parameters = agent.of_head | {
        "log_scale": torch.tensor(-200.0, dtype=torch.float64),
        "log_prior": torch.tensor(math.log(3.0), dtype=torch.float64),
    }
    data, asked = support(), numbers(2, 4, 7, seed=2)
    found = agent.head.outputs(parameters, agent.head.fit(parameters, data, None).weights, asked)
    left = data.answers - (data.features @ parameters["base"].T + parameters["shift"])
    offsets = torch.stack([left[0].sum(0) / (5 + 3), left[1, :2].sum(0) / (2 + 3)])
    torch.testing.assert_close(found, asked @ parameters["base"].T + parameters["shift"] + offsets[:, None])


def test_without_an_answered_question_the_answer_is_the_base() -> None:
    agent = made("kernel-regression", Lines())
    none, asked = Support(*(each[:, :0] for each in support())), numbers(2, 4, 7, seed=2)
    base = asked @ agent.of_head["base"].T + agent.of_head["shift"]
    fitted = agent.head.fit(agent.of_head, none, None).weights
    for weights in (agent.start(2), fitted):
        torch.testing.assert_close(agent.head.outputs(agent.of_head, weights, asked), base)
    learner = agent.begin(Streams.of(0, np.zeros((2, 1))))
    assert np.isfinite(learner.answer(np.zeros((3, 2, 1, 1), np.float32), deterministic=True)).all()


def test_it_keeps_every_rule_of_agents() -> None:
    assert not check_agent(KernelRegression, [Guess()])


def test_sinusoids_are_learned_in_a_few_hundred_updates() -> None:
    before, after = learned("kernel-regression", {"learning_rate": 3e-3}, 300, 0.7)
    assert after > 0.7 * before


def test_classes_are_refused_with_the_agent_to_take() -> None:
    for family in (Bindings(), Sort()):
        with pytest.raises(MetarlError, match=r"asks for .*; take a family of numbers, .* agent 'prototypes'"):
            make_agent("kernel-regression", family)
