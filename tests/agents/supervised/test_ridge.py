"""Ridge regression on features: the solution, its gradients, and what it learns."""

from __future__ import annotations

import contextlib
from typing import Any

import numpy as np
import pytest
import torch
from gymnasium import spaces
from metarl.agents.leo.agent import LEO
from metarl.agents.supervised.head_agent import HeadAgent
from metarl.agents.supervised.ridge import BIAS, LOG_LAMBDA, SCALE, Ridge, RidgeHead, ridge_weights
from metarl.agents.supervised.support import Support
from torch import Tensor

from metarl.base.errors import MetarlError
from metarl.checks.check import check_agent
from metarl.checks.questions import Guess, Sort
from metarl.evaluation.evaluate import evaluate
from metarl.families.family import TaskFamily
from metarl.families.load import load
from metarl.trials.agent import Agent
from metarl.trials.episodes import Trial
from metarl.trials.registered import make_agent
from metarl.trials.rollout import run_trial
from tests.families.asked import Lines

SETTINGS: dict[str, Any] = {"hidden_sizes": [8, 7], "dtype": "float64", "activation": "tanh"}


def made(name: str, family: TaskFamily, **settings: Any) -> HeadAgent:
    return of_heads(make_agent(name, family, {**SETTINGS, **settings}, seed=1))


def of_heads(agent: Agent) -> HeadAgent:
    """Return an agent as one of heads: LEO's own, where it learns from right answers."""
    own = agent.world if isinstance(agent, LEO) else agent
    assert isinstance(own, HeadAgent)
    return own


def trial_of(agent: HeadAgent, family: TaskFamily, rounds: int = 2, replicas: int = 1) -> Trial:
    with contextlib.closing(family.make_vec(family.sample("train", 3, seed=0), replicas)) as envs:
        return run_trial(agent, envs, rounds, seed=0, training=True)


def numbers(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@pytest.mark.parametrize("questions", [1, 4, 6, 20])
def test_the_solution_is_the_minimum_with_fewer_and_with_more_questions_than_features(questions: int) -> None:
    features, answers, penalty = numbers(2, questions, 6), numbers(2, questions, 3, seed=1), torch.tensor(0.7)
    weights = ridge_weights(features, answers, penalty.double()).requires_grad_(True)
    loss = (features @ weights.transpose(1, 2) - answers).square().sum() + 0.7 * weights.square().sum()
    (gradient,) = torch.autograd.grad(loss, weights)
    assert float(gradient.abs().max()) < 1e-6
    # Woodbury's identity and the normal equations agree to rounding.
    normal = features.transpose(1, 2) @ features + 0.7 * torch.eye(6, dtype=torch.float64)
    direct = torch.linalg.solve(normal, features.transpose(1, 2) @ answers).transpose(1, 2)
    torch.testing.assert_close(weights.detach(), direct, rtol=1e-6, atol=1e-6)


def test_questions_that_were_not_asked_change_nothing() -> None:
    features, answers = numbers(2, 5, 4), numbers(2, 5, 3, seed=1)
    head, mask = RidgeHead(4, 3, 0.5, 1.0), torch.ones(2, 5, dtype=torch.float64)
    mask[:, 3:] = 0
    parameters = head.initial_parameters(torch.Generator())
    whole = head.fit(parameters, Support(features, features, answers, answers, mask), None).weights
    short = Support(*(each[:, :3] for each in (features, features, answers, answers, mask)))
    torch.testing.assert_close(whole, head.fit(parameters, short, None).weights)


def loss_of_loop(agent: HeadAgent, trial: Trial, parameters: dict[str, Tensor], classes: bool) -> Tensor:
    """Return the loss of an update, task after task and question after question."""
    losses = []
    for task in range(3):
        seen: list[tuple[Tensor, Tensor]] = []
        for number, episodes in enumerate(trial.rounds):
            assert episodes.targets is not None
            rows = []
            for t, replica in np.ndindex(*episodes.mask.shape[::2]):
                x = torch.as_tensor(episodes.observations[t, task, replica], dtype=torch.float64)
                for layer in range(2):
                    x = torch.tanh(parameters[f"layers.{layer}.weight"] @ x + parameters[f"layers.{layer}.bias"])
                right = torch.as_tensor(episodes.targets[t, task, replica])
                y = torch.eye(3, dtype=torch.float64)[right] if classes else right.double()
                rows.append((x, y))
            if number:
                z, y = (torch.stack(each) for each in zip(*seen, strict=True))
                system = z.T @ z + parameters[f"head.{LOG_LAMBDA}"].exp() * torch.eye(z.shape[1], dtype=z.dtype)
                head = torch.linalg.inv(system) @ z.T @ y
                for x, right in rows:
                    output = parameters[f"head.{SCALE}"] * x @ head + parameters[f"head.{BIAS}"]
                    error = -(output.log_softmax(-1) * right).sum() if classes else (output - right).square().mean()
                    losses.append(error / len(rows) / (len(trial.rounds) - 1))
            seen += rows
    return torch.stack(losses).sum() / 3


@pytest.mark.parametrize("family", [Lines(shots=4), Sort()])
def test_the_gradient_is_that_of_a_loop_and_of_finite_differences(family: TaskFamily) -> None:
    classes = isinstance(family.action_space, spaces.Discrete)
    agent = made("ridge", family)
    trial = trial_of(agent, family, rounds=3, replicas=2)
    loss, _, _ = agent.loss([agent.support(agent.reader.read(episodes)) for episodes in trial.rounds], None)
    names = list(agent.parameters)
    found = torch.autograd.grad(loss, list(agent.parameters.values()))
    copies = {name: value.detach().clone().requires_grad_(True) for name, value in agent.parameters.items()}
    loop = loss_of_loop(agent, trial, copies, classes)
    torch.testing.assert_close(loss, loop)
    expected = torch.autograd.grad(loop, list(copies.values()))
    for name, ours, theirs in zip(names, found, expected, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-7, atol=1e-9, msg=name)
        direction = numbers(*ours.shape, seed=2)
        moved = [
            loss_of_loop(agent, trial, {**copies, name: copies[name] + step * direction}, classes).item()
            for step in (1e-5, -1e-5)
        ]
        assert float((ours * direction).sum()) == pytest.approx((moved[0] - moved[1]) / 2e-5, rel=1e-5, abs=1e-8)


def test_features_that_are_not_learned_stay_as_another_agent_left_them() -> None:
    trained, agent = made("ridge", Lines()), made("ridge", Lines(), learns_features=False)
    trial = trial_of(trained, Lines())
    trained.update(trial, np.random.default_rng(0))
    before = trained.state_dict()
    agent.load_state_dict(before)
    agent.update(trial, np.random.default_rng(0))
    moved = {name for name, value in agent.state_dict().items() if not torch.equal(value, before[name])}
    assert {name for name in moved if not name.startswith("adam.")} == {f"head.{n}" for n in (LOG_LAMBDA, SCALE, BIAS)}


def test_a_learner_answers_from_all_rounds_and_as_the_update_scores_it() -> None:
    family = Lines()
    agent = made("ridge", family)
    trial = trial_of(agent, family, rounds=3)
    with contextlib.closing(family.make_vec(trial.tasks)) as envs:
        played = run_trial(agent, envs, 3, seed=0)
    metrics = agent.update(trial, np.random.default_rng(0))
    scores = played.scores(family.measure).mean(axis=(1, 2))
    assert [metrics["return_before"], metrics["return_after"]] == pytest.approx(scores[[0, 2]].tolist(), rel=1e-5)


def test_it_keeps_every_rule_of_agents() -> None:
    assert not check_agent(Ridge, [Guess(), Sort()])


def test_an_encoder_alone_gives_features() -> None:
    agent = made("ridge", Lines(), hidden_sizes=[])
    assert agent.size == 1 and not agent.features
    assert np.isfinite(agent.update(trial_of(agent, Lines()), np.random.default_rng(0))["loss"])


def learned(name: str, settings: dict[str, Any], num_updates: int, share: float) -> tuple[float, float]:
    """Return the scores on test sinusoids before and after adaptation, as soon as the error falls to a share of it."""
    family = load("sinusoid")
    agent = of_heads(make_agent(name, family, settings, seed=0))
    for update in range(num_updates):
        with contextlib.closing(family.make_vec(family.sample("train", 16, seed=0, start=16 * update))) as envs:
            agent.update(run_trial(agent, envs, 2, seed=update, training=True), np.random.default_rng(update))
        if update % 50 == 49:
            before, after = map(float, evaluate(agent, family, num_tasks=100, rounds=2).returns.mean(axis=0))
            if after > share * before:
                break
    return before, after


def test_sinusoids_are_learned_in_a_few_hundred_updates() -> None:
    before, after = learned("ridge", {}, 200, 0.4)
    assert after > 0.4 * before


def test_what_it_cannot_learn_from_is_refused() -> None:
    with pytest.raises(MetarlError, match="agent 'ridge' learns from right answers, and family 'navigation-2d'"):
        make_agent("ridge", load("navigation-2d"))
    family = Lines()
    agent = made("ridge", family)
    with pytest.raises(MetarlError, match="rounds is 1; it must be at least 2: one to adapt to, one to measure"):
        agent.update(trial_of(agent, family, rounds=1), np.random.default_rng(0))
