"""PPO of stable-baselines3 on images."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from gymnasium import spaces

from metarl.base.streams import generator
from metarl.trials.registered import make_agent
from metarl.trials.rollout import run_trial
from tests.agents.sb3.sights import Sights
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


@pytest.mark.parametrize("seen", ["dict", "flat"])
def test_a_trial_with_images_is_read_in_pieces_that_change_no_number(
    seen: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    family = Sights(seen=seen)
    agent: Any = make_agent("sb3-ppo", family, {"hidden_sizes": [8]}, device="cpu")
    trial = run_trial(agent, family.make_vec(family.sample("train", 5, seed=0), 2), 2, seed=0)
    whole, sizes = agent.buffer(trial.rounds, agent.model), []
    evaluate = agent.model.policy.evaluate_actions
    monkeypatch.setattr(
        agent.model.policy, "evaluate_actions", lambda seen, index: sizes.append(len(index)) or evaluate(seen, index)
    )
    monkeypatch.setattr("metarl.agents.sb3.inputs.AT_ONCE", 7)
    pieces = agent.buffer(trial.rounds, agent.model)
    assert whole.buffer_size > 14
    assert max(sizes) == (7 if seen == "dict" else whole.buffer_size)
    for name in ("values", "log_probs", "advantages", "rewards"):
        np.testing.assert_allclose(getattr(pieces, name), getattr(whole, name), atol=1e-5, err_msg=name)
