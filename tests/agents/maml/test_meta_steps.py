"""PPO, TRPO and Reptile as meta-steps."""

from __future__ import annotations

import copy
import math
from typing import Any

import numpy as np
import pytest
import torch
from metarl.agents.maml.meta_step import AGREEMENT, mean_gradient
from metarl.agents.maml.objective import global_norm
from metarl.agents.maml.records import Outcome, Round
from metarl.agents.maml.trpo import TRPOConfig, TRPOStep, conjugate_gradient
from torch import Tensor

from metarl.base.errors import MetarlError
from metarl.base.streams import generator
from metarl.families.load import load
from tests.agents import plain
from tests.agents.maml.problems import HALF, new_agent, one_task, play_trial


def test_ratio_is_one_in_the_first_epoch_and_is_clipped_in_later_ones() -> None:
    family = load("navigation-2d", horizon=20)
    agent = new_agent(family, outer={"learning_rate": 0.05, "clip_range": 0.05, "num_epochs": 4})
    metrics = agent.update(play_trial(agent, family, rounds=2), generator(0))
    assert metrics["first_ratio_deviation"] == pytest.approx(0.0, abs=1e-12)
    assert metrics["clip_fraction"] > 0.05
    assert metrics["kl"] > 0
    assert metrics["inner_kl"] > 0


def test_one_epoch_never_clips() -> None:
    family = load("navigation-2d", horizon=20)
    agent = new_agent(family, outer={"learning_rate": 0.05, "clip_range": 0.05, "num_epochs": 1})
    # The clip fraction is what the gradient steps saw: a single one sees a ratio of one.
    assert agent.update(play_trial(agent, family, rounds=2), generator(0))["clip_fraction"] == 0


def test_epochs_end_early_where_the_kl_has_grown_beyond_its_target() -> None:
    family = load("navigation-2d", horizon=20)
    kls = {}
    for target in (None, 1e-3):
        agent = new_agent(family, outer={"learning_rate": 0.02, "num_epochs": 10, "target_kl": target})
        metrics = agent.update(play_trial(agent, family, rounds=2), generator(0))
        kls[target] = metrics["num_epochs"], metrics["kl"]
    assert kls[None][0] == 10
    assert 1 <= kls[1e-3][0] < 10
    assert kls[1e-3][1] < kls[None][1]


def test_the_first_epoch_runs_for_any_target() -> None:
    family = load("navigation-2d", horizon=5)
    agent = new_agent(family, outer={"target_kl": 1e-3})
    real = agent.over_tasks.task_gradients

    def raise_kl(rounds: tuple[Round, ...]) -> Any:
        gradients, outcome = real(rounds)
        return gradients, outcome._replace(kl=outcome.kl + 1)

    agent.over_tasks.task_gradients = raise_kl  # type: ignore[method-assign]
    assert agent.update(play_trial(agent, family, rounds=2), generator(0))["num_epochs"] == 1


def test_ppo_stops_at_one_and_a_half_times_the_target_and_logs_means_over_epochs(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    family = load("navigation-2d", horizon=20)
    trial = play_trial(new_agent(family), family, rounds=2)
    settings = {"learning_rate": 0.02, "num_epochs": 8, "clip_range": 0.05}

    def run(**more: Any) -> tuple[list[Outcome], dict[str, float]]:
        agent, outcomes = new_agent(family, outer={**settings, **more}), []
        real = agent.over_tasks.task_gradients

        def record(rounds: Any) -> Any:
            gradients, outcome = real(rounds)
            outcomes.append(outcome)
            return gradients, outcome

        monkeypatch.setattr(agent.over_tasks, "task_gradients", record)
        return outcomes, agent.update(trial, generator(0))

    outcomes, metrics = run()
    assert metrics["clip_fraction"] == pytest.approx(np.mean([float(o.clip_fraction.mean()) for o in outcomes]))
    assert metrics["loss"] == pytest.approx(float(outcomes[0].loss.mean()))
    kls = [float(outcome.kl.mean()) for outcome in outcomes]
    assert kls[2] < kls[3]
    # A target of which the KL before the fourth epoch is 1.5 times and a bit, or not quite.
    assert run(target_kl=kls[3] / 1.49)[1]["num_epochs"] >= 4
    assert run(target_kl=kls[3] / 1.51)[1]["num_epochs"] == 3


@pytest.mark.parametrize("name", ["maml-ppo", "reptile"])
def test_the_meta_gradient_is_cut_to_its_norm(name: str) -> None:
    family = load("navigation-2d", horizon=5)
    epochs = {} if name == "reptile" else {"num_epochs": 1}
    agent = new_agent(family, name, outer={"max_grad_norm": 1e-3, **epochs})
    assert agent.update(play_trial(agent, family, rounds=2), generator(0))["gradient_norm"] > 1e-3
    moments = [v for key, v in agent.state_dict().items() if key.endswith("exp_avg")]
    norm = torch.cat([moment.flatten() for moment in moments]).norm()
    assert float(norm) == pytest.approx(0.1 * 1e-3, rel=1e-2)


def test_conjugate_gradient_solves_what_a_direct_solver_does() -> None:
    noise = torch.Generator().manual_seed(0)
    root = torch.randn(6, 6, generator=noise, dtype=torch.float64)
    matrix, target = root @ root.T + torch.eye(6), torch.randn(6, generator=noise, dtype=torch.float64)

    def product(x: dict[str, Tensor]) -> dict[str, Tensor]:
        whole = matrix @ torch.cat([x["a"], x["b"]])
        return {"a": whole[:2], "b": whole[2:]}

    solution = conjugate_gradient(product, {"a": target[:2], "b": target[2:]}, 6)
    torch.testing.assert_close(torch.cat([solution["a"], solution["b"]]), torch.linalg.solve(matrix, target))


def test_trpo_lowers_the_loss_within_its_bound_of_the_kl() -> None:
    family = load("navigation-2d", horizon=20)
    agent = new_agent(family, "maml-trpo", outer={"max_kl": 0.005})
    trial = play_trial(agent, family, rounds=2)
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
    assert agent.update(play_trial(agent, family, rounds=2), generator(0))["step_fraction"] == 0
    assert all(torch.equal(value, before[name]) for name, value in agent.state_dict().items())


def test_trpo_refuses_a_curvature_that_is_not_finite(monkeypatch: pytest.MonkeyPatch) -> None:
    family = load("navigation-2d", horizon=5)
    agent = new_agent(family, "maml-trpo")

    def products(rounds: Any, coefficient: float) -> Any:
        return lambda vector: {name: value * math.nan for name, value in vector.items()}

    monkeypatch.setattr(agent.over_tasks, "kl_products", products)
    with pytest.raises(MetarlError, match="TRPO: the curvature of the KL is"):
        agent.update(play_trial(agent, family, rounds=2), generator(0))


class Bowl:
    """A problem of two numbers whose KL is quadratic: x' H x / 2 times `steeper`; the loss is linear within `reach`."""

    H, g = torch.tensor([1.0, 4.0], dtype=torch.float64), torch.tensor([1.0, 2.0], dtype=torch.float64)

    def __init__(self, steeper: float = 0.99, reach: float = math.inf) -> None:
        self.parameters = {"x": torch.zeros(2, dtype=torch.float64, requires_grad=True)}
        self.steeper, self.reach = steeper, reach

    def outcomes(self, parameters: Any, rounds: Any) -> Outcome:
        x = parameters["x"].detach()
        loss = self.g @ x if float(x.norm()) <= self.reach else torch.ones((), dtype=torch.float64)
        nothing = torch.zeros(1, dtype=torch.float64)
        kl = self.steeper * (self.H * x * x).sum() / 2
        return Outcome(loss[None], kl[None], *(nothing,) * 6)

    def task_gradients(self, rounds: Any) -> tuple[dict[str, Tensor], Outcome]:
        return {"x": self.g[None]}, self.outcomes(self.parameters, rounds)

    def kl_products(self, rounds: Any, coefficient: float) -> Any:
        return lambda v: {"x": (self.H + coefficient) * v["x"]}


@pytest.mark.parametrize("damping", [0.0, 3.0])
def test_trpo_takes_the_natural_gradient_as_far_as_its_bound(damping: float) -> None:
    bowl = Bowl()
    metrics = TRPOStep(TRPOConfig(max_kl=0.01, cg_damping=damping, cg_iterations=2, line_search_steps=9))(bowl, ())
    way = bowl.g / (bowl.H + damping)
    expected = -math.sqrt(2 * 0.01 / float(bowl.g @ way)) * way
    assert metrics["step_fraction"] == 1.0
    torch.testing.assert_close(bowl.parameters["x"].detach(), expected)
    assert metrics["gradient_norm"] == pytest.approx(math.sqrt(5))


def test_trpo_makes_cg_iterations_of_conjugate_gradient() -> None:
    bowl = Bowl()
    TRPOStep(TRPOConfig(max_kl=0.01, cg_damping=0.0, cg_iterations=1, line_search_steps=9))(bowl, ())
    x = bowl.parameters["x"].detach()
    torch.testing.assert_close(x / x.norm(), -bowl.g / bowl.g.norm())  # the first goes down the gradient


@pytest.mark.parametrize("kind", ["kl", "loss"])
def test_trpo_cuts_its_step_until_it_is_allowed_and_helps(kind: str) -> None:
    full = math.sqrt(2 * 0.01 / 2) * math.sqrt(1 + 0.25)
    bowl = Bowl(steeper=4.0) if kind == "kl" else Bowl(reach=0.5 * full)
    metrics = TRPOStep(TRPOConfig(max_kl=0.01, cg_damping=0.0, cg_iterations=2, line_search_steps=9))(bowl, ())
    assert metrics["step_fraction"] == pytest.approx(0.8**4)
    assert float(bowl.parameters["x"].detach().norm()) == pytest.approx(0.8**4 * full)


def test_reptile_gives_adam_the_mean_direction_from_the_adapted_parameters() -> None:
    family = load("navigation-2d", horizon=5)
    agent = new_agent(family, "reptile", inner_lr=0.5, outer={"max_grad_norm": 1e9})
    trial = play_trial(agent, family, rounds=2)
    rounds, _ = agent.rounds.replay(trial)
    meta = {name: p.detach().clone().requires_grad_(True) for name, p in agent.parameters.items()}
    expected = {name: torch.zeros_like(p) for name, p in meta.items()}
    for task in range(3):
        fast = plain.start(agent, meta)
        for data in rounds:
            fast = plain.inner_step(agent, meta, fast, one_task(data, task), HALF)
        for name in expected:
            expected[name] += (meta[name] - fast[name]).detach() / 0.5 / 3
    metrics = agent.update(trial, generator(0))
    assert metrics["gradient_norm"] == pytest.approx(float(global_norm(expected)), rel=1e-9)
    first_moment = agent.state_dict()["meta_step.optimizer.layers.0.weight.exp_avg"]
    torch.testing.assert_close(first_moment, 0.1 * expected["layers.0.weight"])


def test_agreement_is_the_mean_product_of_all_pairs_of_gradients_over_their_mean_square() -> None:
    rows = np.random.default_rng(0).normal(size=(5, 7))
    pairs = [rows[i] @ rows[j] for i in range(5) for j in range(5) if i != j]
    tensors = {"a": torch.tensor(rows[:, :2]), "b": torch.tensor(rows[:, 3:]).reshape(5, 2, 2)}
    tensors["a learned step size"] = torch.tensor(rows[:, 2])
    mean, logged = mean_gradient(tensors, loss=torch.arange(5.0, dtype=torch.float64))
    assert logged == {"loss": 2.0, AGREEMENT: pytest.approx(np.mean(pairs) / np.square(rows).sum(axis=1).mean())}
    torch.testing.assert_close(mean["a"], tensors["a"].mean(0))
    assert mean_gradient({"a": tensors["a"][:1]})[1][AGREEMENT] == 1.0
    assert mean_gradient({"a": tensors["a"][[0, 0, 0]]})[1][AGREEMENT] == pytest.approx(1.0)
