"""Soft targets: the loss against plain loops, who is asked what, and what a student makes of it."""

from __future__ import annotations

import contextlib
import functools
import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from metarl.agents.common.heads import action_head
from metarl.agents.supervised.advice import distance, round_loss, with_advice
from metarl.agents.supervised.answered import Advice, Answered
from metarl.agents.supervised.answers import ClassAnswers, NumberAnswers
from torch import Tensor

from metarl.base.errors import MetarlError
from metarl.families.family import TaskFamily
from metarl.families.load import load
from metarl.trials.agent import Agent, TrainableAgent
from metarl.trials.episodes import Imitation, Trial
from metarl.trials.registered import make_agent
from metarl.trials.rollout import run_trial
from metarl.trials.teaching import Teaching
from tests.families.asked import Bindings, LeastSquares, Lines, Rote

CLASSES = ClassAnswers(action_head(Bindings.action_space))  # type: ignore[arg-type]
NUMBERS = NumberAnswers(Lines.action_space)
STUDENTS: dict[str, dict[str, Any]] = {
    "maml": {"hidden_sizes": [16], "inner_lr": 0.1, "outer": {"name": "adam", "learning_rate": 0.01}},
    "prototypes": {"hidden_sizes": [16, 8], "learning_rate": 0.01},
    "ridge": {"hidden_sizes": [16, 8], "learning_rate": 0.01},
}


def drawn(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def advice(answers: Tensor, outputs: Tensor, mask: Tensor, *, own: float, weight: float, temperature: float) -> Advice:
    ones = torch.ones_like(mask)
    return Advice(answers, outputs, own * ones, weight * ones, temperature * ones)


def answered(targets: Tensor, mask: Tensor) -> Answered:
    return Answered(mask[..., None], mask[..., None], targets, mask)


def probabilities(logits: list[float], temperature: float) -> list[float]:
    powers = [math.exp(logit / temperature) for logit in logits]
    return [power / sum(powers) for power in powers]


@pytest.mark.parametrize("own", [0.0, 1.0])
def test_the_loss_of_classes_is_that_of_a_loop(own: float) -> None:
    outputs, teacher, temperature, weight = drawn(2, 4, 3, 3), drawn(2, 4, 3, 3, seed=1), 2.5, 0.7
    mask = (drawn(2, 4, 3, seed=2) > -0.5).double()
    targets = torch.arange(24).reshape(2, 4, 3) % 3
    told = advice(targets * 0, teacher, mask, own=own, weight=weight, temperature=temperature)
    losses = []
    for at in zip(*np.nonzero(mask.numpy()), strict=True):
        mine, theirs = (probabilities(each[at].tolist(), temperature) for each in (outputs, teacher))
        soft = temperature**2 * sum(q * math.log(q / p) for q, p in zip(theirs, mine, strict=True))
        right = -math.log(probabilities(outputs[at].tolist(), 1.0)[int(targets[at])])
        losses.append(own * right + weight * soft)
    found = round_loss(CLASSES, outputs, answered(targets, mask), (told,))
    assert float(found) == pytest.approx(sum(losses) / len(losses))


def test_without_a_distribution_the_teachers_answer_is_the_right_one() -> None:
    outputs, mask, none = drawn(2, 4, 1, 3), torch.ones(2, 4, 1).double(), torch.zeros(2, 4, 1, 0).double()
    right, theirs = torch.arange(8).reshape(2, 4, 1) % 3, torch.arange(8).reshape(2, 4, 1) // 3
    told = advice(theirs, none, mask, own=0.0, weight=1.0, temperature=1.0)
    found = round_loss(CLASSES, outputs, answered(right, mask), (told,))
    torch.testing.assert_close(found, CLASSES.mean_loss(outputs, theirs, mask))


def test_numbers_are_learned_by_their_own_error() -> None:
    outputs, mask, none = drawn(2, 4, 1, 1), torch.ones(2, 4, 1).double(), torch.zeros(2, 4, 1, 0).double()
    right, theirs = drawn(2, 4, 1, 1, seed=3), drawn(2, 4, 1, 1, seed=4)
    told = advice(theirs, none, mask, own=1.0, weight=0.5, temperature=1.0)
    found = round_loss(NUMBERS, outputs, answered(right, mask), (told,))
    expected = (outputs - right).square().mean() + 0.5 * (outputs - theirs).square().mean()
    torch.testing.assert_close(found, expected)


def test_a_high_temperature_compares_logits_without_their_mean() -> None:
    # Hinton, Vinyals and Dean (2015), section 2.1: as T grows, the loss is the squared distance of centred logits.
    outputs, teacher, mask = drawn(5, 4), drawn(5, 4, seed=1), torch.ones(5).double()
    head = ClassAnswers(action_head(load("bernoulli-bandit", num_arms=4).action_space))
    told = advice(mask.long(), teacher, mask, own=0.0, weight=1.0, temperature=1e4)
    gap = outputs - teacher
    expected = (gap - gap.mean(-1, keepdim=True)).square().mean(-1) / 2
    torch.testing.assert_close(distance(head, outputs, told), expected, rtol=1e-3, atol=1e-6)


def played(
    student: Agent, teachers: tuple[Agent, ...], family: TaskFamily, imitation: Imitation | None = None, **how: Any
) -> Trial:
    teaching = Teaching(teachers, imitation or Imitation(), **how) if teachers else None
    with contextlib.closing(family.make_vec(family.sample("train", 6, seed=0), 2)) as envs:
        return run_trial(student, envs, 3, seed=5, training=True, teaching=teaching)


def agent(name: str, family: TaskFamily, seed: int = 0, **changes: Any) -> TrainableAgent:
    made = make_agent(name, family, {**STUDENTS[name], **changes}, seed=seed)
    assert isinstance(made, TrainableAgent)
    return made


@pytest.mark.parametrize("teacher", sorted(STUDENTS))
def test_a_teacher_answers_each_round_as_if_it_were_alone(teacher: str) -> None:
    family, student = Bindings(), agent("maml", Bindings())
    master = agent(teacher, family, seed=7)
    trial = played(student, (master,), family)
    assert not trial.answered
    with contextlib.closing(family.make_vec(trial.tasks, 2)) as envs:
        alone = run_trial(master, envs, 3, seed=5)  # its answers are its best ones
    for mine, theirs in zip(trial.rounds, alone.rounds, strict=True):
        assert mine.advised is not None
        assert np.array_equal(mine.advised, theirs.actions)
        assert mine.advised_outputs is not None
        assert np.array_equal(mine.advised_outputs.argmax(-1), mine.advised)
        for name in ("observations", "targets", "mask"):
            assert np.array_equal(getattr(mine, name), getattr(theirs, name))
    assert not np.array_equal(trial.rounds[0].advised, trial.rounds[2].advised)  # it adapted


def test_several_teachers_share_the_tasks() -> None:
    family, student = Bindings(), agent("maml", Bindings())
    first, second = (agent("prototypes", family, seed=seed) for seed in (3, 4))
    both = played(student, (first, second), family)
    alone = [played(student, (each,), family) for each in (first, second)]
    for number, episodes in enumerate(both.rounds):
        for task in range(6):
            expected = alone[task % 2].rounds[number]
            for name in ("advised", "advised_outputs"):
                assert np.array_equal(getattr(episodes, name)[:, task], getattr(expected, name)[:, task])


def test_a_teacher_that_tells_no_distribution_stands_beside_one_that_does() -> None:
    family, student = Bindings(), agent("maml", Bindings())
    silent = make_agent("nearest-neighbour", family, {}, seed=0)
    trial = played(student, (silent, agent("ridge", family, seed=2)), family)
    outputs = trial.rounds[1].advised_outputs
    assert outputs is not None
    assert np.isnan(outputs[:, 0::2]).all()
    assert np.isfinite(outputs[:, 1::2]).all()
    student.update(trial, np.random.default_rng(0))
    with pytest.raises(MetarlError, match="tells no distribution to soften"):
        student.update(replace(trial, imitation=Imitation(temperature=2.0)), np.random.default_rng(0))


def test_outputs_that_are_not_finite_are_the_teachers_fault() -> None:
    class Broken(type(agent("ridge", Bindings()))):  # type: ignore[misc]
        def begin(self, streams: Any) -> Any:
            learner = super().begin(streams)
            answer = learner.answer

            def broken(observations: np.ndarray, *, deterministic: bool) -> np.ndarray:
                answers = answer(observations, deterministic=deterministic)
                learner.outputs = learner.outputs * np.nan
                return np.asarray(answers)

            learner.answer = broken
            return learner

    master = Broken(Broken.Config(), Bindings(), seed=0, device="cpu")
    with pytest.raises(MetarlError, match="a teacher's outputs are not finite"):
        played(agent("maml", Bindings()), (master,), Bindings())


def test_a_teacher_that_plays_step_by_step_has_the_student_play_before_it() -> None:
    family = Bindings(reveal="step")
    trial = played(agent("maml", family), (Rote(),), family)
    assert trial.answered
    with contextlib.closing(family.make_vec(trial.tasks, 2)) as envs:
        alone = run_trial(Rote(), envs, 3, seed=5)
    for mine, theirs in zip(trial.rounds, alone.rounds, strict=True):
        assert np.array_equal(mine.advised, theirs.actions)  # type: ignore[arg-type]


@pytest.mark.parametrize("name", sorted(STUDENTS))
def test_a_student_with_a_weight_of_zero_learns_what_it_would_without_a_teacher(name: str) -> None:
    family, states = Bindings(), []
    for teachers in ((), (agent("ridge", family, seed=9),)):
        student = agent(name, family, seed=1)
        trial = played(student, teachers, family, Imitation("kickstart", 0.0, 3.0))
        student.update(trial, np.random.default_rng(0))
        states.append(student.state_dict())
    for key, value in states[0].items():
        assert torch.equal(value, states[1][key]), key


def agreement(student: Agent, master: Agent, family: TaskFamily) -> float:
    """Return the share of new tasks' questions of the last round that both answer alike, once both have adapted."""
    answers = []
    for each in (student, master):
        with contextlib.closing(family.make_vec(family.sample("test", 30, seed=1), 1)) as envs:
            answers.append(run_trial(each, envs, 2, seed=2).rounds[-1].actions)
    return float((answers[0] == answers[1]).mean())


def train(student: TrainableAgent, family: TaskFamily, updates: int, teaching: Teaching | None = None) -> None:
    for number in range(updates):
        tasks = family.sample("train", 20, seed=0, start=20 * number)
        with contextlib.closing(family.make_vec(tasks, 1)) as envs:
            trial = run_trial(student, envs, 2, seed=number, training=True, teaching=teaching)
        student.update(trial, np.random.default_rng(number))


@functools.cache
def master() -> TrainableAgent:
    made = agent("prototypes", Bindings(), seed=3)
    train(made, Bindings(), 200)
    return made


@pytest.mark.parametrize(("name", "updates"), [("maml", 220), ("prototypes", 150)])
def test_a_student_that_is_told_no_right_answer_comes_to_answer_as_its_teacher(name: str, updates: int) -> None:
    family, student = Bindings(), agent(name, Bindings(), seed=1)
    before = agreement(student, master(), family)
    train(student, family, updates, Teaching((master(),), Imitation("imitate", 1.0, 2.0)))
    assert before < 0.5
    assert agreement(student, master(), family) > 0.9


def test_only_the_loss_after_adaptation_hears_the_teacher() -> None:
    """Planted: were inner steps taught too, a student could not adapt in a task that has no teacher."""
    family = Bindings()
    student = agent("maml", family)
    trial = played(student, (agent("ridge", family, seed=2),), family)
    rounds = [student.reader.read(episodes) for episodes in trial.rounds]  # type: ignore[attr-defined]
    told = with_advice(rounds, trial, student.objective.head)  # type: ignore[attr-defined]
    assert all(each.advice for each in told)
    start = student.over_tasks.start(6)  # type: ignore[attr-defined]
    for mine, plain in zip(told, rounds, strict=True):
        moved = [student.over_tasks.adapt(start, data) for data in (mine, plain)]  # type: ignore[attr-defined]
        for key, value in moved[0].items():
            assert torch.equal(value, moved[1][key])


def test_a_temperature_without_a_distribution_is_refused() -> None:
    class Silent(LeastSquares):
        """Answers with class 0."""

        def begin(self, streams: Any) -> Any:
            learner = super().begin(streams)
            learner.answer = lambda observations, deterministic: np.zeros(observations.shape[:3], dtype=np.int64)  # type: ignore[attr-defined]
            learner.adapt = lambda episodes: None  # type: ignore[method-assign]
            return learner

    family, student = Bindings(), agent("maml", Bindings())
    trial = played(student, (Silent(),), family, Imitation(temperature=2.0))
    with pytest.raises(MetarlError, match="the teacher tells no distribution to soften"):
        student.update(trial, np.random.default_rng(0))


def test_numbers_are_taught_by_a_teacher_of_numbers() -> None:
    family, student = Lines(), agent("maml", Lines())
    assert student.can_be_taught
    trial = played(student, (LeastSquares(),), family)
    assert trial.rounds[1].advised_outputs is None
    before = student.state_dict()
    student.update(trial, np.random.default_rng(0))
    assert any(not torch.equal(value, before[key]) for key, value in student.state_dict().items())
