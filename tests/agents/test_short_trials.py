"""One task, one replica, one step: an update of every agent is finite, or refused with a remedy."""

from __future__ import annotations

import numpy as np
import pytest

from metarl.base.errors import MetarlError
from metarl.base.streams import generator
from metarl.evaluation.evaluate import evaluate
from metarl.families.load import load
from metarl.trials.agent import TrainableAgent
from metarl.trials.registered import AGENTS, make_agent, missing_package
from metarl.trials.rollout import run_trial
from tests.agents.playable import family_for, needs_answers

NAMES = [name for name in AGENTS if issubclass(AGENTS[name], TrainableAgent) and not missing_package(name)]


@pytest.mark.parametrize("family", ["navigation-2d", "bernoulli-bandit"])
@pytest.mark.parametrize("name", NAMES)
def test_the_smallest_trial_gives_finite_numbers_or_a_remedy(name: str, family: str) -> None:
    made = family_for(name) if needs_answers(name) else load(family, horizon=1)
    if needs_answers(name) and family == "bernoulli-bandit":
        pytest.skip("questions only, which the other family stands for")
    if name == "sb3-sac" and family == "bernoulli-bandit":
        pytest.skip("continuous actions only")
    agent = make_agent(name, made, {}, seed=0, device="cpu")
    assert isinstance(agent, TrainableAgent)
    trial = run_trial(agent, made.make_vec(made.sample("train", 1, seed=0), 1), agent.min_rounds, seed=0, training=True)
    try:
        metrics = agent.update(trial, generator(0))
    except MetarlError as error:
        assert "take more tasks" in str(error)
    else:
        assert all(np.isfinite(value) for value in metrics.values())
    assert all(value.isfinite().all() for value in agent.state_dict().values())
    told = evaluate(agent, made, num_tasks=1, rounds=2, replicas=1)
    assert np.isfinite(told.returns).all()
    assert np.isfinite([told.gain.iqm, *told.iqm]).all()
