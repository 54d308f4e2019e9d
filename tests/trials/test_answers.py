"""Rounds of questions: answered at once as one by one, and revealed by the family's rule."""

from __future__ import annotations

import contextlib
from dataclasses import fields

import numpy as np
import pytest

from metarl.base.errors import MetarlError
from metarl.base.streams import Streams
from metarl.evaluation.evaluate import evaluate
from metarl.families.task import Reveal
from metarl.trials.agent import AnsweringLearner, Learner
from metarl.trials.episodes import Episodes, Trial
from metarl.trials.rollout import run_trial
from tests.families.asked import LeastSquares, Lines, OneByOne, Watcher


def trial_of(agent: LeastSquares | Watcher, rounds: int = 3, reveal: Reveal = "round") -> Trial:
    family = Lines(reveal=reveal)
    with contextlib.closing(family.make_vec(family.sample("test", 4, seed=0), 2)) as envs:
        return run_trial(agent, envs, rounds, seed=0)


def test_a_round_answered_at_once_is_the_round_answered_one_by_one() -> None:
    at_once, one_by_one = trial_of(LeastSquares()), trial_of(OneByOne())
    for ours, theirs in zip(at_once.rounds, one_by_one.rounds, strict=True):
        for name in (field.name for field in fields(Episodes)):
            np.testing.assert_array_equal(getattr(ours, name), getattr(theirs, name), name)


def test_targets_of_a_round_teach_the_next_one() -> None:
    trial = trial_of(LeastSquares())
    errors = np.stack([episodes.returns for episodes in trial.rounds])
    assert (errors[0] < -0.01).all()
    np.testing.assert_allclose(errors[1:], 0.0, atol=1e-6)


@pytest.mark.parametrize("reveal", ["step", "round", "never"])
def test_targets_are_revealed_when_the_family_says_so(reveal: Reveal) -> None:
    watcher = Watcher()
    trial = trial_of(watcher, reveal=reveal)
    targets = [episodes.targets for episodes in trial.rounds]
    assert all(target is not None for target in targets)
    assert len(watcher.timesteps) == 3 + 5 + 5
    for episodes, target in zip(watcher.rounds, targets, strict=False):
        if reveal == "never":
            assert episodes.targets is None
        else:
            np.testing.assert_array_equal(episodes.targets, target)
    shown = [timestep.previous_targets for timestep in watcher.timesteps]
    if reveal != "step":
        assert shown == [None] * 13
        return
    known = np.concatenate([target for target in targets if target is not None])
    np.testing.assert_array_equal(shown[0], np.zeros((4, 2, 1)))
    np.testing.assert_array_equal(np.stack([each for each in shown if each is not None])[1:], known[:-1])


def test_an_evaluation_measures_the_mean_reward_of_rounds_of_different_lengths() -> None:
    result = evaluate(LeastSquares(), family := Lines(), num_tasks=4, rounds=2)
    with contextlib.closing(family.make_vec(result.tasks)) as envs:
        trial = run_trial(LeastSquares(), envs, 2, seed=result.plan.trial_seed)
    expected = [episodes.rewards.mean(axis=(0, 2)) for episodes in trial.rounds]
    np.testing.assert_allclose(result.returns, np.stack(expected, axis=1))
    assert result.env_steps_per_task.tolist() == [[3, 8]] * 4


class Wrong(LeastSquares):
    """Answers with an array of a wrong shape, or none."""

    def __init__(self, given: object) -> None:
        self.given = given

    def begin(self, streams: Streams) -> Learner:
        given = self.given

        class Answers(AnsweringLearner):
            def answer(self, observations: np.ndarray, *, deterministic: bool) -> np.ndarray:
                return given  # type: ignore[return-value]

        return Answers()


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ([0.0], "round 1, answers: answer returned list; it must return a NumPy array"),
        (np.zeros((2, 4, 2, 1), dtype=np.float32), r"shape \(2, 4, 2, 1\) for 3 questions; give one for each"),
        (np.zeros((3, 4, 2), dtype=np.float32), r"act returned shape \(4, 2\); it must be \(4, 2, 1\)"),
        (np.full((3, 4, 2, 1), np.nan, dtype=np.float32), "not finite"),
    ],
)
def test_answers_that_are_none_are_refused(given: object, words: str) -> None:
    with pytest.raises(MetarlError, match=words):
        trial_of(Wrong(given))
