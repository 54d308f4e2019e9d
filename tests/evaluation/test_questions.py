"""Evaluations of families that ask questions: chunks, accuracy by instance, and how sure learners are."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from metarl.base.streams import Streams
from metarl.base.text import ordinal
from metarl.evaluation.answers import instances, join_instances
from metarl.evaluation.evaluate import evaluate
from metarl.evaluation.record import Evaluation
from metarl.evaluation.table import table
from metarl.trials.agent import Learner
from metarl.trials.memory import trial_bytes
from metarl.trials.registered import make_agent
from tests.families.asked import Bindings, LeastSquares, Lines, Rote


@pytest.mark.parametrize("size", [1, 7, 24])
def test_many_tasks_of_questions_are_asked_a_few_at_a_time_and_answered_alike(
    size: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    family, begun = Lines(), list[int]()

    class Counted(LeastSquares):
        def begin(self, streams: Streams) -> Learner:
            begun.append(streams.shape[0])
            return super().begin(streams)

    whole = evaluate(Counted(), family, num_tasks=24)
    one = trial_bytes(family, tasks=1, replicas=1, rounds=2)
    monkeypatch.setattr("metarl.evaluation.evaluate.ASKED_BYTES", size * one + 1)
    parts = evaluate(Counted(), family, num_tasks=24)
    assert begun[0] == 24 and sum(begun[1:]) == 24 and max(begun[1:]) == size
    np.testing.assert_array_equal(parts.returns, whole.returns)
    assert parts.measure == family.measure


def test_instances_count_earlier_questions_of_the_same_class_in_the_same_world() -> None:
    rng = np.random.default_rng(0)
    targets, mask = rng.integers(0, 3, (9, 4, 2)), rng.random((9, 4, 2)) < 0.8
    found = instances(targets, mask)
    for world in np.ndindex(4, 2):
        seen = [0, 0, 0]
        for time in range(9):
            here = (time, *world)
            seen[targets[here]] += mask[here]
            assert found[here] == (seen[targets[here]] if mask[here] else 0)


def test_a_learner_that_learns_by_rote_guesses_the_first_instance_and_knows_every_other(tmp_path: Path) -> None:
    family = Bindings(shots=4, reveal="step")
    evaluation = evaluate(Rote(), family, num_tasks=30, rounds=2, replicas=2)
    assert evaluation.by_instance is not None and evaluation.by_instance.shape == (30, 4)
    # Of three labels, a guess of 0 is right for one class.
    np.testing.assert_allclose(evaluation.by_instance, np.tile([1 / 3, 1, 1, 1], (30, 1)))
    assert evaluation.instance_interval is not None
    np.testing.assert_allclose(evaluation.instance_interval, [[1 / 3, 1 / 3], [1, 1], [1, 1], [1, 1]])
    evaluation.save(tmp_path / "evaluation.json")
    read = Evaluation.load(tmp_path / "evaluation.json").by_instance
    assert read is not None
    np.testing.assert_array_equal(read, evaluation.by_instance)
    rows = table([evaluation]).splitlines()
    assert [row.split()[:2] for row in rows[5:9]] == [["1st", "33.33"], *([n, "100.00"] for n in ("2nd", "3rd", "4th"))]


def test_classes_that_are_shown_after_a_round_have_no_instances() -> None:
    assert evaluate(make_agent("random", Bindings()), Bindings(), num_tasks=2).by_instance is None
    lines = Lines(reveal="step")
    assert evaluate(make_agent("random", lines), lines, num_tasks=2).by_instance is None


def test_instances_end_where_a_task_has_no_more() -> None:
    full, short = np.arange(6.0).reshape(2, 3), np.array([[0.0, 1.0, np.nan]])
    np.testing.assert_array_equal(join_instances([full, short]), [[0, 1], [3, 4], [0, 1]])
    np.testing.assert_array_equal(join_instances([full, full[:, :1]]), [[0], [3], [0], [3]])


def test_ordinals_are_those_of_english() -> None:
    told = {1: "1st", 2: "2nd", 3: "3rd", 4: "4th", 11: "11th", 12: "12th", 13: "13th", 21: "21st", 112: "112th"}
    assert {number: ordinal(number) for number in told} == told
