"""Prototypes: the mean example of each class, in a space that is learned for it."""

from __future__ import annotations

import contextlib
from typing import Any

import numpy as np
import pytest
import torch
from metarl.agents.prototypes.agent import Prototypes
from metarl.agents.prototypes.comparison import compare, matching_logits, prototype_logits

from metarl.base.errors import MetarlError
from metarl.evaluation.evaluate import evaluate
from metarl.families.load import load
from metarl.trials.episodes import Trial
from metarl.trials.registered import make_agent
from metarl.trials.rollout import run_trial
from tests.families.asked import Bindings


def drawn(seed: int = 0) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
    """Return queries [2, 4, 3], examples [2, 6, 3], their classes [2, 6] of three, and one-hot labels."""
    generator = torch.Generator().manual_seed(seed)
    queries, examples = (torch.randn(2, n, 3, generator=generator, dtype=torch.float64) for n in (4, 6))
    classes = torch.tensor([[0, 1, 2, 0, 1, 2], [2, 2, 1, 0, 0, 0]])
    return queries, examples, classes, torch.nn.functional.one_hot(classes, 3).double()


def test_logits_are_those_of_three_lines_of_numpy() -> None:
    queries, examples, classes, labels = drawn()
    logits = prototype_logits(queries, examples, labels, "euclidean", torch.tensor(0.5, dtype=torch.float64))
    for task in range(2):
        c = np.stack([examples[task].numpy()[classes[task].numpy() == k].mean(axis=0) for k in range(3)])
        expected = -0.5 * ((queries[task].numpy()[:, None] - c) ** 2).sum(axis=-1)
        np.testing.assert_allclose(logits[task].numpy(), expected)


def test_matching_sums_the_weights_of_each_class() -> None:
    queries, examples, classes, labels = drawn()
    logits = matching_logits(queries, examples, labels, "cosine", torch.tensor(3.0, dtype=torch.float64))
    for task, query in np.ndindex(2, 4):
        f, g = queries[task, query].numpy(), examples[task].numpy()
        weights = np.exp(3 * g @ f / np.linalg.norm(f) / np.linalg.norm(g, axis=1))
        share = [weights[classes[task].numpy() == k].sum() / weights.sum() for k in range(3)]
        np.testing.assert_allclose(logits[task, query].exp().numpy(), share)


@pytest.mark.parametrize("rule", [prototype_logits, matching_logits])
def test_an_example_without_a_label_changes_nothing_and_an_unknown_class_is_last(rule: Any) -> None:
    queries, examples, _, labels = drawn()
    labels[:, 3:] = 0
    labels[1] = 0
    labels[1, 0, 1] = 1
    scale = torch.tensor(1.0, dtype=torch.float64)
    logits = rule(queries, examples, labels, "euclidean", scale)
    examples[:, 3:] = 1e6
    torch.testing.assert_close(rule(queries, examples, labels, "euclidean", scale), logits)
    assert (logits[1].argmax(-1) == 1).all()
    assert logits.isfinite().all()


def test_the_classifier_of_euclidean_prototypes_is_linear() -> None:
    queries, examples, _, _ = drawn()
    likeness = compare(queries, examples, "euclidean", torch.tensor(1.0, dtype=torch.float64))
    linear = 2 * queries @ examples.transpose(1, 2) - examples.square().sum(-1)[:, None]
    torch.testing.assert_close(likeness.softmax(-1), linear.softmax(-1))


SETTINGS: dict[str, Any] = {"hidden_sizes": [16, 8], "learning_rate": 0.01}


def trial_of(agent: Prototypes, seed: int = 0, rounds: int = 2) -> Trial:
    family = Bindings()
    with contextlib.closing(family.make_vec(family.sample("train", 8, seed=0, start=8 * seed))) as envs:
        return run_trial(agent, envs, rounds, seed=seed, training=True)


@pytest.mark.parametrize("compares", ["prototypes", "examples"])
@pytest.mark.parametrize("distance", ["euclidean", "cosine"])
def test_a_space_is_learned_in_which_noise_does_not_count(compares: str, distance: str) -> None:
    family = Bindings()
    agent = make_agent("prototypes", family, {**SETTINGS, "compares": compares, "distance": distance}, seed=0)
    assert isinstance(agent, Prototypes)
    before = evaluate(agent, family, num_tasks=60, rounds=2).returns.mean(axis=0)
    after = before
    for update in range(150):
        agent.update(trial_of(agent, update), np.random.default_rng(0))
        if update % 30 == 29:
            after = evaluate(agent, family, num_tasks=60, rounds=2).returns.mean(axis=0)
            if after[1] > 0.72:
                break
    assert before[1] < 0.6
    assert after[1] > 0.7
    assert after[0] < 0.5


def test_scores_of_an_update_are_those_of_the_answers() -> None:
    agent = make_agent("prototypes", Bindings(), SETTINGS, seed=0)
    assert isinstance(agent, Prototypes)
    trial = trial_of(agent, rounds=3)
    assert not trial.answered
    with contextlib.closing(Bindings().make_vec(trial.tasks)) as envs:
        played = run_trial(agent, envs, 3, seed=0).scores(Bindings().measure).mean(axis=(1, 2))
    metrics = agent.update(trial, np.random.default_rng(0))
    assert [metrics["return_before"], metrics["return_after"]] == pytest.approx([played[0], played[2]])


def test_the_gradient_of_an_update_is_that_of_finite_differences() -> None:
    agent = make_agent("prototypes", Bindings(), {**SETTINGS, "dtype": "float64", "max_grad_norm": 1e9}, seed=0)
    assert isinstance(agent, Prototypes)
    trial = trial_of(agent)

    def loss() -> torch.Tensor:
        data = [agent.reader.read(episodes) for episodes in trial.rounds]
        both = [agent.examples(each, agent.embed(each.observations, each.raw)) for each in data]
        (points, labels), (queries, right) = both
        logits = agent.outputs(queries, points, labels)
        return -(logits.log_softmax(-1) * right).sum() / right.sum()

    gradients = torch.autograd.grad(loss(), list(agent.parameters.values()))
    for (name, value), gradient in zip(agent.parameters.items(), gradients, strict=True):
        direction = torch.randn(value.shape, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
        ends = []
        for step in (1e-6, -1e-6):
            with torch.no_grad():
                value += step * direction
                ends.append(loss().item())
                value -= step * direction
        slope = (ends[0] - ends[1]) / 2e-6
        assert float((gradient * direction).sum()) == pytest.approx(slope, rel=1e-4, abs=1e-8), name


@pytest.mark.parametrize("name", ["sinusoid", "navigation-2d"])
def test_a_family_without_classes_is_refused(name: str) -> None:
    with pytest.raises(MetarlError, match="agent 'prototypes' answers with classes or boxes, and family"):
        make_agent("prototypes", load(name))
