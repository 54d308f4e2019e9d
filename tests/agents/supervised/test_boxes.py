"""Boxes: their loss, answers and gradients, and agents that find them in maps of cells."""

from __future__ import annotations

import contextlib
import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
import torch
from gymnasium import spaces
from metarl.agents.common.encoders import CellsEncoder, ObservationEncoder
from metarl.agents.common.over_ranks import TaskNoise
from metarl.agents.supervised.boxes import BoxAnswers, generalized_iou
from torch import Tensor

from metarl import MetarlError, make_agent, run_trial
from metarl.base.streams import Streams
from metarl.checks.questions import Find
from metarl.families.batch import State
from metarl.families.family import TaskFamily
from metarl.families.question_batch import Questions
from metarl.families.task import Values
from metarl.trials.episodes import Trial


@dataclass(frozen=True)
class Pictures(Find):
    """The same squares in images of bytes."""

    observation_space = spaces.Box(0, 255, (8, 8, 1), np.uint8)

    def ask(self, task: Values, trial: State, number: int, streams: Streams) -> Questions:
        asked = super().ask(task, trial, number, streams)
        return asked._replace(observations=(255 * asked.observations[..., None]).astype(np.uint8))


CELLS = {"name": "cells", "channels": [4, 5], "strides": [2, 1]}
AGENTS: dict[str, dict[str, Any]] = {
    "leo": {
        "hidden_sizes": [],
        "latent_size": 4,
        "num_inner_steps": 2,
        "learns_from": {"name": "targets", "num_finetune_steps": 1},
    },
    "maml": {"hidden_sizes": [6], "activation": "tanh", "num_inner_steps": 2, "inner_lr": 0.1},
    "prototypes": {"distance": "cosine"},
    "from-scratch": {"hidden_sizes": [], "num_steps": 3},
}


def made(name: str, dtype: str = "float64", **settings: Any) -> Any:
    agent = make_agent(name, Pictures(), {"encoder": CELLS, "dtype": dtype, **AGENTS[name], **settings}, seed=0)
    return getattr(agent, "world", agent)  # leo has one for right answers, and one for rewards


def trial_of(agent: Any, family: TaskFamily, num_tasks: int = 3, start: int = 0, seed: int = 0) -> Trial:
    with contextlib.closing(family.make_vec(family.sample("train", num_tasks, seed=0, start=start))) as envs:
        return run_trial(agent, envs, 2, seed=seed, training=True)


def drawn(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def boxes(count: int, seed: int = 0) -> Tensor:
    """Return right boxes [count, 5], every third of which is not there."""
    rng = np.random.default_rng(seed)
    corners = np.sort(rng.uniform(size=(count, 2, 2)), axis=1).reshape(count, 4)
    there = (np.arange(count) % 3 > 0)[:, None]
    return torch.as_tensor(np.concatenate([corners * there, there], axis=1))


def giou_by_hand(a: list[float], b: list[float]) -> float:
    width, height = min(a[2], b[2]) - max(a[0], b[0]), min(a[3], b[3]) - max(a[1], b[1])
    both = max(width, 0.0) * max(height, 0.0)
    union = (a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - both
    hull = (max(a[2], b[2]) - min(a[0], b[0])) * (max(a[3], b[3]) - min(a[1], b[1]))
    return both / union - (hull - union) / hull


def loss_by_hand(outputs: list[list[float]], target: list[float], rows: int, columns: int) -> float:
    logits = [cell[0] for cell in outputs]
    total = sum(math.exp(logit) for logit in logits) + 1
    if not target[4]:
        return math.log(total)
    x, y = (target[0] + target[2]) / 2, (target[1] + target[3]) / 2
    right = min(int(y * rows), rows - 1) * columns + min(int(x * columns), columns - 1)
    weights, costs = [], []
    for place, (_, dx, dy, width, height) in enumerate(outputs):
        cx, cy = (place % columns + 0.5) / columns, (place // columns + 0.5) / rows
        weights.append(math.exp(-0.5 * (((cx - x) * columns) ** 2 + ((cy - y) * rows) ** 2) / 0.7**2))
        half = 0.125 * math.exp(width), 0.125 * math.exp(height)
        middle = cx + dx / columns, cy + dy / rows
        box = [middle[0] - half[0], middle[1] - half[1], middle[0] + half[0], middle[1] + half[1]]
        distance = sum(abs(ours - theirs) for ours, theirs in zip(box, target, strict=False))
        costs.append(5 * distance + 2 * (1 - giou_by_hand(box, target)))
    off = sum(weight * cost for weight, cost in zip(weights, costs, strict=True)) / sum(weights)
    return off + math.log(total) - logits[right]


def test_the_generalized_iou_is_that_of_a_loop() -> None:
    ours, theirs = boxes(30)[1::3, :4], boxes(30, seed=1)[1::3, :4]
    expected = [giou_by_hand(a, b) for a, b in zip(ours.tolist(), theirs.tolist(), strict=True)]
    np.testing.assert_allclose(generalized_iou(ours, theirs).numpy(), expected)


@pytest.mark.parametrize("grid", [(1, 1), (3, 4)])
def test_the_loss_is_that_of_a_loop(grid: tuple[int, int]) -> None:
    outputs, targets = drawn(12, grid[0] * grid[1], 5), boxes(12)
    expected = [loss_by_hand(o, t, *grid) for o, t in zip(outputs.tolist(), targets.tolist(), strict=True)]
    np.testing.assert_allclose(BoxAnswers(grid).loss(outputs, targets).numpy(), expected)


def test_the_answer_is_the_box_of_the_likeliest_cell_with_its_probability() -> None:
    answers, outputs = BoxAnswers((2, 4)), torch.zeros(8, 5, dtype=torch.float64)
    outputs[6] = torch.tensor([2.0, 0.5, -1.0, math.log(1.6), 0.0])
    # The middle of cell 6 is (0.625, 0.75); half a cell to the right and a cell up lead to (0.75, 0.25).
    expected = [0.55, 0.125, 0.95, 0.375, math.exp(2) / (math.exp(2) + 8)]
    np.testing.assert_allclose(answers.best(outputs), expected, rtol=1e-6)
    assert float(answers.confidence(outputs)) == pytest.approx(expected[4])


def test_the_focus_is_the_mean_of_what_lies_in_the_box() -> None:
    fine, maps = 40, drawn(1, 3 * 4, 2)
    target = torch.tensor([[0.15, 0.25, 0.8, 0.7, 1.0]], dtype=torch.float64)
    rows, columns = (np.arange(fine * n) // fine for n in (3, 4))
    pixels = maps[0].reshape(3, 4, 2)[rows][:, columns].numpy()
    left, top, right, bottom = (
        round(each * n * fine) for each, n in zip(target[0].tolist(), (4, 3, 4, 3), strict=False)
    )
    expected = pixels[top:bottom, left:right].mean(axis=(0, 1))
    found = BoxAnswers((3, 4)).focus(maps, target)
    np.testing.assert_allclose(found[0].numpy(), expected)
    assert not BoxAnswers((3, 4)).focus(maps, torch.zeros(1, 5).double()).any()


def loss_of(agent: Any, trial: Trial) -> Tensor:
    """Return the loss of an update, as a function of the agent's parameters."""
    rounds = [agent.reader.read(episodes) for episodes in trial.rounds]
    if hasattr(agent, "objective"):
        losses = [
            agent.objective.outer_loss(
                agent.parameters, tuple(type(r)(*(each[task] for each in r.tensors)) for r in rounds)
            )[0]
            for task in range(len(trial.tasks))
        ]
        return torch.stack(losses).mean()
    if hasattr(agent, "support"):
        return agent.loss(
            [agent.support(data) for data in rounds], TaskNoise(torch.Generator().manual_seed(5), len(rounds[0].mask))
        )[0]
    known, asked = rounds
    points = [agent.embed(data.observations, data.raw) for data in rounds]
    outputs = agent.outputs(points[1].flatten(1, 2), *agent.examples(known, points[0]))
    return agent.answers.loss(outputs, asked.targets.flatten(1, 2)).mean()


@pytest.mark.parametrize("name", ["leo", "maml", "prototypes"])
def test_gradients_are_those_of_finite_differences(name: str) -> None:
    settings = {"penalties": {"kl": 0.3, "encoder": 0.0, "orthogonality": 0.7}} if name == "leo" else {}
    agent = made(name, **settings)
    trial = trial_of(agent, Pictures())
    parameters = agent.parameters
    for seed, value in enumerate(parameters.values()):
        with torch.no_grad():  # off the kink of a relu, at which black pixels and biases of zero stand
            value += 0.1 * drawn(*value.shape, seed=seed)
    slopes = torch.autograd.grad(loss_of(agent, trial), list(parameters.values()))
    assert all(slope.any() for slope in slopes)
    for (key, value), slope in zip(parameters.items(), slopes, strict=True):
        direction, values = drawn(*value.shape, seed=2), []
        for step in (1e-6, -1e-6):
            with torch.no_grad():
                value += step * direction
            values.append(loss_of(agent, trial).item())
            with torch.no_grad():
                value -= step * direction
        difference = (values[0] - values[1]) / 2e-6
        assert float((slope * direction).sum()) == pytest.approx(difference, rel=1e-3, abs=1e-6), key


def learner_after(agent: Any, trial: Trial) -> Any:
    learner = agent.begin(Streams.of(0, "learner", np.arange(3)[:, None], np.arange(1)))
    learner.adapt(trial.rounds[0])
    return learner


@pytest.mark.parametrize("name", sorted(AGENTS))
def test_an_answer_depends_on_no_other_question_and_on_the_examples(name: str) -> None:
    agent = made(name)
    trial = trial_of(agent, Pictures())
    questions = trial.rounds[1].observations
    learner = learner_after(agent, trial)
    answers = learner.answer(questions, deterministic=True)
    assert answers.shape == (6, 3, 1, 5)
    order = np.random.default_rng(0).permutation(len(questions))
    np.testing.assert_allclose(learner.answer(questions[order], deterministic=True), answers[order], atol=1e-6)
    np.testing.assert_allclose(learner.answer(questions[3:4], deterministic=True), answers[3:4], atol=1e-6)
    fresh = agent.begin(Streams.of(0, "learner", np.arange(3)[:, None], np.arange(1)))
    assert not np.allclose(fresh.answer(questions, deterministic=True), answers)


@pytest.mark.parametrize("name", ["leo", "prototypes"])
def test_sixty_updates_find_more_of_the_squares(name: str) -> None:
    agent, scores = made(name, "float32", learning_rate=1e-2), []
    for update in range(60):
        metrics = agent.update(trial_of(agent, Pictures(), 8, 8 * update, update), np.random.default_rng(update))
        scores.append(metrics["return_after"])
        if update >= 20 and np.mean(scores[-10:]) > np.mean(scores[:5]) + 0.17:
            break
    assert np.mean(scores[-10:]) > np.mean(scores[:5]) + 0.15  # the score is minus the greatest error of an edge


@pytest.mark.parametrize("name", ["ridge", "neural-process"])
def test_agents_whose_heads_read_no_maps_refuse_boxes(name: str) -> None:
    with pytest.raises(MetarlError, match=f"agent '{name}' finds no boxes, .*; take leo, maml or prototypes"):
        make_agent(name, Pictures())


def test_prototypes_of_boxes_are_means() -> None:
    with pytest.raises(MetarlError, match=r"compares is 'examples', .* take compares: prototypes"):
        made("prototypes", compares="examples")


def test_a_map_is_refused_where_nobody_looks_for_boxes() -> None:
    with pytest.raises(MetarlError, match=r"encoder 'cells' makes a map .* take encoder: blocks"):
        make_agent("rl2", Pictures(), {"encoder": "cells"})
    with pytest.raises(MetarlError, match="encoder 'cells' finds no image in"):
        ObservationEncoder(CellsEncoder(), spaces.Box(-1, 1, (3,), np.float32), maps=True)
    with pytest.raises(ValueError, match="strides has 2 numbers, and channels 3; give each layer one"):
        CellsEncoder(channels=(3, 4, 5), strides=(2, 1))


def test_a_cell_sees_the_pixels_around_it_alone() -> None:
    space = spaces.Box(0, 255, (16, 24, 1), np.uint8)
    encoder = ObservationEncoder(CellsEncoder(channels=(3, 4), strides=(2, 2)), space, maps=True)
    assert encoder.grid == (4, 6) and encoder.num_features == 4
    parameters = encoder.initial_parameters(torch.Generator().manual_seed(0))
    images = torch.randint(0, 255, (2, 16 * 24), generator=torch.Generator().manual_seed(1)).to(torch.uint8)
    images[1] = images[0]
    images[1, 24 * 9 + 13] ^= 128  # row 9, column 13: in the cell of row 2 and column 3
    features = encoder(parameters, torch.zeros(2, 0).double(), images)
    assert features.shape == (2, 24, 4)
    changed = (features[0] != features[1]).any(-1).reshape(4, 6).nonzero()
    assert [2, 3] in changed.tolist()
    assert {tuple(each) for each in changed.tolist()} <= {(row, column) for row in (1, 2, 3) for column in (2, 3, 4)}


def test_an_encoder_without_a_map_has_one_cell() -> None:
    agent = make_agent("maml", Find())
    assert agent.objective.head.grid == (1, 1)
    assert trial_of(agent, Find()).rounds[0].actions.shape[-1] == 5
