"""Parameters do not depend on how many processes share the tasks of an update, but for rounding."""

from __future__ import annotations

import contextlib
from typing import Any

import numpy as np
import pytest
import torch

from metarl.base.ranks import Ranks, ranks
from metarl.base.streams import generator
from metarl.checks.questions import Find, Guess, Respell, Sort
from metarl.families.family import TaskFamily
from metarl.families.load import load
from metarl.trials.agent import TrainableAgent
from metarl.trials.registered import make_agent
from metarl.trials.rollout import run_trial

from .together import run_together

DOUBLE: dict[str, Any] = {"dtype": "float64"}
MAML: dict[str, Any] = {**DOUBLE, "hidden_sizes": [8], "normalize_observations": True}
NETWORK = {"name": "encoder-decoder", "width": 8, "num_heads": 2, "feedforward": 8}
POINT = ("point-dense", {"horizon": 7})
AGENTS: dict[str, tuple[str, dict[str, Any], Any]] = {
    "second order": ("maml-ppo", {**MAML, "outer": {"num_epochs": 3, "target_kl": 0.02}}, POINT),
    "value network": ("maml-ppo", {**MAML, "baseline": "network"}, POINT),
    "natural gradient": ("maml-trpo", MAML, POINT),
    "towards the adapted": ("reptile", MAML, POINT),
    "codes of steps": ("leo", {**DOUBLE, "hidden_sizes": [8], "learns_from": "rewards"}, POINT),
    **{
        memory: ("rl2", {**DOUBLE, "memory": {"name": memory, "hidden_size": 8}, "ppo": {"num_minibatches": 3}}, POINT)
        for memory in ("gru", "linear", "transformer", "associative")
    },
    "belief": ("varibad", {**DOUBLE, "memory": {"hidden_size": 8}, "belief": {"num_prefixes": 3}}, POINT),
    "supervised": ("maml", {**DOUBLE, "outer": {"name": "adam", "inner_lr_kind": "learned"}}, Guess()),
    "images": ("maml", {**DOUBLE, "encoder": "blocks", "adapts": "last-layer"}, Find()),
    "prototypes": ("prototypes", {**DOUBLE, "hidden_sizes": [8]}, Sort()),
    "ridge": ("ridge", DOUBLE, Sort()),
    "codes of classes": ("leo", DOUBLE, Sort()),
    "neural process": ("neural-process", DOUBLE, Guess()),
    "fine-tuned sequences": ("fine-tuned", {**DOUBLE, "network": NETWORK}, Respell()),
    "pairs in sight": ("in-context", {**DOUBLE, "network": {"width": 8, "num_heads": 2, "feedforward": 8}}, Respell()),
}
NUM_TASKS, NUM_UPDATES = 5, 2
AMPLIFIES = {"natural gradient": 200.0}
"""How much an update of an agent makes differences by rounding larger: here by conjugate gradients."""


def trained(
    name: str, with_others: Ranks | None = None, updates: int = NUM_UPDATES
) -> tuple[dict[str, torch.Tensor], list[dict[str, float]]]:
    """Return the state after some updates, each from this process's share of the tasks, and what was logged."""
    agent_name, settings, family = AGENTS[name]
    if not isinstance(family, TaskFamily):
        family = load(family[0], **family[1])
    agent = make_agent(agent_name, family, settings, seed=0, device="cpu")
    assert isinstance(agent, TrainableAgent)
    logged = []
    for update in range(updates):
        tasks = family.sample("train", NUM_TASKS, seed=0, start=update * NUM_TASKS)
        rows = np.arange(NUM_TASKS)[list((with_others or ranks()).share(NUM_TASKS))]
        with contextlib.closing(family.make_vec(tasks[rows], 2)) as envs:
            trial = run_trial(agent, envs, 2, seed=update, training=True)
        logged.append(agent.update(trial, generator(update)))
    return agent.state_dict(), logged


def require_equal(name: str, size: int, updates: int = NUM_UPDATES) -> None:
    alone, logged = trained(name, updates=updates)
    found, _ = run_together(size, lambda own: trained(name, own, updates))
    factor = AMPLIFIES[name] * updates if name in AMPLIFIES else 1.0
    for state, metrics in found:
        for key, value in alone.items():
            torch.testing.assert_close(
                state[key], value, rtol=1e-6 * factor, atol=1e-9 * factor, msg=lambda text, key=key: f"{key}: {text}"
            )
            assert torch.equal(state[key], found[0][0][key])
        for one, other in zip(metrics, logged, strict=True):
            assert one.keys() == other.keys()


@pytest.mark.parametrize("name", AGENTS)
def test_parameters_are_those_of_one_process_with_all_tasks(name: str) -> None:
    require_equal(name, 3)


@pytest.mark.slow
@pytest.mark.parametrize("size", [1, 2, 3, 4])
@pytest.mark.parametrize("name", AGENTS)
def test_parameters_are_those_of_one_process_however_many_share(name: str, size: int) -> None:
    require_equal(name, size, updates=5)


@pytest.mark.parametrize(("name", "steps"), [("second order", 3), ("gru", 30), ("prototypes", 1)])
def test_processes_exchange_as_many_bytes_as_parameters_have_in_each_step(name: str, steps: int) -> None:
    found, room = run_together(2, lambda own: trained(name, own))
    state, _ = found[0]
    size = sum(value.nbytes for key, value in state.items() if not {"optimizer", "moments"} & {*key.split(".")})
    assert room.num_bytes < 1.1 * NUM_UPDATES * steps * size + 10_000
