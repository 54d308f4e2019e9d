"""Batches of tasks: chunks, products with the Hessian of the KL, and steps that are not finite."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from metarl.base.errors import MetarlError
from metarl.base.streams import generator
from metarl.families.load import load
from tests.agents.maml.problems import PRESETS, new_agent, one_task, play_trial, prepare


@pytest.mark.parametrize(
    ("name", "chunk"),
    [*((name, 2) for name in PRESETS), *((name, chunk) for name in ("maml-ppo", "maml-trpo") for chunk in (1, 3, 50))],
)
def test_task_chunk_size_changes_no_result(name: str, chunk: int) -> None:
    family = load("navigation-2d", horizon=5)
    settings = {} if name in ("maml-trpo", "reptile") else {"outer": {"num_epochs": 2}}
    whole, chunked = new_agent(family, name, **settings), new_agent(family, name, task_chunk_size=chunk, **settings)
    trial = play_trial(whole, family, rounds=3)
    for agent in (whole, chunked):
        agent.update(trial, generator(0))
    for key, value in whole.state_dict().items():
        torch.testing.assert_close(chunked.state_dict()[key], value, rtol=1e-9, atol=1e-11)


@pytest.mark.parametrize(("chunk", "calls"), [(None, 1), (1, 3), (2, 2)])
def test_task_chunk_size_bounds_the_tasks_computed_at_once(
    chunk: int | None, calls: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    agent, rounds = prepare(load("navigation-2d", horizon=5), 2, task_chunk_size=chunk)
    real, made = agent.objective.outer_loss, []
    monkeypatch.setattr(agent.objective, "outer_loss", lambda *arguments: (made.append(0), real(*arguments))[1])
    for work in (
        lambda: agent.over_tasks.task_gradients(rounds),
        lambda: agent.over_tasks.outcomes(agent.parameters, rounds),
        lambda: agent.over_tasks.kl_products(rounds, 0.1)({n: torch.ones_like(p) for n, p in agent.parameters.items()}),
    ):
        made.clear()
        work()
        assert len(made) == calls


def test_kl_products_equal_the_hessian_of_the_kl_through_the_adaptation() -> None:
    family = load("navigation-2d", horizon=4)
    agent = new_agent(family, "maml-trpo", hidden_sizes=[2], inner_lr=0.5)
    rounds, _ = agent.rounds.replay(play_trial(agent, family, rounds=2))
    names, values = list(agent.parameters), [p.detach() for p in agent.parameters.values()]

    def kl(*parameters: Tensor) -> Tensor:
        meta = dict(zip(names, parameters, strict=True))
        tasks = [
            agent.objective.outer_loss(meta, tuple(one_task(data, task) for data in rounds))[1].kl for task in range(3)
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


def test_an_inner_step_that_is_not_finite_is_refused_with_the_remedy() -> None:
    family = load("navigation-2d", horizon=5)
    agent = new_agent(family, inner_lr=1e308)
    rounds, _ = prepare(family, 2)[1], None
    with pytest.raises(
        MetarlError, match=r"an inner step made .* not finite in \d of 3 tasks; take a lower agent.inner_lr"
    ):
        agent.over_tasks.adapt(agent.over_tasks.start(3), rounds[0]._replace(advantages=rounds[0].advantages * 1e10))
