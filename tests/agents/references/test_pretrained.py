"""One classifier of all training classes, and a new last layer for each task."""

from __future__ import annotations

import contextlib
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from metarl.agents.references.pretrained import PretrainedClassifier, PretrainedLearner
from torch import Tensor

from metarl.base.errors import MetarlError
from metarl.base.streams import Streams
from metarl.checks.questions import Sort, Tell
from metarl.evaluation.evaluate import evaluate
from metarl.families.family import TaskFamily
from metarl.families.load import load
from metarl.families.task import Tasks
from metarl.trials.episodes import Trial
from metarl.trials.registered import make_agent
from metarl.trials.rollout import run_trial

SETTINGS: dict[str, Any] = {"hidden_sizes": [6], "dtype": "float64", "max_grad_norm": 1e9}


def made(**settings: Any) -> PretrainedClassifier:
    agent = make_agent("pretrained-classifier", Tell(), {**SETTINGS, **settings}, seed=1, device="cpu")
    assert isinstance(agent, PretrainedClassifier)
    return agent


def trial_of(agent: PretrainedClassifier, rounds: int = 2, seed: int = 0, replicas: int = 1) -> Trial:
    family = Tell()
    with contextlib.closing(family.make_vec(family.sample("train", 4, seed=0, start=4 * seed), replicas)) as envs:
        return run_trial(agent, envs, rounds, seed=seed, training=True)


def features(parameters: dict[str, Tensor], observation: np.ndarray) -> Tensor:
    x = torch.as_tensor(observation, dtype=torch.float64)
    return torch.relu(parameters["layers.0.weight"] @ x + parameters["layers.0.bias"])


def loss_of_loop(parameters: dict[str, Tensor], trial: Trial) -> Tensor:
    """Return the cross-entropy of all nine classes, question after question."""
    losses = []
    for episodes in trial.rounds:
        assert episodes.targets is not None
        for t, task, replica in np.ndindex(*episodes.mask.shape):
            right = int(trial.tasks.values["classes"][task, episodes.targets[t, task, replica]])
            z = features(parameters, episodes.observations[t, task, replica])
            weight = parameters["classifier.weight"]
            if "classifier.bias" in parameters:
                outputs = [w @ z + b for w, b in zip(weight, parameters["classifier.bias"], strict=True)]
            else:
                scale = parameters["classifier.log_scale"].exp()
                outputs = [scale * (w @ z) / (w.norm() * z.norm()) for w in weight]
            exponentials = torch.stack(outputs).exp()
            losses.append(-(exponentials[right] / exponentials.sum()).log())
    return torch.stack(losses).mean()


@pytest.mark.parametrize("classifier", ["linear", "cosine"])
def test_an_update_is_a_step_of_adam_on_the_cross_entropy_of_all_training_classes(classifier: str) -> None:
    agent = made(classifier=classifier, learning_rate=0.01)
    trial = trial_of(agent, replicas=2)
    copies = {name: value.detach().clone().requires_grad_(True) for name, value in agent.parameters.items()}
    loss = loss_of_loop(copies, trial)
    logged = agent.update(trial, np.random.default_rng(0))
    assert logged["loss"] == pytest.approx(loss.item())
    gradients = torch.autograd.grad(loss, list(copies.values()))
    for (name, before), gradient in zip(copies.items(), gradients, strict=True):
        # The first step of Adam is learning_rate g / (|g| + 1e-8).
        expected = before - 0.01 * gradient / (gradient.abs() + 1e-8)
        torch.testing.assert_close(agent.parameters[name].detach(), expected.detach(), rtol=1e-6, atol=1e-8, msg=name)


def test_the_gradient_is_that_of_finite_differences() -> None:
    agent = made()
    trial = trial_of(agent)
    copies = {name: value.detach().clone().requires_grad_(True) for name, value in agent.parameters.items()}
    gradients = torch.autograd.grad(loss_of_loop(copies, trial), list(copies.values()))
    for (name, value), gradient in zip(copies.items(), gradients, strict=True):
        direction = torch.randn(value.shape, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
        ends = [loss_of_loop({**copies, name: value + step * direction}, trial).item() for step in (1e-6, -1e-6)]
        assert float((gradient * direction).sum()) == pytest.approx((ends[0] - ends[1]) / 2e-6, rel=1e-5, abs=1e-8)


def learner_of(agent: PretrainedClassifier, replicas: int = 1) -> PretrainedLearner:
    return agent.begin(Streams.of(0, "learner", np.arange(4)[:, None], np.arange(replicas)))


def test_a_task_gets_the_ridge_regression_of_all_its_examples_on_features_of_length_one() -> None:
    agent, penalty = made(penalty=0.3), 0.3
    trial = trial_of(agent, rounds=3, replicas=2)
    learner = learner_of(agent, replicas=2)
    parameters = {name: value.detach() for name, value in agent.parameters.items()}
    for episodes in trial.rounds[:2]:
        learner.adapt(episodes)
    answers = learner.answer(trial.rounds[2].observations, deterministic=True)
    for task in range(4):
        rows, right = [], []
        for episodes in trial.rounds[:2]:
            assert episodes.targets is not None
            for t, replica in np.ndindex(*episodes.mask.shape[::2]):
                z = features(parameters, episodes.observations[t, task, replica])
                rows.append((z / z.norm()).numpy())
                right.append(np.eye(3)[episodes.targets[t, task, replica]])
        z, y = np.stack(rows), np.stack(right)
        weights = np.linalg.inv(z.T @ z + penalty * np.eye(6)) @ z.T @ y
        for t, replica in np.ndindex(*answers.shape[::2]):
            x = features(parameters, trial.rounds[2].observations[t, task, replica]).numpy()
            assert answers[t, task, replica] == np.argmax(x @ weights)


def test_a_learner_is_not_told_the_classes() -> None:
    agent = made()
    trial = trial_of(agent)
    others = replace(trial, tasks=Tasks({"classes": trial.tasks.values["classes"][:, ::-1]}, trial.tasks.index))
    learners = learner_of(agent), learner_of(agent)
    for learner, played in zip(learners, (trial, others), strict=True):
        learner.adapt(played.rounds[0])
    questions = trial.rounds[1].observations
    one, other = (learner.answer(questions, deterministic=True) for learner in learners)
    np.testing.assert_array_equal(one, other)
    # The update reads them: other classes are another loss.
    losses = [made().update(played, np.random.default_rng(0))["loss"] for played in (trial, others)]
    assert losses[0] != losses[1]


def test_scores_of_an_update_are_those_of_the_answers() -> None:
    agent = made()
    trial = trial_of(agent, rounds=3)
    assert not trial.answered
    with contextlib.closing(Tell().make_vec(trial.tasks)) as envs:
        played = run_trial(agent, envs, 3, seed=0).scores(Tell().measure).mean(axis=(1, 2))
    metrics = agent.update(trial, np.random.default_rng(0))
    assert [metrics["return_before"], metrics["return_after"]] == pytest.approx([played[0], played[2]])


def test_a_round_of_questions_is_enough_to_learn_from() -> None:
    agent = made()
    metrics = agent.update(trial_of(agent, rounds=1), np.random.default_rng(0))
    assert metrics["return_after"] == metrics["return_before"]


@pytest.mark.parametrize("classifier", ["linear", "cosine"])
def test_training_tells_all_classes_apart(classifier: str) -> None:
    agent = made(hidden_sizes=[32], classifier=classifier, learning_rate=0.02)
    told = [agent.update(trial_of(agent, seed=seed), np.random.default_rng(0))["class_accuracy"] for seed in range(60)]
    assert np.mean(told[:3]) < 0.4
    assert np.mean(told[-10:]) > 0.9
    assert evaluate(agent, Tell(), num_tasks=60, rounds=2).mean[1] > 0.8


def test_classes_that_training_has_not_are_refused_and_change_nothing() -> None:
    agent = made()
    trial, before = trial_of(agent), agent.state_dict()
    classes = trial.tasks.values["classes"].copy()
    classes[1, 2] = 11.0
    with pytest.raises(MetarlError, match="class 11 of a task is none of training's; update from tasks of split"):
        agent.update(replace(trial, tasks=Tasks({"classes": classes}, trial.tasks.index)), np.random.default_rng(0))
    assert all(torch.equal(value, before[name]) for name, value in agent.state_dict().items())


@pytest.mark.parametrize(
    ("family", "message"),
    [
        (load("navigation-2d"), "answers with classes, and family 'navigation-2d' knows no right answers; take a"),
        (load("sinusoid"), r"answers with classes, and family 'sinusoid' asks for Box"),
        (Sort(), "must know in training which class a label stands for, and family .* has no parameter 'classes'"),
    ],
    ids=["rewards", "numbers", "no-classes"],
)
def test_families_whose_labels_are_no_known_classes_are_refused(family: TaskFamily, message: str) -> None:
    with pytest.raises(MetarlError, match=message):
        make_agent("pretrained-classifier", family, device="cpu")
