"""Training from scratch in each task, against a plain loop over tasks."""

from __future__ import annotations

import contextlib

import numpy as np
import pytest
import torch
from metarl.agents.references import fitting
from metarl.agents.references.fitting import FittedLearner
from metarl.agents.references.scratch import FromScratch
from torch import Tensor
from torch.nn import functional as F

from metarl.base.errors import MetarlError
from metarl.base.streams import Streams
from metarl.checks.questions import Guess, Sort
from metarl.evaluation.evaluate import evaluate
from metarl.families.family import TaskFamily
from metarl.families.load import load
from metarl.trials.episodes import Episodes, Trial
from metarl.trials.registered import make_agent
from metarl.trials.rollout import run_trial
from tests.families.asked import Lines

NUM_TASKS, NUM_STEPS, LEARNING_RATE = 3, 7, 0.02
SETTINGS = {"hidden_sizes": [5], "num_steps": NUM_STEPS, "learning_rate": LEARNING_RATE, "dtype": "float64"}


def made(family: TaskFamily) -> FromScratch:
    agent = make_agent("from-scratch", family, SETTINGS, device="cpu")
    assert isinstance(agent, FromScratch)
    return agent


def asked(family: TaskFamily, rounds: int, replicas: int = 1) -> Trial:
    """Return a trial whose questions have right answers."""
    with contextlib.closing(family.make_vec(family.sample("test", NUM_TASKS, seed=0), replicas)) as envs:
        return run_trial(make_agent("random", family), envs, rounds, seed=0)


def begun(agent: FromScratch, replicas: int = 1, tasks: slice = slice(NUM_TASKS)) -> FittedLearner:
    return agent.begin(Streams.of(0, "learner", np.arange(NUM_TASKS)[tasks, None], np.arange(replicas)))


def rows_of(episodes: list[Episodes], task: int) -> tuple[Tensor, Tensor]:
    """Return the questions of a task, one row each, and the right answers."""
    seen, right = [], []
    for each in episodes:
        assert each.targets is not None
        for t, replica in np.ndindex(*each.mask.shape[::2]):
            seen.append(each.observations[t, task, replica].ravel())
            right.append(each.targets[t, task, replica])
    return torch.as_tensor(np.stack(seen), dtype=torch.float64), torch.as_tensor(np.stack(right))


def loop(initial: dict[str, Tensor], episodes: list[Episodes], task: int) -> dict[str, Tensor]:
    """Return the parameters of one task after Adam on its examples (Kingma and Ba, 2015, algorithm 1)."""
    x, y = rows_of(episodes, task)
    names = list(initial)
    values = [initial[name][task].clone() for name in names]
    first, second = ([torch.zeros_like(value) for value in values] for _ in range(2))
    for t in range(1, NUM_STEPS + 1):
        leaves = [value.detach().requires_grad_(True) for value in values]
        one, bias, two, shift = (
            leaves[names.index(name)]
            for name in ("layers.0.weight", "layers.0.bias", "layers.1.weight", "layers.1.bias")
        )
        outputs = F.relu(x @ one.T + bias) @ two.T + shift
        loss = F.cross_entropy(outputs, y) if outputs.shape[-1] == 3 else ((outputs - y) ** 2).mean()
        gradients = torch.autograd.grad(loss, leaves)
        first = [0.9 * m + 0.1 * g for m, g in zip(first, gradients, strict=True)]
        second = [0.999 * v + 0.001 * g**2 for v, g in zip(second, gradients, strict=True)]
        rates = [(m / (1 - 0.9**t), v / (1 - 0.999**t)) for m, v in zip(first, second, strict=True)]
        values = [value - LEARNING_RATE * m / (v.sqrt() + 1e-8) for value, (m, v) in zip(values, rates, strict=True)]
    return dict(zip(names, values, strict=True))


@pytest.mark.parametrize("family", [Guess(), Sort()], ids=["numbers", "classes"])
@pytest.mark.parametrize("replicas", [1, 2])
def test_each_task_is_trained_by_adam_on_all_of_its_examples_from_where_it_began(
    family: TaskFamily, replicas: int
) -> None:
    agent, trial = made(family), asked(family, 2, replicas)
    learner = begun(agent, replicas)
    for number in range(1, 3):
        learner.adapt(trial.rounds[number - 1])
        for task in range(NUM_TASKS):
            expected = loop(learner.initial, list(trial.rounds[:number]), task)
            for name, value in expected.items():
                torch.testing.assert_close(learner.parameters[name][task], value, rtol=1e-9, atol=1e-11)


def test_the_likeliest_class_is_answered_and_its_probability_told() -> None:
    family = Sort()
    agent, trial = made(family), asked(family, 2)
    learner = begun(agent)
    learner.adapt(trial.rounds[0])
    answers = learner.answer(trial.rounds[1].observations, deterministic=True)
    assert learner.confidences is not None
    for task in range(NUM_TASKS):
        weights = {name: value[task] for name, value in learner.parameters.items()}
        x, _ = rows_of([trial.rounds[1]], task)
        hidden = F.relu(x @ weights["layers.0.weight"].T + weights["layers.0.bias"])
        chances, best = (hidden @ weights["layers.1.weight"].T + weights["layers.1.bias"]).softmax(-1).max(-1)
        np.testing.assert_array_equal(answers[:, task, 0], best)
        np.testing.assert_allclose(learner.confidences[:, task, 0], chances)


def test_chunks_of_tasks_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    agent, trial = made(Guess()), asked(Guess(), 2)
    whole, one_by_one = begun(agent), begun(agent)
    whole.adapt(trial.rounds[0])
    monkeypatch.setattr(fitting, "CHUNK_FLOATS", 1)
    assert fitting.chunk_size(whole.initial, 100) == 1
    one_by_one.adapt(trial.rounds[0])
    for name, value in whole.parameters.items():
        torch.testing.assert_close(one_by_one.parameters[name], value)
    questions = trial.rounds[1].observations
    answers = one_by_one.answer(questions, deterministic=True)
    monkeypatch.undo()
    np.testing.assert_allclose(answers, whole.answer(questions, deterministic=True))


def test_no_two_tasks_begin_with_the_same_network_and_a_task_alone_begins_with_its_own() -> None:
    agent = made(Guess())
    initial = begun(agent).initial["layers.0.weight"]
    assert not torch.equal(initial[0], initial[1])
    assert torch.equal(begun(agent, tasks=slice(1, 2)).initial["layers.0.weight"][0], initial[1])


def test_the_tasks_of_a_chunk_are_as_many_as_its_floats_allow() -> None:
    parameters = {"a": torch.zeros(9, 10, 10), "b": torch.zeros(9, 50)}
    assert fitting.chunk_size(parameters, 250) == fitting.CHUNK_FLOATS // (250 + 5 * 150)


def test_examples_alone_teach_a_little_of_a_sinusoid() -> None:
    family = load("sinusoid")
    agent = make_agent("from-scratch", family, {"learning_rate": 0.01}, device="cpu")
    before, after = evaluate(agent, family, num_tasks=60, rounds=2).mean
    assert after > 0.6 * before


def test_what_it_cannot_learn_from_is_refused() -> None:
    with pytest.raises(MetarlError, match="agent 'from-scratch' learns from right answers, and family 'navigation-2d'"):
        make_agent("from-scratch", load("navigation-2d"))


def test_parameters_that_are_not_finite_are_told_with_the_remedy() -> None:
    family = Lines()
    agent = make_agent("from-scratch", family, {"learning_rate": 1e30}, device="cpu")
    with pytest.raises(MetarlError, match=r"is not finite in \d of 2 tasks; take a lower agent.learning_rate"):
        evaluate(agent, family, num_tasks=2, rounds=2)
