"""RL^2 learns from a teacher: the loss is the one of the papers, and a known policy is copied."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from gymnasium import spaces
from metarl.agents.common.heads import action_head
from metarl.agents.rl2.agent import RL2

import metarl
from metarl.base.errors import MetarlError
from metarl.base.streams import Streams, generator
from metarl.checks.probes import Press
from metarl.families.batch import State
from metarl.families.family import TaskFamily
from metarl.families.task import Values
from metarl.trials.agent import Agent
from metarl.trials.episodes import Imitation, Trial
from metarl.trials.rollout import run_trial
from metarl.trials.teaching import Teaching

SMALL = {"memory": {"name": "gru", "hidden_size": 32}, "ppo": {"num_epochs": 4, "learning_rate": 0.01}}


def rl2(family: TaskFamily, **settings: Any) -> RL2:
    agent = metarl.make_agent("rl2", family, {**SMALL, **settings}, device="cpu")
    assert isinstance(agent, RL2)
    return agent


def trial_of(
    student: Agent, family: TaskFamily, teacher: Agent | None, number: int = 0, loss: Any = "imitate", **settings: Any
) -> Trial:
    tasks = family.sample("train", 20, seed=0, start=20 * number)
    imitation = Imitation(loss, settings.pop("weight", 1.0))
    teaching = None if teacher is None else Teaching((teacher,), imitation, **settings)
    return run_trial(student, family.make_vec(tasks, 2), 1, seed=number, training=True, teaching=teaching)


def taught(family: TaskFamily, teacher: str, updates: int, **settings: Any) -> RL2:
    student, master = rl2(family), metarl.make_agent(teacher, family, device="cpu")
    for number in range(updates):
        student.update(trial_of(student, family, master, number, **settings), generator(0, "update", number))
    return student


def agreement(student: RL2, family: TaskFamily, teacher: str) -> float:
    """Return how often the student does what the teacher would do, in its own play in tasks it has not seen."""
    episodes = trial_of(student, family, metarl.make_agent(teacher, family, device="cpu"), 1000).rounds[0]
    return float((episodes.advised == episodes.actions).mean())


def test_a_student_of_a_known_teacher_comes_to_act_as_it_does() -> None:
    family = metarl.load("bernoulli-bandit", num_arms=2, horizon=6)
    assert agreement(taught(family, "greedy", 60), family, "greedy") > 0.97


def test_a_student_of_an_oracle_finds_out_what_the_oracle_is_shown() -> None:
    family = metarl.load("bernoulli-bandit", num_arms=2, horizon=20)
    student = taught(family, "best-arm", 60)
    episodes = trial_of(student, family, metarl.make_agent("best-arm", family), 1000).rounds[0]
    right = (episodes.advised == episodes.actions).mean(axis=(1, 2))
    assert right[0] < 0.65
    assert right[-10:].mean() > 0.65


def test_the_loss_is_minus_the_log_probability_of_the_advice() -> None:
    family = metarl.load("bernoulli-bandit", num_arms=3, horizon=5)
    student = rl2(family, ppo={"num_epochs": 1, "num_minibatches": 1, "num_shards": 1})
    trial = trial_of(student, family, metarl.make_agent("greedy", family))
    beside = trial_of(student, family, student)  # tells the student's logits at the same steps
    assert np.array_equal(beside.rounds[0].actions, trial.rounds[0].actions)
    logits, advised = beside.rounds[0].advised_outputs, trial.rounds[0].advised
    assert logits is not None and advised is not None
    log_p = logits - np.log(np.exp(logits.astype(float)).sum(-1, keepdims=True))
    expected = -np.take_along_axis(log_p, advised[..., None], axis=-1).mean()
    assert student.update(trial, generator(0))["imitation_loss"] == pytest.approx(expected, rel=1e-5)


def test_a_temperature_divides_the_logits_of_both() -> None:
    family = metarl.load("bernoulli-bandit", num_arms=3, horizon=4)
    student, master = (rl2(family, ppo={"num_epochs": 1, "num_minibatches": 1, "num_shards": 1}) for _ in range(2))
    master.network.policy.weight.data *= 300
    tasks = family.sample("train", 20, seed=0)
    teaching = Teaching((master,), Imitation(temperature=3.0))
    trial = run_trial(student, family.make_vec(tasks, 2), 1, seed=0, training=True, teaching=teaching)
    theirs = torch.as_tensor(trial.rounds[0].advised_outputs).double()
    mine = torch.as_tensor(trial_of(student, family, student).rounds[0].advised_outputs).double()
    q, p = (each.div(3.0).softmax(-1) for each in (theirs, mine))
    expected = float(9.0 * (q * (q.log() - p.log())).sum(-1).mean())
    assert expected > 0.01
    assert student.update(trial, generator(0))["imitation_loss"] == pytest.approx(expected, rel=1e-3)


@pytest.mark.parametrize("name", ["bernoulli-bandit", "navigation-2d"])
def test_a_teacher_that_tells_its_distribution_is_imitated_by_the_divergence_from_it(name: str) -> None:
    family = metarl.load(name, horizon=4)
    student = rl2(family, ppo={"num_epochs": 1, "num_minibatches": 1, "num_shards": 1})
    teacher = metarl.make_agent("rl2", family, {"initial_std": 0.3}, seed=5, device="cpu")
    assert isinstance(teacher, RL2)
    teacher.network.policy.weight.data *= 500
    trial, own = trial_of(student, family, teacher), trial_of(student, family, student)
    theirs, mine = trial.rounds[0].advised_outputs, own.rounds[0].advised_outputs
    expected = action_head(family.action_space).kl(torch.as_tensor(theirs).double(), torch.as_tensor(mine).double())
    mean = float(expected[torch.as_tensor(trial.rounds[0].mask)].mean())
    assert mean > 0.01
    assert student.update(trial, generator(0))["imitation_loss"] == pytest.approx(mean, rel=1e-3)


def test_a_teachers_divergence_from_itself_is_zero() -> None:
    family = metarl.load("navigation-2d", horizon=4)
    student = rl2(family)
    metrics = student.update(trial_of(student, family, student), generator(0))
    assert metrics["imitation_loss"] == pytest.approx(0.0, abs=1e-3)


def test_kickstarting_with_no_weight_is_ppo() -> None:
    family = metarl.load("bernoulli-bandit", num_arms=3, horizon=5)
    plain, kicked, heavy = (rl2(family) for _ in range(3))
    teacher = metarl.make_agent("greedy", family)
    plain.update(trial_of(plain, family, None), generator(0))
    kicked.update(trial_of(kicked, family, teacher, loss="kickstart", weight=0.0), generator(0))
    heavy.update(trial_of(heavy, family, teacher, loss="kickstart", weight=1.0), generator(0))
    states = [agent.state_dict() for agent in (plain, kicked, heavy)]
    assert all(torch.equal(states[0][key], states[1][key]) for key in states[0])
    assert not torch.equal(states[0]["policy.weight"], states[2]["policy.weight"])


def test_advice_alone_leaves_the_values_as_they_are() -> None:
    family = metarl.load("bernoulli-bandit", num_arms=3, horizon=5)
    student = rl2(family)
    before = student.state_dict()["value.weight"]
    student.update(trial_of(student, family, metarl.make_agent("greedy", family)), generator(0))
    assert torch.equal(student.state_dict()["value.weight"], before)


def test_advice_is_learned_where_exploring_starts_are_not() -> None:
    family = metarl.load("bernoulli-bandit", num_arms=3, horizon=5)
    student = rl2(family, exploring_starts={"share": 1.0, "steps": 100})
    teacher = metarl.make_agent("greedy", family)
    assert student.update(trial_of(student, family, teacher), generator(0))["imitation_loss"] > 0
    with pytest.raises(MetarlError, match="every step of the trials explored"):
        for number in range(20):
            student.update(trial_of(student, family, None, number), generator(number))


def test_a_student_that_only_watches_its_teacher_does_worse_in_states_of_its_own() -> None:
    """The covariate shift that DAgger is for: with a share of one, the student learns in the teacher's states alone."""
    family = metarl.load("navigation-2d", horizon=20)
    gaps = {}
    for share in (0.0, 1.0):
        student = rl2(family)
        master = metarl.make_agent("beeline", family)
        for number in range(15):
            student.update(trial_of(student, family, master, number, share=share), generator(number))
        episodes = trial_of(student, family, master, 1000).rounds[0]
        assert episodes.advised is not None
        gaps[share] = float(np.abs(episodes.advised - episodes.actions.clip(-0.1, 0.1)).mean())
    assert gaps[1.0] > 1.05 * gaps[0.0]


class FromOne(Press):
    """Buttons 1 to 3 in place of 0 to 2. Episodes end at different times, and zeros stand behind their ends."""

    @property
    def action_space(self) -> spaces.Discrete:  # type: ignore[override]
        return spaces.Discrete(3, start=1)

    def transition(self, state: State, action: np.ndarray, task: Values, streams: Streams) -> State:
        return super().transition(state, action - 1, task, streams)


@pytest.mark.parametrize("loss", ["imitate", "kickstart"])
@pytest.mark.parametrize("learns", ["distribution", "mode"])
def test_zeros_behind_the_end_of_an_episode_need_not_be_actions(loss: Any, learns: Any) -> None:
    family = FromOne()
    student, master = rl2(family), rl2(family)
    trial = trial_of(student, family, master, loss=loss, learns=learns)
    assert not trial.rounds[0].mask.all()
    assert np.any(trial.rounds[0].advised == 0)
    assert np.isfinite(student.update(trial, generator(0))["imitation_loss"])


def test_outputs_of_another_number_are_named() -> None:
    family = metarl.load("bernoulli-bandit", num_arms=3, horizon=5)
    student = rl2(family)
    trial = trial_of(student, family, student)
    object.__setattr__(trial.rounds[0], "advised_outputs", np.zeros((5, 20, 2, 4)))
    with pytest.raises(MetarlError, match="tells 4 numbers of its distribution, but 3"):
        student.update(trial, generator(0))
