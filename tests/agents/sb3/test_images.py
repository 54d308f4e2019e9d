"""PPO of stable-baselines3 on images."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from gymnasium import spaces

from metarl.base.streams import generator
from metarl.trials.registered import make_agent
from metarl.trials.rollout import run_trial
from tests.families import kinds


@pytest.mark.parametrize("shape", [(36, 40, 1), (3, 36, 40)])
def test_images_are_read_by_the_librarys_convolutions(shape: tuple[int, ...], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(kinds.OBSERVATIONS, "image", spaces.Box(0, 255, shape, dtype=np.uint8))
    family = kinds.ArrayMeters(seen="image", horizon=3)
    agent: Any = make_agent("sb3-ppo", family, {"n_epochs": 1, "adapts": True}, device="cpu")
    assert type(agent.model.policy.features_extractor).__name__ == "NatureCNN"
    trial = run_trial(agent, family.make_vec(family.sample("train", 2, seed=0), 2), 2, seed=0)
    seen = agent.buffer(trial.rounds[:1], agent.model).observations[:, 0]
    first = trial.rounds[0].observations[:, 0, 0]
    np.testing.assert_array_equal(seen[:3], first if shape[0] == 3 else np.moveaxis(first, -1, 1))
    assert np.isfinite(list(agent.update(trial, generator(0)).values())).all()
