"""The confirmation: pairs by seed and task, and its interval."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from metarl.base.errors import MetarlError
from metarl.base.streams import generator
from metarl.evaluation.record import AgentRecord, Evaluation
from metarl.evaluation.statistics import crossed_bootstrap
from metarl.families.load import load
from metarl.search.confirm import compare
from metarl.trials.plan import TrialPlan
from tests.search.small_studies import plan


def evaluation(returns: np.ndarray) -> Evaluation:
    """Return an evaluation with given returns. [task, round]"""
    family, (num_tasks, rounds) = load("navigation-2d"), returns.shape
    return Evaluation(
        family=family.name,
        settings=family.settings,
        agent=AgentRecord("maml-ppo"),
        plan=TrialPlan(split="test", num_tasks=num_tasks, rounds=rounds, replicas=1),
        tasks=family.sample("test", num_tasks, seed=0),
        returns=returns,
        successes=None,
        env_steps_per_task=np.cumsum(np.ones_like(returns), axis=1),
        unseen=True,
    )


@pytest.mark.parametrize("by", ["last_round", "trial"])
def test_the_difference_is_paired_by_seed_and_task(tmp_path: Path, by: str) -> None:
    rng = np.random.default_rng(0)
    base = rng.normal(size=(3, 6, 2)) * 10
    gains = rng.normal(1.0, 0.1, size=(3, 6, 2))
    default, best = ([evaluation(each) for each in values] for values in (base, base + gains))
    asked = plan(tmp_path)
    config = asked.load([f"evaluation.best_by={by}"])
    found = compare(plan(tmp_path, base=config), 7, [2, 3, 4], default, best)
    expected = gains.sum(axis=-1) if by == "trial" else gains[..., -1]
    assert found.difference == pytest.approx(expected.mean())
    assert found.best - found.default == pytest.approx(found.difference)
    ends = crossed_bootstrap(expected, lambda pooled, axis: pooled.mean(axis=axis), rng=generator(0, "confirm"))
    assert found.interval == pytest.approx(list(map(float, ends)))
    # Unpaired, returns that differ by tens would hide a gain of one.
    assert found.interval[0] is not None and found.interval[0] > 0
    assert (found.trial, found.seeds, found.num_tasks) == (7, [2, 3, 4], 6)
    assert found.line.startswith("confirm: return of ") and "6 test tasks, 3 fresh seeds: trial 7 " in found.line


def test_one_seed_gives_an_interval_over_tasks_alone_and_says_so(tmp_path: Path) -> None:
    first, second = evaluation(np.zeros((4, 2))), evaluation(np.ones((4, 2)))
    found = compare(plan(tmp_path), 0, [2], [first], [second])
    assert found.line.endswith("difference 1.000, 95 % interval over tasks alone, of one seed [1.000, 1.000]")


def test_evaluations_of_other_tasks_are_refused(tmp_path: Path) -> None:
    with pytest.raises(MetarlError, match="are of other tasks; remove the folder"):
        compare(plan(tmp_path), 0, [2], [evaluation(np.zeros((4, 2)))], [evaluation(np.zeros((5, 2)))])
