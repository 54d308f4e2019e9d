"""A task alone equals the same task in a batch, for learned agents too: to the rounding of matrix products."""

from __future__ import annotations

import numpy as np
import pytest

from metarl.families.load import load
from metarl.trials.agent import TrainableAgent
from metarl.trials.registered import AGENTS, make_agent, missing_package
from metarl.trials.rollout import run_trial
from tests.agents.playable import family_for, needs_answers


@pytest.mark.parametrize(
    "name", sorted(name for name in AGENTS if issubclass(AGENTS[name], TrainableAgent) and not missing_package(name))
)
def test_forty_tasks_at_once_equal_one_at_a_time_over_the_first_twenty_steps(name: str) -> None:
    family = family_for(name) if needs_answers(name) else load("half-cheetah-velocity", horizon=10)
    # stable-baselines3 computes in single precision alone, whose rounding contacts magnify.
    settings, tolerance = ({"dtype": "float64"}, 1e-9) if "dtype" in AGENTS[name].Config.model_fields else ({}, 1e-3)
    agent = make_agent(name, family, settings, seed=1, device="cpu")
    tasks = family.sample("test", 40, seed=0)
    together = run_trial(agent, family.make_vec(tasks, 2), 2, seed=3)
    for task in range(0, 40, 9):
        alone = run_trial(agent, family.make_vec(tasks[task : task + 1], 2), 2, seed=3)
        for mine, theirs in zip(alone.rounds, together.rounds, strict=True):
            for field in ("observations", "actions", "rewards"):
                expected = getattr(theirs, field)[:, task : task + 1]
                np.testing.assert_allclose(getattr(mine, field), expected, rtol=0, atol=tolerance, err_msg=field)
