"""Outcomes: what a family tells of a round beside its measure."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from metarl.base.errors import MetarlError
from metarl.evaluation.evaluate import evaluate
from metarl.evaluation.record import Evaluation
from metarl.evaluation.table import table
from metarl.families.declared import DeclaredFamily
from metarl.families.outcomes import Outcome, Played
from metarl.families.task import Values
from metarl.trials.memory import trial_bytes
from metarl.trials.plan import TrialPlan
from metarl.trials.rollout import run_trial
from tests.families.asked import LeastSquares, Lines


def share_of_signs(counts: np.ndarray) -> float:
    return float(counts[0] / counts.sum())


@dataclass(frozen=True)
class Measured(Lines):
    """Lines that tell squared errors of the queries, and how many of all answers are positive."""

    outcomes = {
        "squared error": Outcome("Mean squared error of the queries; lower is better."),
        "positive": Outcome("Share of positive answers.", percent=True, pool=share_of_signs),
    }

    def measure_round(self, values: Values, number: int, played: Played) -> Mapping[str, np.ndarray]:
        assert played.targets is not None
        assert values["slope"].shape == (played.mask.shape[1],)
        squared = np.square(played.actions.astype(np.float64) - played.targets)[..., 0].mean(axis=(0, 2))
        above = (played.actions[..., 0] > 0).sum(axis=(0, 2))
        return {
            "squared error": squared if number else np.full(len(squared), np.nan),
            "positive": np.stack([above, len(played.mask) * played.mask.shape[2] - above], axis=1),
        }


@pytest.mark.parametrize("size", [1, 5, 24])
def test_outcomes_are_those_of_the_episodes_however_many_tasks_are_side_by_side(
    size: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    family = Measured()
    one = trial_bytes(family, tasks=1, replicas=1, rounds=2)
    monkeypatch.setattr("metarl.evaluation.evaluate.ASKED_BYTES", size * one + 1)
    found = evaluate(LeastSquares(), family, num_tasks=24, seed=3)
    plan = TrialPlan(num_tasks=24, seed=3)
    tasks = plan.tasks(family)
    with contextlib.closing(family.make_vec(tasks, plan.replicas)) as envs:
        trial = run_trial(LeastSquares(), envs, rounds=2, seed=plan.trial_seed)
    for number, episodes in enumerate(trial.rounds):
        actions, targets = episodes.actions[..., 0].astype(np.float64), episodes.targets
        assert targets is not None
        by_task = [np.mean((actions[:, n] - targets[:, n, :, 0]) ** 2) for n in range(24)]
        np.testing.assert_allclose(found.outcomes["positive"].values[number], np.mean(actions > 0))
        if number:
            np.testing.assert_allclose(found.outcomes["squared error"].values[:, number], by_task)
        else:
            assert np.isnan(found.outcomes["squared error"].values[:, 0]).all()


def test_outcomes_survive_their_file_and_have_lines_in_the_table(tmp_path: Path) -> None:
    written = evaluate(LeastSquares(), Measured(), num_tasks=7)
    written.save(tmp_path / "evaluation.json")
    read = Evaluation.load(tmp_path / "evaluation.json")
    assert read.to_json() == written.to_json() and set(read.outcomes) == {"squared error", "positive"}
    lines = table([read]).splitlines()
    start = next(n for n, line in enumerate(lines) if "mean ± 1.96 SE  " in line and "round 1" in line)
    squared, positive = lines[start + 1].split(), lines[start + 2].split()
    values = read.outcomes["squared error"].values[:, 1]
    assert squared[:3] == ["squared", "error", "none"]
    assert float(squared[3]) == pytest.approx(values.mean(), abs=1e-3)
    assert float(squared[5]) == pytest.approx(1.96 * values.std(ddof=1) / np.sqrt(7), abs=1e-3)
    assert positive[:2] == ["positive", "(%)"] and "±" not in positive
    assert float(positive[3]) == pytest.approx(100 * read.outcomes["positive"].values[1], abs=1e-2)


@pytest.mark.parametrize(
    "values",
    [[[1.0, 2.0]], [[1.0], [2.0, 3.0]], [1.0], [[1.0, 2.0], [1.0, 1e200]], "many", [[1.0, 2.0], 3.0]],
)
def test_a_file_whose_outcomes_do_not_fit_is_damaged(values: object, tmp_path: Path) -> None:
    path = tmp_path / "evaluation.json"
    evaluate(LeastSquares(), Measured(), num_tasks=2).save(path)
    document = json.loads(path.read_text())
    document["outcomes"]["squared error"]["values"] = values
    path.write_text(json.dumps(document))
    with pytest.raises(MetarlError, match=r"damaged: .*write it again") as caught:
        Evaluation.load(path)
    assert "\n" not in str(caught.value)


def test_a_family_that_gives_other_outcomes_than_it_names_is_told_so() -> None:
    @dataclass(frozen=True)
    class Silent(Measured):
        def measure_round(self, values: Values, number: int, played: Played) -> Mapping[str, np.ndarray]:
            return {"positive": np.zeros((played.mask.shape[1], 2))}

    @dataclass(frozen=True)
    class Flat(Measured):
        def measure_round(self, values: Values, number: int, played: Played) -> Mapping[str, np.ndarray]:
            return {**super().measure_round(values, number, played), "positive": np.zeros(played.mask.shape[1])}

    with pytest.raises(MetarlError, match=r"measure_round gives .*outcomes name"):
        evaluate(LeastSquares(), Silent(), num_tasks=2)
    with pytest.raises(MetarlError, match=r"'positive' has shape \(2,\); it must be \[task, kind\]"):
        evaluate(LeastSquares(), Flat(), num_tasks=2)


def test_a_family_behind_an_option_keeps_its_outcomes() -> None:
    base = Measured()
    alone, wrapped = (evaluate(LeastSquares(), each, num_tasks=4) for each in (base, DeclaredFamily(base, "mine")))
    for name, told in alone.outcomes.items():
        np.testing.assert_array_equal(wrapped.outcomes[name].values, told.values)
    assert len(alone.outcomes) == 2
