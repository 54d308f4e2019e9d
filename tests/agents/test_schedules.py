"""Step sizes of training that follow a schedule. That of `rl2` is in rl2/test_agent.py."""

from __future__ import annotations

import contextlib
from typing import Any

import pytest
import torch

from metarl.base.streams import generator
from metarl.checks.questions import Guess, Sort
from metarl.trials.agent import TrainableAgent
from metarl.trials.registered import make_agent
from metarl.trials.rollout import run_trial
from tests.agents.playable import family_for

SCHEDULE = {"start": 1e-2, "end": 0.0, "updates": 2}
SMALL = {"width": 8, "num_heads": 2, "feedforward": 8, "meaning_layers": 1}
AGENTS: dict[str, dict[str, Any]] = {
    "maml-ppo": {"outer": {"learning_rate": SCHEDULE, "num_epochs": 2}},
    "reptile": {"outer": {"name": "reptile", "learning_rate": SCHEDULE}},
    "maml": {"outer": {"learning_rate": SCHEDULE}},
    "prototypes": {"learning_rate": SCHEDULE},
    "leo": {"learning_rate": SCHEDULE},
    "neural-process": {"learning_rate": SCHEDULE},
    "fine-tuned": {"learning_rate": SCHEDULE},
    "pretrained-classifier": {"learning_rate": SCHEDULE},
    "in-context": {"learning_rate": SCHEDULE, "network": SMALL},
}
FAMILIES = {"maml": Guess(), "leo": Sort(), "neural-process": Guess(), "fine-tuned": Guess()}
"""Families that those agents play which play several kinds."""


def _learned(agent: TrainableAgent) -> dict[str, torch.Tensor]:
    """Return what gradients move: neither the optimiser's state nor moments of what was seen."""
    state = agent.state_dict()
    return {
        name: value for name, value in state.items() if not {"optimizer", "num_updates", "moments"} & {*name.split(".")}
    }


@pytest.mark.parametrize("name", AGENTS)
def test_the_step_size_of_training_follows_its_schedule_over_a_restart(name: str) -> None:
    family = FAMILIES.get(name) or family_for(name)
    agent, other = (make_agent(name, family, AGENTS[name], seed=0, device="cpu") for _ in range(2))
    assert isinstance(agent, TrainableAgent) and isinstance(other, TrainableAgent)
    with contextlib.closing(family.make_vec(family.sample("train", 2, seed=0), 2)) as envs:
        trial = run_trial(agent, envs, 2, seed=0, training=True)
    initial = _learned(agent)
    agent.update(trial, generator(0))
    first = _learned(agent)
    other.load_state_dict(agent.state_dict())
    for each in (agent, other):
        each.update(trial, generator(1))
        second = _learned(each)
        each.update(trial, generator(2))
        third = _learned(each)
        assert all(torch.equal(second[key], third[key]) for key in third)
        assert any(not torch.equal(first[key], second[key]) for key in first)
    assert any(not torch.equal(initial[key], first[key]) for key in first)
