"""Agents of stable-baselines3 tell their distributions as a teacher does."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from metarl.agents.common.heads import action_head

import metarl
from metarl.base.streams import Streams
from metarl.trials.agent import begin_learner
from metarl.trials.episodes import TimeStep

FAMILIES: dict[str, dict[str, Any]] = {"bernoulli-bandit": {"num_arms": 4}, "navigation-2d": {}}


@pytest.mark.parametrize("agent", ["sb3-ppo", "sb3-recurrent-ppo", "sb3-ppo-oracle"])
@pytest.mark.parametrize("name", sorted(FAMILIES))
def test_outputs_define_the_distribution_that_actions_are_drawn_from(agent: str, name: str) -> None:
    family = metarl.load(name, **FAMILIES[name])
    made = metarl.make_agent(agent, family, {"log_std_init": -4.0} if name == "navigation-2d" else {}, seed=3)
    tasks, replicas = family.sample("train", 2, seed=0), 4000
    learner = begin_learner(made, tasks, Streams.of(0, "learner", tasks.index[:, None], np.arange(replicas)))
    shape, space = (2, replicas), family.action_space
    seen = np.asarray(family.observation_space.sample())
    same = np.tile(seen, (*shape, *(1,) * seen.ndim))
    zeros, ends = np.zeros(shape), np.zeros(shape, dtype=bool)
    still = np.zeros((*shape, *space.shape), dtype=space.dtype)  # type: ignore[misc]
    actions = learner.act(TimeStep(same, still, zeros, ends, ends, ~ends), deterministic=False)
    assert learner.outputs is not None
    outputs = torch.as_tensor(learner.outputs)
    drawn = actions.reshape(2, replicas, -1).astype(np.float64)
    if name == "bernoulli-bandit":
        shares = np.stack([(drawn[..., 0] == arm).mean(axis=1) for arm in range(4)], axis=-1)
        np.testing.assert_allclose(shares, outputs[:, 0].softmax(-1).numpy(), atol=0.04)
    else:
        described = action_head(space).described(outputs)
        mean, deviation = (described[key][:, 0].numpy() for key in ("action_mean", "action_std"))
        np.testing.assert_allclose(deviation, np.exp(-4.0), rtol=1e-5)
        np.testing.assert_allclose(drawn.mean(axis=1), mean, atol=5 * np.exp(-4.0) / np.sqrt(replicas))
        np.testing.assert_allclose(drawn.std(axis=1), deviation, rtol=0.05)
