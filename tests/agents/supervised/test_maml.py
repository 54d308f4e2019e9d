"""Supervised MAML: its gradients are those of finite differences and of a loop over tasks, and it learns sinusoids."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
import torch
from gymnasium import spaces
from metarl.agents.supervised.answered import Answered
from metarl.agents.supervised.answers import NumberAnswers
from metarl.agents.supervised.maml import SupervisedMAML
from torch import Tensor

from metarl.base.errors import MetarlError
from metarl.base.streams import Streams
from metarl.checks.questions import Sort
from metarl.evaluation.evaluate import evaluate
from metarl.families.batch import State
from metarl.families.family import TaskFamily
from metarl.families.load import load
from metarl.families.question_batch import Questions
from metarl.families.task import Values
from metarl.trials.episodes import Trial, select_tasks
from metarl.trials.registered import make_agent
from metarl.trials.rollout import run_trial
from tests.families.asked import Lines

TWO = {"name": "last-layer", "count": 2}
SETTINGS: dict[str, Any] = {"hidden_sizes": [8], "dtype": "float64", "inner_lr": 0.05, "activation": "tanh"}


def made(family: TaskFamily, **settings: Any) -> SupervisedMAML:
    agent = make_agent("maml", family, {**SETTINGS, **settings}, seed=1)
    assert isinstance(agent, SupervisedMAML)
    return agent


def trial_of(agent: SupervisedMAML, family: TaskFamily, rounds: int = 2, num_tasks: int = 3) -> Trial:
    with contextlib.closing(family.make_vec(family.sample("train", num_tasks, seed=0))) as envs:
        return run_trial(agent, envs, rounds, seed=0, training=True)


def loss_of_loop(agent: SupervisedMAML, trial: Trial, parameters: dict[str, Tensor], steps: int, rate: float) -> Tensor:
    """Return the loss after adaptation, task after task, with autograd's own graph and no vmap."""
    losses = []
    for task in range(len(trial.tasks)):

        def loss(values: dict[str, Tensor], number: int, task: int = task) -> Tensor:
            episodes = trial.rounds[number]
            assert episodes.targets is not None
            x = torch.as_tensor(episodes.observations[:, task, 0], dtype=torch.float64)
            y = torch.as_tensor(episodes.targets[:, task, 0], dtype=torch.float64)
            hidden = torch.tanh(x @ values["layers.0.weight"].T + values["layers.0.bias"])
            return (hidden @ values["layers.1.weight"].T + values["layers.1.bias"] - y).square().mean()

        values = parameters
        for _ in range(steps):
            gradients = torch.autograd.grad(loss(values, 0), list(values.values()), create_graph=True)
            values = {name: v - rate * g for (name, v), g in zip(values.items(), gradients, strict=True)}
        losses.append(loss(values, 1))
    return torch.stack(losses).mean()


@pytest.mark.parametrize("steps", [1, 3])
def test_the_meta_gradient_is_that_of_a_loop_over_tasks_and_of_finite_differences(steps: int) -> None:
    family = load("sinusoid")
    agent = made(family, num_inner_steps=steps)
    trial = trial_of(agent, family)
    gradients, outcome = agent.over_tasks.task_gradients(tuple(map(agent.reader.read, trial.rounds)))
    parameters = {name: value.detach().clone().requires_grad_(True) for name, value in agent.parameters.items()}
    loop = loss_of_loop(agent, trial, parameters, steps, 0.05)
    expected = torch.autograd.grad(loop, list(parameters.values()))
    torch.testing.assert_close(outcome.loss.mean(), loop.detach())
    for (name, value), gradient in zip(parameters.items(), expected, strict=True):
        torch.testing.assert_close(gradients[name].mean(0), gradient, rtol=1e-9, atol=1e-10)
        direction = torch.randn(value.shape, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
        moved = [
            loss_of_loop(agent, trial, {**parameters, name: value + step * direction}, steps, 0.05).item()
            for step in (1e-5, -1e-5)
        ]
        slope = (moved[0] - moved[1]) / 2e-5
        assert float((gradients[name].mean(0) * direction).sum()) == pytest.approx(slope, rel=1e-6, abs=1e-8)


def test_the_first_order_gradient_takes_inner_gradients_as_constants() -> None:
    family = load("sinusoid")
    first, exact = made(family, outer={"name": "adam", "meta_gradient": "first-order"}), made(family)
    rounds = tuple(map(exact.reader.read, trial_of(exact, family).rounds))
    ours, _ = first.over_tasks.task_gradients(rounds)
    adapted = exact.over_tasks.adapt(exact.over_tasks.start(3), rounds[0])
    loss = torch.func.vmap(torch.func.grad(lambda fast, data: exact.objective.loss(fast, {}, data)[0]))
    expected = loss(adapted, rounds[1])
    for name, value in ours.items():
        torch.testing.assert_close(value, expected[name])
        assert not torch.allclose(value, exact.over_tasks.task_gradients(rounds)[0][name])


@pytest.mark.parametrize(
    "adapts", ["all", {"name": "all", "bias_size": 3}, "last-layer", TWO, "context", "latent", "nothing"], ids=str
)
@pytest.mark.parametrize(
    "outer", [{"name": "adam", "inner_lr_kind": "per-parameter"}, {"name": "adam", "rounds": "all"}]
)
def test_every_choice_of_what_adapts_lowers_its_loss(adapts: Any, outer: dict[str, Any]) -> None:
    if adapts == "nothing":
        outer = {**outer, "inner_lr_kind": "fixed"}
    family = load("sinusoid")
    agent = made(family, adapts=adapts, outer={**outer, "learning_rate": 0.02})
    trial = trial_of(agent, family)
    history: list[float] = []
    while len(history) < 30 and (not history or history[-1] >= 0.9 * history[0]):
        history.append(agent.update(trial, np.random.default_rng(0))["loss"])
    assert history[-1] < 0.9 * history[0]


@pytest.mark.parametrize("adapts", ["all", TWO, "context", "latent", "nothing"], ids=str)
def test_a_user_served_alone_gets_the_answers_of_a_batch_without_vmap(
    adapts: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    family = load("sinusoid")
    agent = made(family, hidden_sizes=[8, 8], adapts=adapts, num_inner_steps=3)
    trial = trial_of(agent, family)
    support, queries = trial.rounds
    learner = agent.begin(Streams.of(0, np.zeros((3, 1))))
    learner.adapt(support)
    answers = learner.answer(queries.observations, deterministic=True)
    assert adapts == "nothing" or np.ptp(answers, axis=1).min() > 1e-4  # tasks differ
    monkeypatch.delattr(torch, "vmap")
    for task in range(3):
        alone = agent.begin(Streams.of(0, np.zeros((1, 1))))
        alone.adapt(select_tasks(support, slice(task, task + 1)))
        found = alone.answer(queries.observations[:, task : task + 1], deterministic=True)
        np.testing.assert_allclose(found, answers[:, task : task + 1], rtol=1e-6)  # an answer is a float32


def test_reptile_moves_towards_the_adapted_parameters() -> None:
    family = load("sinusoid")
    agent = made(family, outer="reptile", num_inner_steps=2)
    rounds = tuple(map(agent.reader.read, trial_of(agent, family).rounds))
    directions, _ = agent._reptile(rounds)
    adapted = agent.over_tasks.start(3)
    for data in (rounds[0], rounds[0], rounds[1], rounds[1]):
        adapted = agent.over_tasks.adapt(adapted, data)
    for name, value in agent.parameters.items():
        torch.testing.assert_close(directions[name], (value.detach() - adapted[name]) / 0.05)


def test_a_trial_of_training_is_not_answered_and_its_scores_are_those_of_an_answered_one() -> None:
    family = load("sinusoid")
    agent = made(family)
    trial = trial_of(agent, family)
    assert not trial.answered
    assert not trial.rounds[0].rewards.any()
    with contextlib.closing(family.make_vec(trial.tasks)) as envs:
        played = run_trial(agent, envs, 2, seed=0)
    metrics = agent.update(trial, np.random.default_rng(0))
    scores = played.scores(family.measure).mean(axis=(1, 2))
    assert [metrics["return_before"], metrics["return_after"]] == pytest.approx(scores.tolist(), rel=1e-5)


def test_an_answer_does_not_depend_on_other_questions() -> None:
    family = load("sinusoid")
    agent = made(family)
    trial = trial_of(agent, family)
    learner = agent.begin(Streams.of(0, "learner", np.arange(3)[:, None], np.arange(1)))
    learner.adapt(trial.rounds[0])
    questions = trial.rounds[1].observations
    answers = learner.answer(questions, deterministic=True)
    order = np.random.default_rng(0).permutation(len(questions))
    np.testing.assert_allclose(learner.answer(questions[order], deterministic=True), answers[order], atol=1e-6)
    np.testing.assert_allclose(learner.answer(questions[3:4], deterministic=True), answers[3:4], atol=1e-6)


def test_a_few_hundred_updates_halve_the_error_after_adaptation() -> None:
    family = load("sinusoid")
    agent = make_agent("maml", family, {"inner_lr": 0.02, "outer": {"name": "adam", "learning_rate": 5e-3}}, seed=0)
    before = evaluate(agent, family, num_tasks=100, rounds=2).returns.mean(axis=0)
    assert isinstance(agent, SupervisedMAML)
    after = before
    for update in range(300):
        with contextlib.closing(family.make_vec(family.sample("train", 10, seed=0, start=10 * update))) as envs:
            agent.update(run_trial(agent, envs, 2, seed=update, training=True), np.random.default_rng(0))
        if update % 50 == 49:
            after = evaluate(agent, family, num_tasks=100, rounds=2).returns.mean(axis=0)
            if after[1] > max(0.5 * before[1], after[0] / 2):
                break
    assert after[1] > 0.5 * before[1]
    assert after[1] > after[0] / 2


def test_a_family_without_targets_is_refused() -> None:
    with pytest.raises(MetarlError, match="family 'navigation-2d' knows none; take one that does"):
        make_agent("maml", load("navigation-2d"))


AGENTS_OF_ANSWERS = ["maml", "ridge", "neural-process", "from-scratch"]


@pytest.mark.parametrize("name", [*AGENTS_OF_ANSWERS, "prototypes", "pretrained-classifier", "leo"])
def test_a_family_that_hides_its_targets_is_refused_before_training(name: str) -> None:
    family = Lines(reveal="never") if name in AGENTS_OF_ANSWERS else load("image-classes", reveal="never")
    settings = {"learns_from": "targets"} if name == "leo" else {}
    with pytest.raises(MetarlError, match="reveals no right answers to learn from after a round"):
        make_agent(name, family, settings)


def test_without_adaptation_the_targets_of_updates_are_enough() -> None:
    family = Lines(reveal="never")
    agent = made(family, adapts="nothing")
    assert np.isfinite(agent.update(trial_of(agent, family), np.random.default_rng(0))["loss"])
    assert np.isfinite(evaluate(agent, family, num_tasks=2, rounds=2).returns).all()


def test_the_decision_layers_adapt_and_those_that_embed_do_not() -> None:
    agent = made(load("sinusoid"), hidden_sizes=[8, 7], adapts=TWO)
    learner = agent.begin(Streams.of(0, "learner", np.arange(3)[:, None], np.arange(1)))
    learner.adapt(trial_of(agent, load("sinusoid")).rounds[0])
    moved = {name for name, value in learner.fast.items() if not torch.equal(value[0], agent.parameters[name])}
    assert moved == {"layers.1.weight", "layers.1.bias", "layers.2.weight", "layers.2.bias"}


def test_more_layers_than_there_are_cannot_adapt() -> None:
    with pytest.raises(MetarlError, match=r"agent\.adapts\.count is 3, and the network has 2 layers"):
        made(load("sinusoid"), adapts={"name": "last-layer", "count": 3})


@pytest.mark.parametrize("name", ["maml", "ridge", "leo", "neural-process", "from-scratch"])
def test_answers_of_a_box_that_lies_anywhere_are_learned_from_its_middle(name: str) -> None:
    @dataclass(frozen=True)
    class Shifted(Lines):
        action_space = spaces.Box(97.0, 103.0, (1,), np.float32)

        def ask(self, task: Values, trial: State, number: int, streams: Streams) -> Questions:
            asked = super().ask(task, trial, number, streams)
            return Questions(asked.observations, asked.targets + np.float32(100))

    plain, shifted = (
        evaluate(make_agent(name, family), family, num_tasks=5).returns for family in (Lines(), Shifted())
    )
    np.testing.assert_allclose(shifted, plain, atol=1e-4)


def test_a_box_without_bounds_has_the_middle_zero() -> None:
    space = spaces.Box(np.array([-np.inf, 2.0], np.float32), np.array([np.inf, 4.0], np.float32))
    answers = NumberAnswers(space)
    outputs = torch.zeros(3, 2)
    np.testing.assert_array_equal(answers.best(outputs), [[0.0, 3.0]] * 3)
    assert float(answers.loss(outputs, torch.tensor([[0.0, 3.0]] * 3)).sum()) == 0


@pytest.mark.parametrize(("error", "best"), [("squared", 2.0), ("absolute", 0.5)])
def test_the_squared_error_asks_for_the_mean_and_the_absolute_one_for_the_median(error: Any, best: float) -> None:
    answers = NumberAnswers(spaces.Box(-9, 9, (1,), np.float32), error)
    targets, guesses = torch.tensor([[0.0], [0.5], [5.5]]), torch.linspace(-1, 6, 141)
    losses = [float(answers.loss(guess.expand(3, 1), targets).mean()) for guess in guesses]
    assert float(guesses[int(np.argmin(losses))]) == pytest.approx(best, abs=0.03)
    assert losses[20] == pytest.approx(np.mean([0, 0.25, 30.25] if error == "squared" else [0, 0.5, 5.5]))


@pytest.mark.parametrize("name", ["maml", "ridge", "neural-process"])
def test_agents_learn_by_the_error_that_is_asked_for(name: str) -> None:
    family = load("sinusoid")
    losses = []
    for error in ("squared", "absolute"):
        agent = make_agent(name, family, {"number_error": error}, seed=1)
        with contextlib.closing(family.make_vec(family.sample("train", 4, seed=0))) as envs:
            trial = run_trial(agent, envs, 2, seed=0, training=True)
        losses.append(agent.update(trial, np.random.default_rng(0))["loss_before"])
    right = trial.rounds[0].targets
    assert right is not None and losses[0] != pytest.approx(losses[1])
    assert losses[1] == pytest.approx(np.abs(right).mean(), rel=0.5)


@pytest.mark.parametrize("adapts", ["last-layer", "context", "latent", "nothing"])
@pytest.mark.parametrize("rounds", ["last", "all"])
def test_an_encoder_that_no_step_moves_reads_a_trial_once_and_its_gradients_are_those_of_reading_in_each_step(
    adapts: str, rounds: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    family = load("image-classes", fonts="matplotlib", ways=3, queries=1, size=14)
    encoder = {"name": "blocks", "channels": [4, 4]}
    agent = made(family, encoder=encoder, adapts=adapts, num_inner_steps=3, outer={"name": "adam", "rounds": rounds})
    seen = tuple(map(agent.reader.read, trial_of(agent, family).rounds))
    network, read = agent.objective.policy, []
    encode = network.encoder.__class__.__call__
    monkeypatch.setattr(
        network.encoder.__class__, "__call__", lambda *given: (read.append(len(given[2])), encode(*given))[1]
    )
    gradients, outcome = agent.over_tasks.task_gradients(seen)
    assert read == [3 + 3] * 3  # a pass in each of three tasks
    monkeypatch.setattr(network, "read", lambda _, rounds: rounds)
    slow, expected = agent.over_tasks.task_gradients(seen)
    torch.testing.assert_close(outcome, expected)
    assert any(name.startswith("encoder.") for name in slow)
    torch.testing.assert_close(gradients, slow, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("adapts", ["all", "last-layer"])
def test_outputs_that_begin_alike_answer_permuted_labels_by_permuted_answers(adapts: str) -> None:
    family = Sort()
    agent = made(family, adapts=adapts, outputs="alike", num_inner_steps=3, inner_lr=0.5)
    support, queries = map(agent.reader.read, trial_of(agent, family).rounds)
    order = torch.tensor([2, 0, 1])

    def answers(labels: Tensor) -> Tensor:
        fast = agent.over_tasks.start(3)
        for _ in range(3):
            fast = agent.over_tasks.adapt(fast, support._replace(targets=labels))
        return agent.over_tasks.outputs(fast, queries.observations, queries.raw)

    first, permuted = answers(support.targets), answers(order[support.targets.long()])
    torch.testing.assert_close(permuted[..., order], first)
    assert not torch.allclose(permuted, first)
    assert np.ptp(first.numpy(), axis=-1).min() > 0


def test_an_update_of_outputs_that_begin_alike_keeps_their_differences() -> None:
    agent = made(Sort(), adapts="last-layer", outputs="alike")
    weight = agent.parameters["layers.1.weight"]
    before = (weight - weight.mean(0)).detach().clone()
    agent.update(trial_of(agent, Sort()), np.random.default_rng(0))
    torch.testing.assert_close((weight - weight.mean(0)).detach(), before, rtol=1e-6, atol=1e-9)


def nearest_mean(agent: SupervisedMAML, support: Answered, queries: Answered) -> Tensor:
    """Return |x|^2 - |x - c|^2 of queries x and means c of classes [task, query, class], by loops.

    A class without an example has the output that the network begins with.
    """
    layer = {name: value.detach() for name, value in agent.parameters.items()}

    def feature(question: Tensor) -> Tensor:
        return torch.tanh(layer["layers.0.weight"] @ question + layer["layers.0.bias"])

    def output(x: Tensor, known: list[Tensor], label: int) -> Tensor:
        if not known:
            return layer["layers.1.weight"][label] @ x + layer["layers.1.bias"][label]
        return x.square().sum() - (x - torch.stack(known).mean(0)).square().sum()

    found = []
    for task in range(len(support.mask)):
        labels = support.targets[task].flatten().long().tolist()
        features = [feature(each) for each in support.observations[task].flatten(0, -2)]
        classes = [[x for x, label in zip(features, labels, strict=True) if label == k] for k in range(3)]
        asked = [feature(each) for each in queries.observations[task].flatten(0, -2)]
        found.append([[output(x, known, label) for label, known in enumerate(classes)] for x in asked])
    assert len({*labels}) < 3
    return torch.tensor(found, dtype=queries.observations.dtype)


@pytest.mark.parametrize("adapts", ["all", "last-layer"])
def test_outputs_that_begin_at_prototypes_answer_by_the_nearest_mean_before_the_first_inner_step(adapts: str) -> None:
    agent = made(Sort(), adapts=adapts, outputs="prototypes", inner_lr=1e-12, dtype="float64")
    trial = trial_of(agent, Sort())
    support, queries = map(agent.reader.read, trial.rounds)
    learner = agent.begin(Streams.of(0, np.arange(3)[:, None], np.arange(2)))
    before = agent.over_tasks.outputs(learner.fast, queries.observations, queries.raw)
    learner.adapt(trial.rounds[0])
    outputs = agent.over_tasks.outputs(learner.fast, queries.observations, queries.raw).flatten(1, -2)
    torch.testing.assert_close(outputs, nearest_mean(agent, support, queries), rtol=1e-7, atol=1e-8)
    assert not torch.allclose(before.flatten(1, -2), outputs)


def test_the_gradient_of_outputs_that_begin_at_prototypes_runs_through_them_and_the_steps() -> None:
    agent = made(Sort(), adapts="all", outputs="prototypes", num_inner_steps=2, inner_lr=0.1, dtype="float64")
    rounds = tuple(map(agent.reader.read, trial_of(agent, Sort()).rounds))
    gradients, outcome = agent.over_tasks.task_gradients(rounds)
    for name, value in agent.parameters.items():
        for place in (0, value.numel() - 1):
            losses = []
            for shift in (1e-6, -1e-6):
                with torch.no_grad():
                    value.view(-1)[place] += shift
                    losses.append(agent.over_tasks.outcomes(agent.parameters, rounds).loss)
                    value.view(-1)[place] -= shift
            slope = (losses[0] - losses[1]) / 2e-6
            torch.testing.assert_close(gradients[name].flatten(1)[:, place], slope, rtol=1e-5, atol=1e-7)
    # Before adaptation the answers are those of the learned outputs, which see no right answer.
    start = agent.over_tasks.start(3)
    torch.testing.assert_close(outcome.first, agent.over_tasks.outputs(start, rounds[0].observations, rounds[0].raw))


def test_later_rounds_go_on_from_what_the_first_made_of_prototypes() -> None:
    agent = made(Sort(), adapts="last-layer", outputs="prototypes", num_inner_steps=1, inner_lr=0.1, dtype="float64")
    trial = trial_of(agent, Sort())
    learner = agent.begin(Streams.of(0, np.arange(3)[:, None], np.arange(2)))
    learner.adapt(trial.rounds[0])
    expected = agent.over_tasks.adapt(learner.fast, agent.reader.read(trial.rounds[1]))
    learner.adapt(trial.rounds[1])
    for name, value in learner.fast.items():
        torch.testing.assert_close(value, expected[name])


@pytest.mark.parametrize(
    ("family", "settings", "message"),
    [
        (
            "image-classes",
            {"outputs": "prototypes", "outer": "reptile"},
            "outputs is 'prototypes', and outer is 'reptile', which learns no prototypes; take adam",
        ),
        ("sinusoid", {"outputs": "prototypes"}, "agent.outputs is 'prototypes', and answers of family 'sinusoid' are"),
        ("sinusoid", {}, "agent.outputs is 'alike', and answers of family 'sinusoid' are no classes"),
        ("image-classes", {"adapts": "context"}, "outputs is 'alike', and adapts is 'context', which moves no output"),
    ],
)
def test_outputs_that_cannot_begin_alike_are_refused(family: str, settings: dict[str, Any], message: str) -> None:
    with pytest.raises(MetarlError, match=message):
        made(load(family), **{"outputs": "alike", **settings})
