"""Agents of right answers that were exported answer as they do here, and know the task that they adapted to."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from metarl.base.errors import MetarlError
from metarl.base.streams import Streams, generator
from metarl.families.family import TaskFamily
from metarl.families.load import load
from metarl.trials.agent import AnsweringLearner
from metarl.trials.export import write_step
from metarl.trials.registered import make_agent
from metarl.trials.rollout import run_trial
from tests.families.asked import Bindings, Lines

FAMILIES: dict[str, TaskFamily] = {"numbers": Lines(), "classes": Bindings()}
IMAGES = {"encoder": {"name": "blocks", "channels": [4, 4, 4]}}


def learner_of(agent: Any, family: TaskFamily, *, adapted: bool = True) -> tuple[AnsweringLearner, np.ndarray]:
    """Return a learner of one task, and questions of it, [question, 1, 1, *observation]."""
    learner = agent.begin(Streams.of(0, "test", np.zeros((1, 1), dtype=int)))
    with contextlib.closing(family.make_vec(family.sample("test", 1, seed=3))) as envs:
        support, queries = run_trial(agent, envs, 2, seed=0, training=True).rounds
    if adapted:
        learner.adapt(support)
    return learner, queries.observations


def played(path: Path, observations: np.ndarray) -> dict[str, np.ndarray]:
    """Return what a file computes for observations, as somebody without metarl has it."""
    outputs = torch.export.load(path).module()({"observation": torch.as_tensor(observations)})
    return {name: value.numpy() for name, value in outputs.items()}


@pytest.mark.parametrize(
    ("name", "settings", "kind"),
    [
        ("maml", {"inner_lr": 0.3}, "numbers"),
        ("maml", {"inner_lr": 1.0, "adapts": "context"}, "classes"),
        ("ridge", {"initial_lambda": 0.1}, "numbers"),
        ("leo", {"hidden_sizes": [8]}, "numbers"),
        ("neural-process", {"hidden_sizes": [8]}, "numbers"),
        ("neural-process", {"pools": "mean"}, "classes"),
        ("kernel-regression", {"hidden_sizes": [8]}, "numbers"),
        ("prototypes", {"hidden_sizes": [8]}, "classes"),
        ("prototypes", {"compares": "examples", "distance": "cosine", **IMAGES}, "images"),
    ],
)
def test_an_exported_learner_answers_as_it_has_adapted(
    name: str, settings: dict[str, Any], kind: str, tmp_path: Path
) -> None:
    family = load("image-classes", ways=3, queries=4) if kind == "images" else FAMILIES[kind]
    agent: Any = make_agent(name, family, settings, seed=0, device="cpu")
    with contextlib.closing(family.make_vec(family.sample("train", 4, seed=0))) as envs:
        agent.update(run_trial(agent, envs, 2, seed=0, training=True), generator(0))
    learner, questions = learner_of(agent, family)
    step = learner.exported_step()
    assert step is not None
    write_step(step, path := tmp_path / "step.pt2", {})
    outputs, wanted = played(path, questions[:, 0, 0]), learner.answer(questions, deterministic=True)[:, 0, 0]
    np.testing.assert_allclose(outputs["action"], wanted, atol=1e-5)
    if kind == "numbers":
        before = learner_of(agent, family, adapted=False)[0].answer(questions, deterministic=True)[:, 0, 0]
        assert np.abs(before - wanted).max() > 1e-3, "the adaptation changed nothing"
    else:
        assert len(np.unique(wanted)) > 1 and outputs["action_logits"].shape == (len(wanted), 3)


def test_prototypes_without_an_example_have_no_export() -> None:
    learner = learner_of(make_agent("prototypes", FAMILIES["classes"], {}), FAMILIES["classes"], adapted=False)[0]
    with pytest.raises(MetarlError, match=r"has seen no example to compare with; export it after a round whose answe"):
        learner.exported_step()
