"""Gradient-based agents against finite differences, plain loops and problems with a known answer."""

from __future__ import annotations

import copy
import math
import re
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
import torch
from metarl.agents.common.advantage import discounted_returns, linear_baseline
from metarl.agents.maml import inner_objectives
from metarl.agents.maml import presets as maml_presets
from metarl.agents.maml.agent import MAML
from metarl.agents.maml.config import MAMLConfig
from metarl.agents.maml.meta_step import mean_cosine
from metarl.agents.maml.objective import global_norm
from metarl.agents.maml.ppo import PPOConfig
from metarl.agents.maml.records import Round
from metarl.agents.maml.trpo import conjugate_gradient
from torch import Tensor

from metarl.base.errors import MetarlError
from metarl.base.settings import choices
from metarl.base.streams import Streams, generator
from metarl.checks.agent import AGENT_CHECKS, Subject, probes
from metarl.families.arrays import ArrayFamily
from metarl.families.load import load
from metarl.families.task import Tasks
from metarl.trials.episodes import Trial
from metarl.trials.registered import AGENTS, make_agent
from metarl.trials.rollout import rollout, run_trial
from tests.agents import plain
from tests.probes import RightArm, Target, UnequalEpisodes

PRESETS = sorted(name for name in AGENTS if issubclass(AGENTS[name], MAML))
ADAPTS: dict[str, dict[str, Any]] = {
    "all": {},
    "all, rates per parameter": {"outer": {"inner_lr_kind": "per-parameter"}},
    "all, rates per tensor": {"outer": {"inner_lr_kind": "learned"}},
    "last layer": {"adapts": "last-layer"},
    "context": {"adapts": {"name": "context", "size": 3}},
    "latent": {"adapts": {"name": "latent", "size": 3}},
}
OBJECTIVES = ["likelihood-ratio", "dice", "policy-gradient"]
HALF = float(np.float32(0.1))
"""Half-range of the actions of 2D navigation, by which actions are scaled."""


def new_agent(family: ArrayFamily, name: str = "maml-ppo", **settings: object) -> MAML:
    agent = make_agent(name, family, {"dtype": "float64", "hidden_sizes": [4], **settings}, seed=3, device="cpu")
    assert isinstance(agent, MAML)
    return agent


def played_trial(agent: MAML, family: ArrayFamily, *, rounds: int, tasks: int = 3, replicas: int = 4) -> Trial:
    envs = family.make_vec(family.sample("train", tasks, seed=5), replicas)
    return run_trial(agent, envs, rounds, seed=8)


def moved_away(agent: MAML, scale: float = 0.05) -> None:
    """Move the parameters off those that acted, where ratios are not one and nothing cancels by accident."""
    noise = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in agent.parameters.values():
            parameter += scale * torch.randn(parameter.shape, generator=noise, dtype=parameter.dtype)


def one_task(played: Round, task: int) -> Round:
    return Round(*(field[task] for field in played))


def mean_gradient(agent: MAML, rounds: tuple[Round, ...]) -> dict[str, Tensor]:
    return {name: value.mean(0) for name, value in agent.over_tasks.task_gradients(rounds)[0].items()}


def finite_difference(agent: MAML, loss: Callable[[], float], direction: dict[str, Tensor], step: float) -> float:
    values = []
    for sign in (1, -1):
        with torch.no_grad():
            for name, parameter in agent.parameters.items():
                parameter += sign * step * direction[name]
        values.append(loss())
        with torch.no_grad():
            for name, parameter in agent.parameters.items():
                parameter -= sign * step * direction[name]
    return (values[0] - values[1]) / (2 * step)


def compare_with_finite_differences(agent: MAML, rounds: tuple[Round, ...]) -> None:
    """Fail unless the meta-gradient is that of the outer loss, whatever lies between it and the meta-parameters."""
    gradient = mean_gradient(agent, rounds)
    noise = torch.Generator().manual_seed(1)
    for _ in range(3):
        direction = {n: torch.randn(g.shape, generator=noise, dtype=g.dtype) for n, g in gradient.items()}
        exact = sum(float((gradient[name] * direction[name]).sum()) for name in gradient)

        def loss() -> float:
            return float(agent.over_tasks.outcomes(agent.parameters, rounds).loss.mean())

        assert finite_difference(agent, loss, direction, 1e-5) == pytest.approx(exact, rel=1e-5, abs=1e-9)


def compare_with_plain_loops(agent: MAML, rounds: tuple[Round, ...]) -> None:
    """Fail unless losses and meta-gradients of every task equal those of tests/agents/plain.py."""
    gradients, outcome = agent.over_tasks.task_gradients(rounds)
    for task in range(len(outcome.loss)):
        meta = {name: p.detach().clone().requires_grad_(True) for name, p in agent.parameters.items()}
        loss = plain.outer_loss(agent, meta, tuple(one_task(played, task) for played in rounds), HALF)
        torch.testing.assert_close(outcome.loss[task], loss.detach())
        expected = torch.autograd.grad(loss, list(meta.values()), allow_unused=True)
        for name, value in zip(meta, expected, strict=True):
            wanted = torch.zeros_like(meta[name]) if value is None else value
            torch.testing.assert_close(gradients[name][task], wanted, rtol=1e-7, atol=1e-10)


def prepared(family: ArrayFamily, rounds: int, **settings: Any) -> tuple[MAML, tuple[Round, ...]]:
    agent = new_agent(family, **{"inner_lr": 0.5, **settings})
    played, _ = agent.rounds.replay(played_trial(agent, family, rounds=rounds))
    moved_away(agent)
    return agent, played


@pytest.mark.parametrize("inner_steps", [1, 2, 3])
@pytest.mark.parametrize("objective", OBJECTIVES)
@pytest.mark.parametrize("adapts", ADAPTS)
def test_meta_gradient_equals_finite_differences_and_plain_loops(adapts: str, objective: str, inner_steps: int) -> None:
    family = load("navigation-2d", horizon=5)
    agent, rounds = prepared(family, inner_steps + 1, inner_objective=objective, **ADAPTS[adapts])
    compare_with_finite_differences(agent, rounds)
    compare_with_plain_loops(agent, rounds)


@pytest.mark.parametrize("inner_steps", [1, 2, 3])
@pytest.mark.parametrize("objective", OBJECTIVES)
@pytest.mark.parametrize("family", [RightArm(), UnequalEpisodes()])
def test_meta_gradient_is_right_for_discrete_actions_and_unequal_episodes(
    family: ArrayFamily, objective: str, inner_steps: int
) -> None:
    agent, rounds = prepared(family, inner_steps + 1, inner_objective=objective)
    compare_with_finite_differences(agent, rounds)


@pytest.mark.parametrize("hidden", [[], [4, 3, 5]])
def test_meta_gradient_is_right_for_policies_of_any_depth(hidden: list[int]) -> None:
    agent, rounds = prepared(load("navigation-2d", horizon=5), 3, hidden_sizes=hidden)
    compare_with_finite_differences(agent, rounds)
    compare_with_plain_loops(agent, rounds)


@pytest.mark.parametrize("inner_steps", [1, 2, 3])
def test_meta_gradient_is_right_where_all_rounds_count(inner_steps: int) -> None:
    agent, rounds = prepared(load("navigation-2d", horizon=5), inner_steps + 1, outer={"rounds": "all"})
    compare_with_finite_differences(agent, rounds)
    compare_with_plain_loops(agent, rounds)


def test_meta_gradient_holds_the_penalty_on_the_inner_kl_and_the_bonus_for_entropy() -> None:
    agent, rounds = prepared(load("navigation-2d", horizon=5), 3, outer={"inner_kl_coef": 2.0, "ent_coef": 0.5})
    gradient, noise = mean_gradient(agent, rounds), torch.Generator().manual_seed(1)
    direction = {n: torch.randn(g.shape, generator=noise, dtype=g.dtype) for n, g in gradient.items()}

    def loss() -> float:
        outcome = agent.over_tasks.outcomes(agent.parameters, rounds)
        # The entropy of normal actions does not depend on what is observed: each round's follows from its log_std.
        fast, entropies = agent.over_tasks.start(3), []
        for played in rounds:
            entropies.append(fast["log_std"].sum(1) + math.log(2 * math.pi * math.e))
            fast = agent.over_tasks.adapt(fast, played)
        bonus = torch.stack(entropies).mean(0)
        return float((outcome.loss + 2.0 * outcome.inner_kl - 0.5 * bonus).mean())

    exact = sum(float((gradient[name] * direction[name]).sum()) for name in gradient)
    assert finite_difference(agent, loss, direction, 1e-5) == pytest.approx(exact, rel=1e-5)
    assert float(agent.over_tasks.outcomes(agent.parameters, rounds).inner_kl.mean()) > 1e-3


def without_create_graph(agent: MAML, monkeypatch: pytest.MonkeyPatch) -> None:
    step = agent.objective.step_size.step

    def detached(meta: Any, fast: Any, gradients: Any) -> Any:
        return step(meta, fast, {name: gradient.detach() for name, gradient in gradients.items()})

    monkeypatch.setattr(agent.objective.step_size, "step", detached)


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
    agent, rounds = prepared(load("navigation-2d", horizon=5), 2, inner_objective=objective)
    broken(agent, monkeypatch)
    with pytest.raises(AssertionError):
        compare_with_finite_differences(agent, rounds)
        compare_with_plain_loops(agent, rounds)


@pytest.mark.parametrize("inner_steps", [1, 2])
def test_first_order_meta_gradient_is_the_gradient_at_the_adapted_parameters(inner_steps: int) -> None:
    family = load("navigation-2d", horizon=5)
    agent, rounds = prepared(family, inner_steps + 1, outer={"meta_gradient": "first-order"})
    compare_with_plain_loops(agent, rounds)
    with pytest.raises(AssertionError):
        compare_with_finite_differences(agent, rounds)


@pytest.mark.parametrize("adapts", ADAPTS)
def test_adapting_all_tasks_in_one_call_equals_a_plain_loop(adapts: str) -> None:
    agent, rounds = prepared(load("navigation-2d", horizon=5), 4, **ADAPTS[adapts])
    fast = agent.over_tasks.start(3)
    for played in rounds[:-1]:
        fast = agent.over_tasks.adapt(fast, played)
    meta = {name: p.detach().clone().requires_grad_(True) for name, p in agent.parameters.items()}
    for task in range(3):
        expected = plain.start(agent, meta)
        for played in rounds[:-1]:
            expected = plain.inner_step(agent, meta, expected, one_task(played, task), HALF)
        for name, value in expected.items():
            torch.testing.assert_close(fast[name][task], value.detach())


@pytest.mark.parametrize("chunk", [1, 2, 3, 50])
@pytest.mark.parametrize("name", PRESETS)
def test_task_chunk_size_changes_no_result(name: str, chunk: int) -> None:
    family = load("navigation-2d", horizon=5)
    whole, chunked = new_agent(family, name), new_agent(family, name, task_chunk_size=chunk)
    for update in range(2):
        trial = played_trial(whole, family, rounds=3)
        for agent in (whole, chunked):
            agent.update(trial, generator(0, update))
    for key, value in whole.state_dict().items():
        torch.testing.assert_close(chunked.state_dict()[key], value, rtol=1e-9, atol=1e-11)


def test_adapted_parameters_of_the_linear_gaussian_probe_equal_the_closed_form() -> None:
    """For a ~ N(W x + b, s^2): grad W = mean A (a - W x - b) x' / s^2, grad log s = mean A ((a - W x - b)^2 / s^2 - 1)."""
    family = load("navigation-2d", horizon=6)
    agent = new_agent(family, hidden_sizes=[], inner_lr=0.2)
    trial = played_trial(agent, family, rounds=4)
    rounds, _ = agent.rounds.replay(trial)
    fast = agent.over_tasks.start(3)
    for played in rounds[:-1]:
        fast = agent.over_tasks.adapt(fast, played)
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


# Inner objectives: exact expectations over every trajectory of a problem of two actions and two steps.


def trajectories() -> Iterator[tuple[list[int], list[float]]]:
    """Yield actions and rewards to go of each trajectory; what the second action pays depends on the first."""
    for first in (0, 1):
        for second in (0, 1):
            rewards = [[0.3, -1.0][first], [[1.0, 0.2], [-0.5, 2.0]][first][second]]
            yield [first, second], [sum(rewards), rewards[1]]


def log_probs(logits: Tensor, actions: list[int]) -> Tensor:
    return torch.stack([logits[step].log_softmax(-1)[action] for step, action in enumerate(actions)])


def expected_return(logits: Tensor) -> Tensor:
    terms = [log_probs(logits, actions).sum().exp() * to_go[0] for actions, to_go in trajectories()]
    return torch.stack(terms).sum()


def expected_objective(name: str, logits: Tensor, acting: Tensor) -> Tensor:
    """Return the expectation of minus the inner loss over data that `acting` played."""
    total = torch.zeros((), dtype=logits.dtype)
    for actions, to_go in trajectories():
        old = log_probs(acting, actions)
        columns = [value.reshape(-1, 1) for value in (log_probs(logits, actions), old, torch.tensor(to_go))]
        loss = inner_objectives.INNER_OBJECTIVES[name](*columns, torch.ones(2, 1))
        total = total - 2 * loss * old.sum().exp()  # the loss is a mean over two steps
    return total


LOGITS = torch.tensor([[0.4, -0.3], [-0.2, 0.6]], dtype=torch.float64)


@pytest.mark.parametrize("name", OBJECTIVES)
def test_every_inner_objective_has_the_gradient_of_the_expected_return(name: str) -> None:
    expected = torch.func.grad(expected_return)(LOGITS)
    torch.testing.assert_close(torch.func.grad(lambda x: expected_objective(name, x, LOGITS))(LOGITS), expected)


def test_dice_alone_has_its_second_derivative_too() -> None:
    expected = torch.func.hessian(expected_return)(LOGITS)
    hessians = {n: torch.func.hessian(lambda x, n=n: expected_objective(n, x, LOGITS))(LOGITS) for n in OBJECTIVES}
    torch.testing.assert_close(hessians["dice"], expected)
    for name in ("likelihood-ratio", "policy-gradient"):
        assert float((hessians[name] - expected).abs().max()) > 0.01
    # Of each step alone the likelihood ratio has it: what it leaves out lies between the steps.
    for step in (0, 1):
        torch.testing.assert_close(hessians["likelihood-ratio"][step, :, step], expected[step, :, step])


# The outer step.


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


def test_update_sees_the_rounds_as_the_learner_played_them() -> None:
    family = load("navigation-2d", horizon=5)
    agent = new_agent(family)
    learner = agent.begin(Streams.of(8, "learner", np.arange(3)[:, None], np.arange(4)))
    trial = played_trial(agent, family, rounds=3)
    rounds, _ = agent.rounds.replay(trial)
    for played, episodes in zip(rounds, trial.rounds, strict=True):
        outputs = torch.vmap(agent.objective.outputs, in_dims=(None, 0, 0))(
            agent.parameters, learner.fast, played.observations
        )
        torch.testing.assert_close(played.old_outputs, outputs, rtol=0, atol=0)
        learner.adapt(episodes)


def test_ratio_is_one_in_the_first_epoch_and_is_clipped_in_later_ones() -> None:
    family = load("navigation-2d", horizon=20)
    agent = new_agent(family, outer={"learning_rate": 0.05, "clip_range": 0.05, "num_epochs": 4})
    metrics = agent.update(played_trial(agent, family, rounds=2), generator(0))
    assert metrics["first_ratio_deviation"] == pytest.approx(0.0, abs=1e-12)
    assert metrics["clip_fraction"] > 0.05
    assert metrics["kl"] > 0
    assert metrics["inner_kl"] > 0


def test_one_epoch_never_clips() -> None:
    family = load("navigation-2d", horizon=20)
    agent = new_agent(family, outer={"learning_rate": 0.05, "clip_range": 0.05, "num_epochs": 1})
    # The clip fraction is what the gradient steps saw: a single one sees a ratio of one.
    assert agent.update(played_trial(agent, family, rounds=2), generator(0))["clip_fraction"] == 0


def test_epochs_end_early_where_the_kl_has_grown_beyond_its_target() -> None:
    family = load("navigation-2d", horizon=20)
    kls = {}
    for target in (None, 1e-3):
        agent = new_agent(family, outer={"learning_rate": 0.02, "num_epochs": 10, "target_kl": target})
        metrics = agent.update(played_trial(agent, family, rounds=2), generator(0))
        kls[target] = metrics["num_epochs"], metrics["kl"]
    assert kls[None][0] == 10
    assert 1 <= kls[1e-3][0] < 10
    assert kls[1e-3][1] < kls[None][1]


def test_conjugate_gradient_solves_what_a_direct_solver_does() -> None:
    noise = torch.Generator().manual_seed(0)
    root = torch.randn(6, 6, generator=noise, dtype=torch.float64)
    matrix, target = root @ root.T + torch.eye(6), torch.randn(6, generator=noise, dtype=torch.float64)

    def product(x: dict[str, Tensor]) -> dict[str, Tensor]:
        whole = matrix @ torch.cat([x["a"], x["b"]])
        return {"a": whole[:2], "b": whole[2:]}

    solution = conjugate_gradient(product, {"a": target[:2], "b": target[2:]}, 6)
    torch.testing.assert_close(torch.cat([solution["a"], solution["b"]]), torch.linalg.solve(matrix, target))


def test_kl_products_equal_the_hessian_of_the_kl_through_the_adaptation() -> None:
    family = load("navigation-2d", horizon=4)
    agent = new_agent(family, "maml-trpo", hidden_sizes=[2], inner_lr=0.5)
    rounds, _ = agent.rounds.replay(played_trial(agent, family, rounds=2))
    names, values = list(agent.parameters), [p.detach() for p in agent.parameters.values()]

    def kl(*parameters: Tensor) -> Tensor:
        meta = dict(zip(names, parameters, strict=True))
        tasks = [
            agent.objective.outer_loss(meta, tuple(one_task(played, task) for played in rounds))[1].kl
            for task in range(3)
        ]
        return torch.stack(tasks).mean()

    hessian = torch.autograd.functional.hessian(kl, tuple(values))
    noise = torch.Generator().manual_seed(1)
    vector = {n: torch.randn(v.shape, generator=noise, dtype=v.dtype) for n, v in zip(names, values, strict=True)}
    product = agent.over_tasks.kl_products(rounds, 0.3)(vector)
    for i, name in enumerate(names):
        expected = 0.3 * vector[name]
        for j, other in enumerate(names):
            expected = expected + torch.tensordot(hessian[i][j], vector[other], vector[other].dim())
        torch.testing.assert_close(product[name], expected)


def test_trpo_betters_the_objective_within_its_bound_of_the_kl() -> None:
    family = load("navigation-2d", horizon=20)
    agent = new_agent(family, "maml-trpo", outer={"max_kl": 0.005})
    trial = played_trial(agent, family, rounds=2)
    rounds, _ = agent.rounds.replay(trial)
    before = agent.over_tasks.outcomes(agent.parameters, rounds)
    metrics = agent.update(trial, generator(0))
    after = agent.over_tasks.outcomes(agent.parameters, rounds)
    assert metrics["step_fraction"] > 0
    assert float(after.loss.mean()) < float(before.loss.mean())
    assert 0.001 < float(after.kl.mean()) <= 0.005


def test_trpo_leaves_the_parameters_where_no_step_helps() -> None:
    family = load("navigation-2d", horizon=5)
    agent = new_agent(family, "maml-trpo", outer={"line_search_steps": 1, "max_kl": 1e4})
    before = copy.deepcopy(agent.state_dict())
    assert agent.update(played_trial(agent, family, rounds=2), generator(0))["step_fraction"] == 0
    assert all(torch.equal(value, before[name]) for name, value in agent.state_dict().items())


def test_reptile_hands_adam_the_way_from_where_the_tasks_end() -> None:
    family = load("navigation-2d", horizon=5)
    agent = new_agent(family, "reptile", inner_lr=0.5, outer={"max_grad_norm": 1e9})
    trial = played_trial(agent, family, rounds=2)
    rounds, _ = agent.rounds.replay(trial)
    meta = {name: p.detach().clone().requires_grad_(True) for name, p in agent.parameters.items()}
    expected = {name: torch.zeros_like(p) for name, p in meta.items()}
    for task in range(3):
        fast = plain.start(agent, meta)
        for played in rounds:
            fast = plain.inner_step(agent, meta, fast, one_task(played, task), HALF)
        for name in expected:
            expected[name] += (meta[name] - fast[name]).detach() / 0.5 / 3
    metrics = agent.update(trial, generator(0))
    assert metrics["gradient_norm"] == pytest.approx(float(global_norm(expected)), rel=1e-9)
    first_moment = agent.state_dict()["meta_step.optimizer.layers.0.weight.exp_avg"]
    torch.testing.assert_close(first_moment, 0.1 * expected["layers.0.weight"])


def test_mean_cosine_is_that_of_all_pairs() -> None:
    rows = np.random.default_rng(0).normal(size=(5, 7))
    units = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    pairs = [units[i] @ units[j] for i in range(5) for j in range(5) if i != j]
    tensors = {"a": torch.tensor(rows[:, :3]), "b": torch.tensor(rows[:, 3:]).reshape(5, 2, 2)}
    assert mean_cosine(tensors) == pytest.approx(np.mean(pairs))
    assert mean_cosine({"a": tensors["a"][:1]}) == 1.0


# Baselines and advantages.


def test_advantages_bootstrap_at_the_time_limit_and_cut_at_termination() -> None:
    family = UnequalEpisodes(horizon=4)
    agent = new_agent(family, discount=0.9, gae_lambda=0.8)
    tasks = Tasks({"length": np.array([2.0, 9.0])}, np.arange(2))
    episodes = run_trial(agent, family.make_vec(tasks, 6), 1, seed=0).rounds[0]
    zeros = np.zeros((2, 6))
    returns = discounted_returns(episodes.rewards, episodes.mask, 0.9, zeros)
    values, final_values = linear_baseline(episodes.observations, episodes.final_observations, returns, episodes.mask)
    computed, _ = agent.rounds.advantages(episodes)
    for task, steps, terminated in ((0, 2, True), (1, 4, False)):
        expected = np.zeros((steps, 6))
        for replica in range(6):
            following = [*values[1:steps, task, replica], 0.0 if terminated else final_values[task, replica]]
            carry = 0.0
            for t in reversed(range(steps)):
                delta = episodes.rewards[t, task, replica] + 0.9 * following[t] - values[t, task, replica]
                carry = delta + 0.9 * 0.8 * carry
                expected[t, replica] = carry
        np.testing.assert_allclose(computed[:steps, task], (expected - expected.mean()) / expected.std(), atol=1e-6)


def test_linear_baseline_explains_returns_that_follow_from_the_state() -> None:
    family = load("navigation-2d")
    agent = new_agent(family)
    metrics = agent.update(played_trial(agent, family, rounds=2, replicas=10), generator(0))
    assert metrics["explained_variance"] > 0.5


def test_value_network_learns_to_explain_returns_from_one_update_to_the_next() -> None:
    """The network that is trained is the one that is used: garage's was not."""
    family = load("navigation-2d", horizon=30)
    agent = new_agent(family, baseline={"name": "network", "learning_rate": 1e-2}, outer={"learning_rate": 1e-6})
    explained = [
        agent.update(played_trial(agent, family, rounds=2, tasks=20, replicas=5), generator(0, i))["explained_variance"]
        for i in range(8)
    ]
    assert explained[0] < 0.1
    assert explained[-1] > 0.5


# The agent as a whole.


@pytest.mark.parametrize("family", probes(), ids=lambda family: type(family).__name__)
@pytest.mark.parametrize(
    "settings",
    [
        {"baseline": "network"},
        {"normalize_observations": True},
        {"outer": "trpo", "adapts": "context"},
        {"outer": {"inner_lr_kind": "learned"}, "adapts": "latent", "inner_objective": "dice"},
        {"task_chunk_size": 3, "outer": {"target_kl": 0.01, "inner_kl_coef": 0.1}},
    ],
    ids=str,
)
def test_every_option_keeps_to_what_every_agent_must(settings: dict[str, Any], family: Any) -> None:
    cls = type("Optioned", (MAML,), {"Config": AGENTS["maml-ppo"].Config})
    subject = _Optioned(cls, family, settings)
    assert [fault for check in AGENT_CHECKS for fault in check(subject)] == []


class _Optioned(Subject):
    def __init__(self, cls: Any, family: Any, settings: dict[str, Any]) -> None:
        object.__setattr__(self, "cls", cls)
        object.__setattr__(self, "family", family)
        object.__setattr__(self, "settings", settings)

    def make(self, seed: int = 0) -> Any:
        config = self.cls.Config(dtype="float64", **self.settings)  # type: ignore[attr-defined]
        family = self.family
        return self.cls(config, family, seed=seed, device="cpu")


def test_adaptation_under_evaluation_moves_every_task_and_never_the_agent() -> None:
    family = load("navigation-2d", horizon=10)
    agent = new_agent(family)
    before = copy.deepcopy(agent.state_dict())
    learner = agent.begin(Streams.of(1, np.arange(3)[:, None], np.arange(4)))
    envs = family.make_vec(family.sample("test", 3, seed=0), 4)
    learner.adapt(rollout(envs, learner, seed=2))
    moved = learner.fast["layers.1.bias"] - agent.parameters["layers.1.bias"].detach()
    assert (moved.abs().amax(dim=1) > 1e-4).all()
    for name, value in agent.state_dict().items():
        assert torch.equal(value, before[name])


def test_only_what_adapts_is_different_in_each_task() -> None:
    family = load("navigation-2d", horizon=5)
    expected = {
        "maml-ppo": {"layers.0.weight", "layers.0.bias", "layers.1.weight", "layers.1.bias", "log_std"},
        "anil": {"layers.1.weight", "layers.1.bias"},
        "cavia": {"context"},
        "leo": {"latent.start"},
        "multi-task-ppo": set(),
    }
    for name, fast in expected.items():
        agent = new_agent(family, name)
        assert set(agent.over_tasks.start(3)) == fast
        trial = played_trial(agent, family, rounds=2)
        assert all(np.isfinite(list(agent.update(trial, generator(0)).values())))


def test_an_update_tells_what_a_researcher_looks_for() -> None:
    family = load("navigation-2d", horizon=5)
    every = (
        "kl inner_kl adaptation_kl entropy explained_variance gradient_norm inner_gradient_norm task_gradient_cosine"
    )
    for name in PRESETS:
        agent = new_agent(family, name)
        metrics = agent.update(played_trial(agent, family, rounds=3), generator(0))
        expected = set(every.split()) - ({"adaptation_kl"} if name == "multi-task-ppo" else set())
        assert expected <= set(metrics), name
        if name not in ("maml-trpo", "reptile"):
            assert {"clip_fraction", "num_epochs"} <= set(metrics), name


def test_learned_rates_move_with_training_and_are_told_of() -> None:
    family = load("navigation-2d", horizon=10)
    for name, shape in (("meta-sgd", (4, 2)), ("maml-ppo", ())):
        kind = {} if name == "meta-sgd" else {"inner_lr_kind": "learned"}
        agent = new_agent(family, name, inner_lr=0.2, outer={"learning_rate": 1e-2, **kind})
        assert agent.parameters["inner_lr.layers.0.weight"].shape == shape
        metrics = agent.update(played_trial(agent, family, rounds=2), generator(0))
        assert metrics["inner_lr_min"] < 0.2 < metrics["inner_lr_max"]
        assert metrics["inner_lr_min"] <= metrics["inner_lr_mean"] <= metrics["inner_lr_max"]


def test_every_inner_step_learns_from_fresh_episodes() -> None:
    family = load("navigation-2d", horizon=5)
    trial = played_trial(new_agent(family), family, rounds=4)
    for earlier, later in zip(trial.rounds[:-1], trial.rounds[1:], strict=True):
        assert not np.allclose(earlier.actions, later.actions)


def test_more_than_one_inner_step_improves_on_one() -> None:
    family = Target()
    agent = new_agent(family, hidden_sizes=[8], inner_lr=0.1, initial_std=0.5)
    trial = played_trial(agent, family, rounds=6, tasks=20, replicas=40)
    returns = trial.returns.mean(axis=(1, 2))
    assert returns[1] > returns[0]
    assert returns[5] > returns[1]


@pytest.mark.parametrize("name", [name for name in PRESETS if name != "multi-task-ppo"])
def test_meta_learning_solves_the_target_probe(name: str) -> None:
    family = Target()
    rates = {"cavia": 1.0, "leo": 1.0, "reptile": 0.05}
    settings: dict[str, Any] = {"hidden_sizes": [16], "inner_lr": rates.get(name, 0.3)}
    if name != "maml-trpo":
        settings["outer"] = {"learning_rate": 3e-3}
    agent = make_agent(name, family, settings, seed=0, device="cpu")
    assert isinstance(agent, MAML)
    for update in range(60):
        tasks = family.sample("train", 20, seed=0, start=20 * update)
        agent.update(run_trial(agent, family.make_vec(tasks, 20), 2, seed=update), generator(0, update))
    trial = run_trial(agent, family.make_vec(family.sample("test", 40, seed=0), 20), 2, seed=0)
    before, after = trial.returns.mean(axis=(1, 2))
    # Noise of deviation s costs 5 s^2 a return; not knowing the target costs 5/3 more.
    assert after > before + (0.3 if name == "reptile" else 1.0)


# What is refused.


def test_one_round_is_refused_with_the_remedy() -> None:
    family = load("navigation-2d", horizon=5)
    agent = new_agent(family)
    with pytest.raises(MetarlError, match="rounds is 1; it must be at least 2"):
        agent.update(played_trial(agent, family, rounds=1), generator(0))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"inner_lr": -0.1}, "inner_lr is -0.1: it must be greater than 0"),
        ({"outer": {"learning_rate": 0}}, "outer.learning_rate is 0: it must be greater than 0"),
        ({"outer": "reptile", "adapts": "context"}, "outer 'reptile' moves only what adapts, here 'context'"),
        ({"outer": {"name": "reptile", "inner_lr_kind": "learned"}}, "outer.inner_lr_kind: a setting of 'ppo', but"),
        ({"outer": {"name": "reptile", "target_kl": 0.1}}, "outer.target_kl: a setting of 'ppo', but"),
        ({"outer": {"name": "trpo", "ent_coef": 0.1}}, "outer.ent_coef: a setting of 'ppo', but outer.name is 'trpo'"),
        ({"adapts": {"name": "all", "size": 3}}, "adapts.size: a setting of 'context', but adapts.name is 'all'"),
        ({"initial_std": 0.1, "min_std": 0.5}, "initial_std is 0.1, below min_std 0.5; raise it"),
        (
            {"adapts": "nothing", "outer": {"inner_lr_kind": "learned"}},
            "outer.inner_lr_kind is 'learned', but adapts is 'nothing'",
        ),
        (
            {"num_inner_steps": 0},
            "num_inner_steps is not a setting; a trial of `rounds` rounds has rounds - 1 inner steps",
        ),
        ({"outer": "adam"}, "outer.name is 'adam': unknown; known: ppo, reptile, trpo"),
    ],
)
def test_settings_that_make_no_sense_are_refused_in_one_line(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(MetarlError, match=message) as caught:
        make_agent("maml-ppo", load("navigation-2d"), settings, device="cpu")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(("key", "now"), MAMLConfig.moved.items())
def test_a_former_key_gets_one_line_with_the_key_of_today(key: str, now: str) -> None:
    with pytest.raises(MetarlError, match=re.escape(f"agent 'maml-ppo': {key}: unknown key; write {now}")):
        make_agent("maml-ppo", load("navigation-2d"), {key: 1}, device="cpu")
    field, name, setting = re.fullmatch(r"(\w+)(?:\.|=\{name: ([\w-]+), )(\w+)(?:; .*|: \.\.\.\})?", now).groups()  # type: ignore[union-attr]
    assert setting in choices(MAMLConfig.model_fields[field])[name or "ppo"].model_fields


@pytest.mark.parametrize("name", PRESETS)
def test_a_term_that_is_not_finite_is_named_and_the_agent_left_as_it_was(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    family = load("navigation-2d", horizon=5)
    agent = new_agent(family, name)
    trial = played_trial(agent, family, rounds=2)
    agent.update(trial, generator(0))
    before = copy.deepcopy(agent.state_dict())
    real, calls = agent.over_tasks.task_gradients, []

    def poisoned(rounds: tuple[Round, ...]) -> Any:
        gradients, outcome = real(rounds)
        calls.append(0)
        if len(calls) < 3 and name not in ("maml-trpo", "reptile"):
            return gradients, outcome
        gradients["layers.0.bias"][1] = np.nan
        return gradients, outcome

    adapted = agent.over_tasks.adapt_to_all
    monkeypatch.setattr(agent.over_tasks, "task_gradients", poisoned)
    monkeypatch.setattr(
        agent.over_tasks, "adapt_to_all", lambda rounds: {n: v * np.nan for n, v in adapted(rounds).items()}
    )
    with pytest.raises(MetarlError, match=r"the meta-gradient of layers\.0\.\w+ is nan in \d of 3 tasks; take a lower"):
        agent.update(trial, generator(1))
    for key, value in agent.state_dict().items():
        assert torch.equal(value, before[key]), key


def test_presets_differ_from_maml_in_what_their_papers_say() -> None:
    defaults = flatten(maml_presets.MAMLPPO.Config().model_dump())
    changed = {
        name: {k: v for k, v in flatten(AGENTS[name].Config().model_dump()).items() if defaults.get(k, v) != v}
        for name in PRESETS
    }
    assert changed == {
        "maml-ppo": {},
        "maml-trpo": {"outer.name": "trpo", "inner_objective": "policy-gradient", "gae_lambda": 1.0},
        "promp": {"outer.inner_kl_coef": 5e-4, "gae_lambda": 1.0},
        "meta-sgd": {"outer.inner_lr_kind": "per-parameter"},
        "cavia": {"adapts.name": "context", "inner_lr": 1.0},
        "leo": {"adapts.name": "latent", "inner_lr": 1.0},
        "anil": {"adapts.name": "last-layer"},
        "reptile": {"outer.name": "reptile"},
        "fomaml": {"outer.meta_gradient": "first-order"},
        "multi-task-ppo": {"adapts.name": "nothing"},
    }


def test_a_preset_keeps_its_own_settings_where_others_of_the_same_choice_are_set() -> None:
    promp = new_agent(load("navigation-2d"), "promp", outer={"clip_range": 0.1}).config.outer
    assert promp == PPOConfig(clip_range=0.1, inner_kl_coef=5e-4)


def flatten(settings: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in settings.items():
        flat |= flatten(value, f"{prefix}{key}.") if isinstance(value, dict) else {f"{prefix}{key}": value}
    return flat
