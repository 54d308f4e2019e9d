"""Evaluations of families that ask questions: chunks, accuracy by instance, and how sure learners are."""

from __future__ import annotations

import numpy as np
import pytest

from metarl.base.streams import Streams
from metarl.evaluation.evaluate import evaluate
from metarl.trials.agent import Learner
from metarl.trials.memory import trial_bytes
from tests.families.asked import LeastSquares, Lines


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
