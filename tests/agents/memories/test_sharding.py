"""Memories that processes divide: what each of them holds."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing, contextmanager

import pytest
import torch
import torch.distributed as dist
from metarl.agents.memories.contract import own_part
from metarl.agents.memories.sharding import _order
from metarl.agents.rl2.agent import RL2
from torch.distributed.device_mesh import init_device_mesh
from torch.testing._internal.distributed.fake_pg import FakeStore

import metarl
from metarl.base.streams import generator
from metarl.trials.rollout import run_trial


@contextmanager
def one_of(size: int) -> Iterator[None]:
    """Be a process among others that answer nothing: sizes are as if they did, numbers mean nothing."""
    dist.init_process_group("fake", rank=0, world_size=size, store=FakeStore())
    try:
        yield
    finally:
        dist.destroy_process_group()


def an_agent(memory: str) -> RL2:
    size, family = 64, metarl.load("navigation-2d", horizon=4)
    settings = {"name": memory, "hidden_size": size, "num_layers": 4}
    config = RL2.Config.model_validate({"memory": settings, "ppo": {"num_epochs": 1, "num_minibatches": 1}})
    return RL2(config, family, seed=0, device="cpu")


def num_bytes(agent: RL2) -> int:
    return sum(own_part(value).nbytes for value in agent._held().values())


@pytest.mark.parametrize("memory", ["transformer", "linear", "associative"])
@pytest.mark.parametrize(("data", "tensor"), [(1, 2), (2, 1), (2, 2)])
def test_a_process_holds_its_part_of_parameters_and_optimiser(memory: str, data: int, tensor: int) -> None:
    agent = an_agent(memory)
    whole = num_bytes(agent)
    with one_of(data * tensor):
        agent.divide(init_device_mesh("cpu", (data, tensor), mesh_dim_names=("data", "tensor")))
        assert num_bytes(agent) < (0.1 + 1 / (data * tensor)) * whole


def test_the_parts_of_a_layer_have_the_same_share_of_each_section() -> None:
    assert _order((4, 2), 2).tolist() == [0, 1, 4, 2, 3, 5]
    assert _order((2, 2, 4), 2).tolist() == [0, 2, 4, 5, 1, 3, 6, 7]


def test_an_update_divides_the_memory_again_after_it_was_gathered_to_act() -> None:
    agent = an_agent("transformer")
    with one_of(2):
        agent.divide(init_device_mesh("cpu", (2, 1), mesh_dim_names=("data", "tensor")))
        family = metarl.load("navigation-2d", horizon=4)
        with closing(family.make_vec(family.sample("train", 2, seed=0), 2)) as envs:
            trial = run_trial(agent, envs, 1, seed=0, training=True)
        layer = agent.network.memory.divisible[0]
        acting = sum(parameter.numel() for parameter in layer.parameters())
        agent.update(trial, generator(0))
        assert sum(own_part(parameter).numel() for parameter in layer.parameters()) <= 0.51 * acting
        assert all(torch.isfinite(own_part(value)).all() for value in agent.sharding.parameters.values())
