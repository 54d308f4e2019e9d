"""The meta-objective against finite differences, plain loops and closed forms."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from metarl.agents.maml.agent import MAML

from metarl.families.arrays import ArrayFamily
from metarl.families.load import load
from tests.agents import plain
from tests.agents.maml.problems import (
    ADAPTS,
    HALF,
    OBJECTIVES,
    compare_with_finite_differences,
    compare_with_plain_loops,
    finite_difference,
    mean_gradient,
    new_agent,
    one_task,
    play_trial,
    prepare,
)
from tests.probes import RightArm, UnequalEpisodes


# Two steps go through all that three do; that one and three are right is shown where all rounds count.
@pytest.mark.parametrize("inner_steps", [2, *(pytest.param(steps, marks=pytest.mark.slow) for steps in (1, 3))])
@pytest.mark.parametrize("objective", OBJECTIVES)
@pytest.mark.parametrize("adapts", ADAPTS)
def test_meta_gradient_equals_finite_differences_and_plain_loops(adapts: str, objective: str, inner_steps: int) -> None:
    family = load("navigation-2d", horizon=5)
    agent, rounds = prepare(family, inner_steps + 1, inner_objective=objective, **ADAPTS[adapts])
    compare_with_finite_differences(agent, rounds)
    compare_with_plain_loops(agent, rounds)


@pytest.mark.parametrize("inner_steps", [1, 2, 3])
@pytest.mark.parametrize("objective", OBJECTIVES)
@pytest.mark.parametrize("family", [RightArm(), UnequalEpisodes()])
def test_meta_gradient_is_right_for_discrete_actions_and_unequal_episodes(
    family: ArrayFamily, objective: str, inner_steps: int
) -> None:
    agent, rounds = prepare(family, inner_steps + 1, inner_objective=objective)
    compare_with_finite_differences(agent, rounds)


@pytest.mark.parametrize("hidden", [[], [4, 3, 5]])
def test_meta_gradient_is_right_for_policies_of_any_depth(hidden: list[int]) -> None:
    agent, rounds = prepare(load("navigation-2d", horizon=5), 3, hidden_sizes=hidden)
    compare_with_finite_differences(agent, rounds)
    compare_with_plain_loops(agent, rounds)


@pytest.mark.parametrize("inner_steps", [1, 2, 3])
def test_meta_gradient_is_right_where_all_rounds_count(inner_steps: int) -> None:
    agent, rounds = prepare(load("navigation-2d", horizon=5), inner_steps + 1, outer={"rounds": "all"})
    compare_with_finite_differences(agent, rounds)
    compare_with_plain_loops(agent, rounds)


def test_all_rounds_count_where_nothing_adapts() -> None:
    agent, rounds = prepare(load("navigation-2d", horizon=5), 3, adapts="nothing", outer={"rounds": "all"})
    compare_with_finite_differences(agent, rounds)
    alone = [mean_gradient(agent, (data,)) for data in rounds]
    for name, value in mean_gradient(agent, rounds).items():
        torch.testing.assert_close(value, torch.stack([gradient[name] for gradient in alone]).mean(0))


def test_meta_gradient_holds_the_penalty_on_the_inner_kl_and_the_bonus_for_entropy() -> None:
    agent, rounds = prepare(load("navigation-2d", horizon=5), 3, outer={"inner_kl_coef": 2.0, "ent_coef": 0.5})
    gradient, noise = mean_gradient(agent, rounds), torch.Generator().manual_seed(1)
    direction = {n: torch.randn(g.shape, generator=noise, dtype=g.dtype) for n, g in gradient.items()}

    def loss() -> float:
        outcome = agent.over_tasks.outcomes(agent.parameters, rounds)
        # The entropy of normal actions does not depend on what is observed: each round's follows from its log_std.
        fast, entropies = agent.over_tasks.start(3), []
        for data in rounds:
            entropies.append(fast["log_std"].sum(1) + math.log(2 * math.pi * math.e))
            fast = agent.over_tasks.adapt(fast, data)
        bonus = torch.stack(entropies).mean(0)
        return float((outcome.loss + 2.0 * outcome.inner_kl - 0.5 * bonus).mean())

    exact = sum(float((gradient[name] * direction[name]).sum()) for name in gradient)
    assert finite_difference(agent, loss, direction, 1e-5) == pytest.approx(exact, rel=1e-5)
    assert float(agent.over_tasks.outcomes(agent.parameters, rounds).inner_kl.mean()) > 1e-3


def without_create_graph(agent: MAML, monkeypatch: pytest.MonkeyPatch) -> None:
    step = agent.objective.step_size.step

    def detach(meta: Any, fast: Any, gradients: Any) -> Any:
        return step(meta, fast, {name: gradient.detach() for name, gradient in gradients.items()})

    monkeypatch.setattr(agent.objective.step_size, "step", detach)


def without_stop_gradient(agent: MAML, monkeypatch: pytest.MonkeyPatch) -> None:
    objective = agent.objective.inner_objective
    monkeypatch.setattr(
        agent.objective, "inner_objective", lambda new, old, advantages, mask: objective(new, new, advantages, mask)
    )


def with_mean_over_action_dimensions(agent: MAML, monkeypatch: pytest.MonkeyPatch) -> None:
    log_prob = agent.objective.head.log_prob
    monkeypatch.setattr(agent.objective.head, "log_prob", lambda outputs, actions: log_prob(outputs, actions) / 2)


@pytest.mark.parametrize("objective", ["likelihood-ratio", "dice"])
@pytest.mark.parametrize(
    "broken", [without_create_graph, without_stop_gradient, with_mean_over_action_dimensions], ids=lambda f: f.__name__
)
def test_comparisons_fail_when_the_mathematics_are_broken_by_hand(
    broken: Callable[..., None], objective: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    agent, rounds = prepare(load("navigation-2d", horizon=5), 2, inner_objective=objective)
    broken(agent, monkeypatch)
    with pytest.raises(AssertionError):
        compare_with_finite_differences(agent, rounds)
        compare_with_plain_loops(agent, rounds)


@pytest.mark.parametrize("inner_steps", [1, 2])
def test_first_order_meta_gradient_is_the_gradient_at_the_adapted_parameters(inner_steps: int) -> None:
    family = load("navigation-2d", horizon=5)
    agent, rounds = prepare(family, inner_steps + 1, outer={"meta_gradient": "first-order"})
    compare_with_plain_loops(agent, rounds)
    with pytest.raises(AssertionError):
        compare_with_finite_differences(agent, rounds)


@pytest.mark.parametrize("adapts", ADAPTS)
def test_adapting_all_tasks_in_one_call_equals_a_plain_loop(adapts: str) -> None:
    agent, rounds = prepare(load("navigation-2d", horizon=5), 4, **ADAPTS[adapts])
    fast = agent.over_tasks.start(3)
    for data in rounds[:-1]:
        fast = agent.over_tasks.adapt(fast, data)
    meta = {name: p.detach().clone().requires_grad_(True) for name, p in agent.parameters.items()}
    for task in range(3):
        expected = plain.start(agent, meta)
        for data in rounds[:-1]:
            expected = plain.inner_step(agent, meta, expected, one_task(data, task), HALF)
        for name, value in expected.items():
            torch.testing.assert_close(fast[name][task], value.detach())


def test_adapted_parameters_of_the_linear_gaussian_probe_equal_the_closed_form() -> None:
    """For e = (a - W x - b) / s ~ N(0, 1): grad W = mean A e x' / s, grad log s = mean A (e^2 - 1)."""
    family = load("navigation-2d", horizon=6)
    agent = new_agent(family, hidden_sizes=[], inner_lr=0.2)
    trial = play_trial(agent, family, rounds=4)
    rounds, _ = agent.rounds.replay(trial)
    fast = agent.over_tasks.start(3)
    for data in rounds[:-1]:
        fast = agent.over_tasks.adapt(fast, data)
    start = {name: p.detach().numpy() for name, p in agent.parameters.items()}
    for task in range(3):
        weight, bias, log_std = start["layers.0.weight"], start["layers.0.bias"], start["log_std"]
        for episodes in trial.rounds[:-1]:
            mask = episodes.mask[:, task]
            x = episodes.observations[:, task][mask].astype(np.float64)
            a = episodes.actions[:, task][mask].astype(np.float64) / HALF
            advantages = agent.rounds.advantages(episodes)[0][:, task][mask][:, None]
            std = np.exp(log_std)
            error = (a - x @ weight.T - bias) / std
            pull = advantages * error / std
            weight = weight + 0.2 * pull.T @ x / len(x)
            bias = bias + 0.2 * pull.mean(0)
            log_std = log_std + 0.2 * (advantages * (error**2 - 1)).mean(0)
        for name, expected in (("layers.0.weight", weight), ("layers.0.bias", bias), ("log_std", log_std)):
            np.testing.assert_allclose(fast[name][task].numpy(), expected, rtol=1e-9, atol=1e-12)


def test_an_outcome_measures_kl_and_entropy_over_the_steps_taken() -> None:
    agent, rounds = prepare(UnequalEpisodes(), 3)
    outcome = agent.over_tasks.outcomes(agent.parameters, rounds)
    meta = {name: p.detach().clone().requires_grad_(True) for name, p in agent.parameters.items()}
    for task in range(3):
        fast, kls = plain.start(agent, meta), []
        for data in (one_task(data, task) for data in rounds):
            outputs = agent.objective.outputs(meta, fast, data.observations, data.raw)
            old, new = (torch.distributions.Normal(x[..., :2], x[..., 2:].exp()) for x in (data.old_outputs, outputs))
            taken = data.mask.bool()
            kls.append(torch.distributions.kl_divergence(old, new).sum(-1)[taken].mean().detach())
            entropy = new.entropy().sum(-1)[taken].mean().detach()
            fast = plain.inner_step(agent, meta, fast, data, 1.0)
        torch.testing.assert_close(outcome.kl[task], kls[-1])
        torch.testing.assert_close(outcome.inner_kl[task], torch.stack(kls[:-1]).mean())
        torch.testing.assert_close(outcome.entropy[task], entropy)


def test_log_probability_is_summed_over_action_dimensions() -> None:
    agent = new_agent(load("navigation-2d"))
    outputs = torch.tensor([[0.3, -0.2, 0.1, -0.4]], dtype=torch.float64)
    action = torch.tensor([[0.05, 0.02]], dtype=torch.float64)
    normal = torch.distributions.Normal(outputs[:, :2], outputs[:, 2:].exp())
    expected = normal.log_prob(action / HALF)
    torch.testing.assert_close(agent.objective.head.log_prob(outputs, action), expected[:, 0] + expected[:, 1])


def test_kl_of_both_heads_equals_torchs_own() -> None:
    noise = torch.Generator().manual_seed(0)
    one, other = (torch.randn(5, 4, generator=noise, dtype=torch.float64) for _ in range(2))
    normals = [torch.distributions.Normal(x[:, :2], x[:, 2:].exp()) for x in (one, other)]
    gaussian = new_agent(load("navigation-2d")).objective.head
    torch.testing.assert_close(gaussian.kl(one, other), torch.distributions.kl_divergence(*normals).sum(-1))
    discrete = [torch.distributions.Categorical(logits=x) for x in (one, other)]
    head = new_agent(load("bernoulli-bandit")).objective.head
    torch.testing.assert_close(head.kl(one, other), torch.distributions.kl_divergence(*discrete))
