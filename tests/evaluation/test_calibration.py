"""Calibration: how sure learners are of their answers, against how often they are right."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from metarl.base.errors import MetarlError
from metarl.base.streams import Streams
from metarl.evaluation.calibration import NUM_BINS, Calibration, bin_answers, pool_bins, pool_calibrations
from metarl.evaluation.evaluate import evaluate
from metarl.evaluation.record import Evaluation
from metarl.evaluation.table import table
from metarl.families.vector import BatchedEnv
from metarl.trials.agent import Agent, Learner
from metarl.trials.episodes import Episodes, TimeStep
from metarl.trials.rollout import rounds_of, run_trial
from tests.families.asked import Bindings


def asked(confidences: np.ndarray, right: np.ndarray, mask: np.ndarray | None = None) -> Episodes:
    """Return a round with these confidences and right answers, [question, task, replica]."""
    targets = np.zeros(right.shape, dtype=np.int64)
    mask = np.ones(right.shape, dtype=bool) if mask is None else mask
    flags = np.zeros(right.shape, dtype=bool)
    answers = np.where(right, targets, 1)
    return Episodes(
        *(np.zeros((*right.shape, 1)), answers, right.astype(float), flags, flags, mask, np.zeros((1, 1, 1)), None),
        targets=targets,
        confidences=confidences,
    )


def measured(confidences: np.ndarray, right: np.ndarray, mask: np.ndarray | None = None) -> Calibration:
    bins = bin_answers(asked(confidences, right, mask))
    assert bins is not None
    found = pool_bins(bins)
    assert found is not None
    return found


def loop(confidences: np.ndarray, right: np.ndarray) -> float:
    """Return the expected calibration error, one bin and one answer after the other."""
    error = 0.0
    for number in range(NUM_BINS):
        low, high = number / NUM_BINS, (number + 1) / NUM_BINS
        here = [n for n, each in enumerate(confidences) if low < each <= high or (number == 0 and each == 0)]
        if here:
            accuracy = sum(bool(right[n]) for n in here) / len(here)
            confidence = sum(float(confidences[n]) for n in here) / len(here)
            error += len(here) / len(confidences) * abs(accuracy - confidence)
    return error


def test_the_error_is_that_of_a_loop_over_bins_and_answers() -> None:
    rng = np.random.default_rng(0)
    confidences, mask = rng.random((40, 5, 2)) ** 2, rng.random((40, 5, 2)) < 0.7
    right = rng.random((40, 5, 2)) < 0.6
    found = measured(confidences, right, mask)
    assert found.error == pytest.approx(loop(confidences[mask], right[mask]), abs=1e-12)
    assert found.counts.sum() == mask.sum()
    assert found.mean_accuracy == pytest.approx(right[mask].mean())
    assert found.mean_confidence == pytest.approx(confidences[mask].mean())


def test_a_learner_that_is_right_as_often_as_it_says_has_no_error_and_one_too_sure_has_its_surplus() -> None:
    confidences = np.repeat([0.2, 0.5, 0.8], 10)[:, None, None]
    right = np.concatenate([np.arange(10) < 2, np.arange(10) < 5, np.arange(10) < 8])[:, None, None]
    assert measured(confidences, right).error == pytest.approx(0.0, abs=1e-12)
    assert measured(confidences + 0.15, right).error == pytest.approx(0.15)
    assert measured(confidences - 0.15, right).error == pytest.approx(0.15)


def test_answers_drawn_by_their_confidence_have_an_error_near_zero() -> None:
    rng = np.random.default_rng(1)
    confidences = rng.random((1000, 100, 1))
    assert measured(confidences, rng.random(confidences.shape) < confidences).error < 0.01


@pytest.mark.parametrize(("confidence", "place"), [(0.0, 0), (1 / 15, 0), (0.0667, 1), (0.2, 2), (0.9334, 14), (1, 14)])
def test_a_bin_holds_its_upper_end(confidence: float, place: int) -> None:
    found = measured(np.full((1, 1, 1), confidence), np.ones((1, 1, 1), dtype=bool))
    assert found.counts[place] == 1


def test_answers_of_which_the_learner_said_nothing_do_not_count() -> None:
    confidences = np.array([0.9, np.nan, 0.9])[:, None, None]
    right = np.array([True, False, True])[:, None, None]
    assert measured(confidences, right).counts.sum() == 2
    bins = bin_answers(asked(np.full((3, 1, 1), np.nan), right))
    assert bins is not None and pool_bins(bins) is None
    assert bin_answers(replace(asked(confidences, right), confidences=None)) is None


def test_calibrations_of_seeds_are_pooled_by_answers() -> None:
    rng = np.random.default_rng(2)
    parts = [(rng.random((n, 3, 1)), rng.random((n, 3, 1)) < 0.5) for n in (5, 50)]
    whole = measured(*(np.concatenate(each) for each in zip(*parts, strict=True)))
    pooled = pool_calibrations([measured(*part) for part in parts])
    np.testing.assert_array_equal(pooled.counts, whole.counts)
    np.testing.assert_allclose(pooled.confidence, whole.confidence)
    np.testing.assert_allclose(pooled.accuracy, whole.accuracy)


class Sure(Agent):
    """Answers 0 with a confidence of the caller's."""

    def __init__(self, confidence: float | np.ndarray | None = 0.9) -> None:
        self.confidence = confidence

    def begin(self, streams: Streams) -> Learner:
        agent = self

        class Says(Learner):
            def act(self, timestep: TimeStep, *, deterministic: bool) -> np.ndarray:
                told = agent.confidence
                self.confidences = np.full(streams.shape, told) if isinstance(told, float) else told
                return np.zeros(streams.shape, dtype=np.int64)

        return Says()


def envs_of(family: Bindings) -> BatchedEnv:
    return family.make_vec(family.sample("test", 4, seed=0))


def test_an_evaluation_measures_the_last_round_and_its_file_holds_it(tmp_path: Path) -> None:
    evaluation = evaluate(Sure(), Bindings(), num_tasks=6)
    known = evaluation.calibration
    assert known is not None and known.counts.sum() == 6 * 3 * 4
    # Each class is right as often as the others: a third of all answers.
    assert known.error == pytest.approx(0.9 - 1 / 3)
    assert "expected calibration error 56.67 %; mean confidence 90.00 %, right 33.33 %" in table([evaluation])
    evaluation.save(tmp_path / "evaluation.json")
    assert json.loads((tmp_path / "evaluation.json").read_text())["calibration"][
        "expected_calibration_error"
    ] == pytest.approx(0.9 - 1 / 3)
    read = Evaluation.load(tmp_path / "evaluation.json").calibration
    assert read is not None
    np.testing.assert_array_equal(read.counts, known.counts)
    np.testing.assert_array_equal(read.confidence, known.confidence)
    chunks = evaluate(Sure(), Bindings(), num_tasks=6, task_chunk_size=4).calibration
    assert chunks is not None
    np.testing.assert_array_equal(chunks.confidence, known.confidence)


def test_a_learner_that_does_not_say_how_sure_it_is_has_no_calibration() -> None:
    assert evaluate(Sure(None), Bindings(), num_tasks=2).calibration is None


def test_confidences_are_kept_in_evaluations_alone() -> None:
    assert run_trial(Sure(), envs_of(Bindings()), 2, seed=0).rounds[0].confidences is None
    first = next(rounds_of(Sure(), envs_of(Bindings()), seed=0))
    assert first.confidences is not None
    np.testing.assert_array_equal(first.confidences, np.full((6, 4, 1), 0.9))


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        (np.full((4, 2), 0.5), r"step 1: confidences are \(4, 2\); they must be an array of shape \(4, 1\)"),
        (1.5, "confidences hold 1.5; each must be a probability"),
        (float("nan"), "confidences hold nan"),
    ],
)
def test_confidences_that_are_none_are_refused_in_one_line(wrong: float | np.ndarray, says: str) -> None:
    with pytest.raises(MetarlError, match=says):
        next(rounds_of(Sure(wrong), envs_of(Bindings()), seed=0))


def test_bins_that_contradict_each_other_are_refused() -> None:
    counts, shares = np.zeros(NUM_BINS, dtype=np.int64), np.full(NUM_BINS, np.nan)
    with pytest.raises(MetarlError, match="all zero"):
        Calibration(counts, shares, shares)
    counts[3] = 2
    with pytest.raises(MetarlError, match="confidence must be a number where counts are above zero"):
        Calibration(counts, shares, shares)
    with pytest.raises(MetarlError, match="shape"):
        Calibration(counts[:4], shares, shares)
