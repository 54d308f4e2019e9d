"""A teacher says what it would do in the student's place, and shows the student nothing."""

from __future__ import annotations

from dataclasses import fields, replace
from typing import Any

import numpy as np
import pytest

import metarl
from metarl.base.errors import MetarlError
from metarl.base.streams import Streams
from metarl.families.family import TaskFamily
from metarl.trials.agent import Agent, Learner
from metarl.trials.episodes import Episodes, Imitation, TimeStep, Trial
from metarl.trials.rollout import run_trial
from metarl.trials.teaching import Teaching


def bandit(horizon: int = 12) -> TaskFamily:
    return metarl.load("bernoulli-bandit", num_arms=3, horizon=horizon)


def play(student: Agent, *teachers: str, family: TaskFamily | None = None, tasks: Any = 6, **settings: Any) -> Trial:
    family = family or bandit()
    made = tuple(metarl.make_agent(name, family, device="cpu") for name in teachers)
    drawn = family.sample("train", 6, seed=0)
    envs = family.make_vec(drawn[:tasks] if isinstance(tasks, int) else drawn[tasks], 2)
    teaching = Teaching(made, Imitation(), **settings) if made else None
    return run_trial(student, envs, 2, seed=3, training=True, teaching=teaching)


def random_student(family: TaskFamily | None = None) -> Agent:
    return metarl.make_agent("random", family or bandit(), device="cpu")


def greedy_arms(rounds: tuple[Episodes, ...]) -> np.ndarray:
    """Return what a greedy player would do at each step of all rounds, by plain counting. [time, task, replica]"""
    actions, rewards = (np.concatenate([getattr(e, name) for e in rounds]) for name in ("actions", "rewards"))
    best = np.zeros(actions.shape, dtype=int)
    for task, replica in np.ndindex(actions.shape[1:]):
        paid, pulled = np.ones(3), np.full(3, 2.0)
        for time in range(len(actions)):
            best[time, task, replica] = int(np.argmax(paid / pulled))
            arm = actions[time, task, replica]
            paid[arm] += rewards[time, task, replica]
            pulled[arm] += 1
    return best


def advised(trial: Trial) -> np.ndarray:
    return np.concatenate([episodes.advised for episodes in trial.rounds if episodes.advised is not None])


def actions(trial: Trial) -> np.ndarray:
    return np.concatenate([episodes.actions for episodes in trial.rounds])


@pytest.mark.parametrize("share", [0.0, 0.5, 1.0])
def test_advice_is_what_an_independent_loop_would_do_after_the_actions_that_were_taken(share: float) -> None:
    trial = play(random_student(), "greedy", share=share)
    assert (advised(trial) == greedy_arms(trial.rounds)).all()


def test_with_a_share_of_one_the_teacher_plays_and_with_a_half_half_of_the_steps() -> None:
    family = bandit(horizon=200)
    whole, half = (play(random_student(family), "greedy", family=family, share=share) for share in (1.0, 0.5))
    assert (actions(whole) == advised(whole)).all()
    alike = (actions(half) == advised(half)).mean()
    assert alike == pytest.approx(0.5 + 0.5 / 3, abs=0.02)  # a random student agrees by chance in a third


def test_random_actions_take_a_share_of_the_steps() -> None:
    family = bandit(horizon=200)
    trial = play(metarl.make_agent("greedy", family), "greedy", family=family, share=0.6, random=True)
    assert (actions(trial) == advised(trial)).mean() == pytest.approx(0.4 + 0.6 / 3, abs=0.02)


def test_the_student_plays_and_sees_the_same_whoever_teaches() -> None:
    trials = [play(random_student()), play(random_student(), "best-arm"), play(random_student(), "greedy")]
    for name in (field.name for field in fields(Episodes) if not field.name.startswith("advised")):
        first, *others = ([getattr(episodes, name) for episodes in trial.rounds] for trial in trials)
        for other in others:
            for mine, theirs in zip(first, other, strict=True):
                assert mine is theirs is None or np.array_equal(mine, theirs), name


class Watching(Agent):
    """A student that keeps all that it is shown."""

    def __init__(self) -> None:
        self.seen: list[TimeStep] = []

    def begin(self, streams: Streams) -> Learner:
        return WatchingLearner(self)


class WatchingLearner(Learner):
    def __init__(self, agent: Watching) -> None:
        self.agent = agent

    def act(self, timestep: TimeStep, *, deterministic: bool) -> np.ndarray:
        copies = {name: value.copy() for name, value in vars(timestep).items() if value is not None}
        self.agent.seen.append(replace(timestep, **copies))
        return np.zeros(timestep.active.shape, dtype=np.int64)


def test_the_task_that_an_oracle_sees_never_reaches_the_students_inputs() -> None:
    alone, beside = Watching(), Watching()
    play(alone)
    play(beside, "best-arm")
    for mine, theirs in zip(alone.seen, beside.seen, strict=True):
        assert vars(mine).keys() == vars(theirs).keys()
        for name, value in vars(mine).items():
            assert value is vars(theirs)[name] is None or np.array_equal(value, vars(theirs)[name]), name


def test_teachers_share_the_tasks_by_their_numbers_and_a_task_alone_has_the_same_one() -> None:
    both = play(random_student(), "best-arm", "greedy")
    oracle, greedy = (play(random_student(), name) for name in ("best-arm", "greedy"))
    assert (advised(both)[:, 0::2] == advised(oracle)[:, 0::2]).all()
    assert (advised(both)[:, 1::2] == advised(greedy)[:, 1::2]).all()
    alone = play(random_student(), "best-arm", "greedy", tasks=slice(3, 4))
    assert np.array_equal(advised(alone)[:, 0], advised(both)[:, 3])


def test_a_teacher_that_tells_its_distribution_is_recorded_with_it() -> None:
    trial = play(random_student(), "rl2")
    outputs = trial.rounds[0].advised_outputs
    assert outputs is not None
    assert outputs.shape == (12, 6, 2, 3)
    assert (outputs.argmax(-1) == trial.rounds[0].advised).all()
    assert play(random_student(), "greedy").rounds[0].advised_outputs is None


def test_a_sample_is_learned_and_not_the_distribution_it_is_from_where_samples_are_asked_for() -> None:
    mode, sample = play(random_student(), "rl2"), play(random_student(), "rl2", learns="sample")
    assert sample.rounds[0].advised_outputs is None
    assert not np.array_equal(advised(mode), advised(sample))


def test_an_advice_outside_the_space_is_an_error() -> None:
    family = bandit()

    class Wrong(Watching):
        def begin(self, streams: Streams) -> Learner:
            learner = WatchingLearner(self)
            learner.act = lambda timestep, *, deterministic: np.full(timestep.active.shape, 7)  # type: ignore[method-assign]
            return learner

    envs = family.make_vec(family.sample("train", 2, seed=0), 1)
    with pytest.raises(MetarlError, match="7"):
        run_trial(random_student(), envs, 1, seed=0, training=True, teaching=Teaching((Wrong(),), Imitation()))
