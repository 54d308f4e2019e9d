"""Neural processes: one answer against a plain loop, sets without an order, and what they learn."""

from __future__ import annotations

import contextlib
import math
from typing import Any

import numpy as np
import pytest
import torch
from metarl.agents.supervised.head_agent import HeadAgent
from metarl.agents.supervised.neural_process import NeuralProcess
from metarl.agents.supervised.support import Support
from torch import Tensor

from metarl.base.errors import MetarlError
from metarl.checks.check import check_agent
from metarl.checks.questions import Guess, Sort
from metarl.trials.registered import make_agent
from metarl.trials.rollout import run_trial
from tests.agents.supervised.test_ridge import learned, made, numbers, trial_of
from tests.families.asked import Bindings, Lines

SMALL: dict[str, Any] = {"value_size": 6, "pools": {"name": "attention", "num_heads": 2}}
POOLS: list[Any] = [{"name": "attention", "num_heads": 2}, "mean"]


def support(tasks: int = 2, questions: int = 5) -> Support:
    answers = numbers(tasks, questions, 1, seed=1)
    mask = torch.ones(tasks, questions, dtype=torch.float64)
    mask[1, 2:] = 0
    features = numbers(tasks, questions, 7)
    return Support(features, features, answers, answers, mask)


def layer(parameters: dict[str, Tensor], name: str, x: Tensor) -> Tensor:
    hidden = torch.tanh(parameters[f"{name}.layers.0.weight"] @ x + parameters[f"{name}.layers.0.bias"])
    return parameters[f"{name}.layers.1.weight"] @ hidden + parameters[f"{name}.layers.1.bias"]


def answer_of_loop(parameters: dict[str, Tensor], known: list[tuple[Tensor, Tensor]], asked: Tensor) -> Tensor:
    """Return the answer to one question, from one answered question after the other and one head after the other."""
    attends, slot = "query" in parameters, parameters["nothing"]
    values = [slot[:6], *(layer(parameters, "read", torch.cat([x, y])) for x, y in known)]
    parts = [asked, torch.stack(values).mean(0)]
    if attends:
        keys = [slot[6:], *(parameters["key"] @ x for x, _ in known)]
        query = parameters["query"] @ asked
        for head in (slice(0, 3), slice(3, 6)):
            weights = torch.stack([(query[head] @ key[head]) / math.sqrt(3) for key in keys]).softmax(0)
            parts.append(sum((w * value[head] for w, value in zip(weights, values, strict=True)), torch.zeros(3)))
    return layer(parameters, "give", torch.cat(parts))


@pytest.mark.parametrize("pools", POOLS)
def test_answers_and_gradients_are_those_of_a_loop(pools: Any) -> None:
    agent = made("neural-process", Lines(), value_size=6, pools=pools)
    parameters = {name: value + 0.1 * numbers(*value.shape, seed=5) for name, value in agent.of_head.items()}
    data, asked = support(), numbers(2, 3, 7, seed=2)
    found = agent.head.outputs(parameters, agent.head.fit(parameters, data, None).weights, asked)
    known = [
        [(data.features[n, i], data.answers[n, i]) for i in range(5) if data.mask[n, i]] for n in range(len(data.mask))
    ]
    loop = torch.stack([torch.stack([answer_of_loop(parameters, known[n], x) for x in asked[n]]) for n in range(2)])
    torch.testing.assert_close(found, loop)
    names = list(parameters)
    ours, theirs = (torch.autograd.grad(each.square().sum(), [parameters[n] for n in names]) for each in (found, loop))
    for name, one, other in zip(names, ours, theirs, strict=True):
        torch.testing.assert_close(one, other, msg=name)
        assert one.abs().max() > 0, name


@pytest.mark.parametrize("pools", POOLS)
def test_the_order_of_answered_questions_and_those_that_were_not_asked_change_nothing(pools: Any) -> None:
    agent = made("neural-process", Lines(), value_size=6, pools=pools)
    data, asked = support(), numbers(2, 3, 7, seed=2)
    whole = agent.head.outputs(agent.of_head, agent.head.fit(agent.of_head, data, None).weights, asked)
    order = torch.tensor([3, 0, 4, 2, 1])
    moved = Support(*(each[:, order] for each in data))
    torch.testing.assert_close(
        agent.head.outputs(agent.of_head, agent.head.fit(agent.of_head, moved, None).weights, asked), whole
    )
    short = Support(*(each[1:, :2] for each in data))
    torch.testing.assert_close(
        agent.head.outputs(agent.of_head, agent.head.fit(agent.of_head, short, None).weights, asked[1:]), whole[1:]
    )


def test_a_task_without_answers_is_answered_by_the_slot() -> None:
    agent = made("neural-process", Lines(), **SMALL)
    none = Support(*(each[:, :0] for each in support()))
    fitted = agent.head.fit(agent.of_head, none, None).weights
    torch.testing.assert_close(agent.start(2), fitted)
    assert agent.head.outputs(agent.of_head, agent.start(2), numbers(2, 3, 7)).isfinite().all()


def test_a_learner_answers_as_the_update_scores_it() -> None:
    family = Bindings()
    agent: HeadAgent = made("neural-process", family, **SMALL)
    trial = trial_of(agent, family, rounds=3)
    with contextlib.closing(family.make_vec(trial.tasks)) as envs:
        played = run_trial(agent, envs, 3, seed=0)
    metrics = agent.update(trial, np.random.default_rng(0))
    scores = played.scores(family.measure).mean(axis=(1, 2))
    assert [metrics["return_before"], metrics["return_after"]] == pytest.approx(scores[[0, 2]].tolist(), rel=1e-5)


def test_it_keeps_every_rule_of_agents() -> None:
    assert not check_agent(NeuralProcess, [Guess(), Sort()])


@pytest.mark.parametrize("pools", ["attention", "mean"])
def test_sinusoids_are_learned_in_a_few_hundred_updates(pools: str) -> None:
    before, after = learned("neural-process", {"learning_rate": 3e-3, "pools": pools}, 300, 0.5)
    assert after > 0.5 * before


def test_heads_that_do_not_share_the_values_are_refused() -> None:
    with pytest.raises(MetarlError, match=r"value_size is 10, which 4 heads cannot share"):
        make_agent("neural-process", Lines(), {"value_size": 10})
