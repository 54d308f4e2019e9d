"""Small MAML agents and their rounds, and comparisons of their gradients."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from metarl.agents.maml.agent import MAML
from metarl.agents.maml.records import Round
from torch import Tensor

from metarl.families.arrays import ArrayFamily
from metarl.trials.episodes import Trial
from metarl.trials.registered import AGENTS, make_agent
from metarl.trials.rollout import run_trial
from tests.agents import plain

PRESETS = sorted(name for name in AGENTS if issubclass(AGENTS[name], MAML))


ADAPTS: dict[str, dict[str, Any]] = {
    "all": {},
    "all, rates per parameter": {"outer": {"inner_lr_kind": "per-parameter"}},
    "all, rates per tensor": {"outer": {"inner_lr_kind": "learned"}},
    "all, and a bias": {"adapts": {"name": "all", "bias_size": 3}},
    "last layer": {"adapts": "last-layer"},
    "last two layers": {"adapts": {"name": "last-layer", "count": 2}, "hidden_sizes": [4, 3]},
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


def play_trial(agent: MAML, family: ArrayFamily, *, rounds: int, tasks: int = 3, replicas: int = 4) -> Trial:
    envs = family.make_vec(family.sample("train", tasks, seed=5), replicas)
    return run_trial(agent, envs, rounds, seed=8)


def perturb(agent: MAML, scale: float = 0.05) -> None:
    """Move the parameters off those that acted, where ratios are not one and nothing cancels by accident."""
    noise = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in agent.parameters.values():
            parameter += scale * torch.randn(parameter.shape, generator=noise, dtype=parameter.dtype)


def one_task(data: Round, task: int) -> Round:
    return Round(*(field[task] for field in data))


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


def compare_with_finite_differences(agent: MAML, rounds: tuple[Round, ...], step: float = 1e-5) -> None:
    """Fail unless the meta-gradient is that of the outer loss, whatever lies between it and the meta-parameters."""
    gradient = mean_gradient(agent, rounds)
    noise = torch.Generator().manual_seed(1)
    for _ in range(3):
        direction = {n: torch.randn(g.shape, generator=noise, dtype=g.dtype) for n, g in gradient.items()}
        exact = sum(float((gradient[name] * direction[name]).sum()) for name in gradient)

        def loss() -> float:
            return float(agent.over_tasks.outcomes(agent.parameters, rounds).loss.mean())

        found = finite_difference(agent, loss, direction, step)
        assert found == pytest.approx(exact, rel=1e-5, abs=1e-14 / step)


def compare_with_plain_loops(agent: MAML, rounds: tuple[Round, ...]) -> None:
    """Fail unless losses and meta-gradients of every task equal those of tests/agents/plain.py."""
    gradients, outcome = agent.over_tasks.task_gradients(rounds)
    for task in range(len(outcome.loss)):
        meta = {name: p.detach().clone().requires_grad_(True) for name, p in agent.parameters.items()}
        loss = plain.outer_loss(agent, meta, tuple(one_task(data, task) for data in rounds), HALF)
        torch.testing.assert_close(outcome.loss[task], loss.detach())
        expected = torch.autograd.grad(loss, list(meta.values()), allow_unused=True)
        for name, value in zip(meta, expected, strict=True):
            wanted = torch.zeros_like(meta[name]) if value is None else value
            torch.testing.assert_close(gradients[name][task], wanted, rtol=1e-7, atol=1e-10)


def prepare(family: ArrayFamily, rounds: int, **settings: Any) -> tuple[MAML, tuple[Round, ...]]:
    agent = new_agent(family, **{"inner_lr": 0.5, **settings})
    data, _ = agent.rounds.replay(play_trial(agent, family, rounds=rounds))
    perturb(agent)
    return agent, data
