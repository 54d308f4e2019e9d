"""A state that no training can have saved is refused by every agent, which then stays as it was."""

from __future__ import annotations

import itertools
import math

import pytest
import torch
from torch import Tensor

from metarl.base.errors import MetarlError
from metarl.base.streams import generator
from metarl.checks.probes import Subject, first_change, probes, state_arrays
from metarl.trials.agent import TrainableAgent
from metarl.trials.registered import AGENTS, missing_package
from tests.agents.playable import family_for
from tests.small_agents import smaller

NAMES = [name for name in AGENTS if issubclass(AGENTS[name], TrainableAgent) and not missing_package(name)]


def spoil(value: Tensor, number: float) -> Tensor:
    spoiled = value.clone()
    spoiled.view(-1)[-1] = number
    return spoiled


@pytest.mark.parametrize("name", NAMES)
def test_every_tensor_with_a_number_that_is_not_finite_is_refused(name: str) -> None:
    agent = Subject(smaller(name), family_for(name)).make()
    state, before = agent.state_dict(), state_arrays(agent)
    floats = [key for key, value in state.items() if value.is_floating_point() and value.numel()]
    # In turn: to load as many states as there are tensors takes long enough.
    for key, number in zip(floats, itertools.cycle([math.nan, math.inf]), strict=False):
        with pytest.raises(MetarlError, match=r"is damaged: .* not finite; take another checkpoint"):
            agent.load_state_dict({**state, key: spoil(state[key], number)})
    assert first_change(before, state_arrays(agent)) == ""


@pytest.mark.parametrize("name", NAMES)
def test_counts_that_no_training_has_reached_are_refused(name: str) -> None:
    subject = Subject(smaller(name), family_for(name))
    agent = subject.make()
    agent.update(subject.trial(agent, training=True), generator(0))
    state = agent.state_dict()
    counts = [key for key in state if key.rpartition(".")[2] in ("step", "count", "num_updates")]
    for key in counts:
        for number in (-1.0, 0.5, 1e300 if state[key].dtype == torch.float64 else 1e30):
            if state[key].is_floating_point() or number == -1.0:
                with pytest.raises(MetarlError, match="must be a whole number from 0"):
                    agent.load_state_dict({**state, key: spoil(state[key], number)})
    squares = [key for key in state if key.endswith(("exp_avg_sq", "squares"))]
    for key in squares[:3]:
        with pytest.raises(MetarlError, match="negative mean or sum of squares"):
            agent.load_state_dict({**state, key: spoil(state[key], -1.0)})
    assert counts or not any("optimizer" in key for key in state)
    agent.load_state_dict(state)


def test_a_replay_buffer_s_place_outside_of_it_is_refused() -> None:
    agent = Subject(AGENTS["sb3-sac"], probes()[0], {"buffer_size": 50}).make()
    state = agent.state_dict()
    for place in (-1, 50):
        with pytest.raises(MetarlError, match=r"'replay.pos' is -?\d+, outside the 50 steps"):
            agent.load_state_dict({**state, "replay.pos": torch.tensor(place)})


@pytest.mark.parametrize("name", NAMES)
def test_an_update_that_is_interrupted_leaves_the_agent_as_it_was(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    subject = Subject(smaller(name), family_for(name))
    agent = subject.make()
    trial, before = subject.trial(agent, training=True), state_arrays(agent)
    steps = []
    real = torch.optim.Adam.step

    def step(optimizer: torch.optim.Adam, *arguments: object) -> None:
        real(optimizer)
        steps.append(0)
        if len(steps) == 2:
            raise KeyboardInterrupt

    monkeypatch.setattr(torch.optim.Adam, "step", step)
    try:
        agent.update(trial, generator(0))
    except KeyboardInterrupt:
        assert first_change(before, state_arrays(agent)) == ""
    else:
        assert len(steps) < 2
