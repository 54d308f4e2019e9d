"""The tables that compare agents: pairs, scores and other splits."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from metarl.base.errors import MetarlError
from metarl.evaluation.record import Evaluation
from metarl.report.about import About
from metarl.report.cells import Name, Number
from metarl.report.comparison import comparison_table, gap_table, score_table
from metarl.report.groups import group_runs
from metarl.report.markdown import markdown
from metarl.report.runs import read_run
from tests.report.run_folders import (
    ROUNDS,
    TASKS,
    page,
    run_folder,
    scaled_groups,
    scores,
    skewed,
    write_other_split,
    write_reference,
    write_variant,
)
from tests.scripted import altered


def test_references_are_compared_with_the_agents_in_the_same_tasks(tmp_path: Path) -> None:
    ours, theirs = scores(1), scores(9)
    runs = [run_folder(tmp_path / f"s{seed}", ours + seed, seed=seed) for seed in (0, 2)]
    reference = altered(Evaluation.load(runs[0] / "evaluation.json"), agent="random", returns=theirs, trained=None)
    reference.save(runs[1] / "evaluation-random.json")
    trained, beside = group_runs([read_run(run) for run in runs])
    assert (beside.name, beside.runs, trained.files) == ("random", (), ())
    _, difference = comparison_table([trained, beside]).plain_rows()
    change = (ours.sum(axis=1) + ROUNDS * 1.0 - theirs.sum(axis=1)).mean()
    assert difference[:2] == ("maml-ppo", "random")
    assert difference[2].startswith(f"{change:.1f} [")  # one decimal: of two seeds the interval is wide
    assert difference[3] == f"{change / theirs.sum(axis=1).mean():+.1%}"
    assert difference[5] == "20 / 20"
    page = markdown([trained, beside], About("metarl report"), {})
    assert "| random | - | - | - |" in page
    assert "metarl evaluate runs/s2 --agent random --rounds 2 --replicas 2 --tasks 8" in page


def test_difference_is_the_mean_of_the_paired_differences_with_their_own_interval(tmp_path: Path) -> None:
    ours = skewed(1)
    run = run_folder(tmp_path / "run", ours)
    write_reference(run, returns=ours - 3.0 + 1e-3 * scores(4))
    _, difference = comparison_table(group_runs([read_run(run)])).plain_rows()
    # The tasks differ by hundreds, the two agents in each of them by six.
    value, low, high = (float(word) for word in re.findall(r"-?\d+\.\d+", difference[2]))
    assert value == low == high == pytest.approx(6.0, abs=0.05)


def test_a_trained_agent_with_other_settings_is_compared_with_references_and_with_its_own_run(tmp_path: Path) -> None:
    run = run_folder(tmp_path / "run", scores(1), trained={"training_seed": 0})
    write_variant(run, scores(1) + 2.0, adapts=True)
    write_reference(run, returns=scores(1) - 1.0)
    _, *rows = comparison_table(group_runs([read_run(run)])).plain_rows()
    assert [(row[0], row[1], row[2].split()[0]) for row in rows] == [
        ("maml-ppo", "random", "2.00"),
        ("maml-ppo adapts=true", "random", "6.00"),
        ("maml-ppo adapts=true", "maml-ppo", "4.00"),
    ]


@pytest.mark.parametrize(
    ("ours", "theirs", "share"),
    [
        ([6.0] * TASKS, [4.0] * TASKS, "+50.0%"),
        ([2.0] * TASKS, [4.0] * TASKS, "-50.0%"),
        ([99.0] * TASKS, [1.0] * TASKS, "+9,800%"),
        ([-6.0] * TASKS, [-8.0] * TASKS, "-"),  # 25 % of a negative return says nothing
        ([1.0] * TASKS, [0.0] * TASKS, "-"),
        ([1.0] * TASKS, [-5.0, 6.0] * (TASKS // 2), "-"),  # a mean of 0.5, which may be zero
        ([6.0], [4.0], "+50.0%"),
        ([-6.0], [-8.0], "-"),
    ],
)
def test_share_is_printed_of_a_mean_that_is_known_to_be_positive(
    tmp_path: Path, ours: list[float], theirs: list[float], share: str
) -> None:
    run = run_folder(tmp_path / "run", np.array(ours)[:, None])
    write_reference(run, returns=np.array(theirs)[:, None])
    _, difference = comparison_table(group_runs([read_run(run)])).plain_rows()
    assert difference[3] == share


def test_env_steps_of_both_trials_stand_beside_their_difference(tmp_path: Path) -> None:
    run = run_folder(tmp_path / "run", scores(1), env_steps_per_task=np.tile([3000.0, 6000.0], (TASKS, 1)))
    write_reference(run, returns=scores(2), env_steps_per_task=np.tile([150.0, 300.0], (TASKS, 1)))
    header, difference = comparison_table(group_runs([read_run(run)])).plain_rows()
    assert (header[-1], difference[-1]) == ("env steps of a trial", "6,000 / 300")


def test_settings_are_compared_with_those_before_them_and_all_with_the_references(tmp_path: Path) -> None:
    runs = [run_folder(tmp_path / f"r{n}", scores(n)) for n in (1, 2)]
    config = runs[1] / "config.yaml"
    config.write_text(config.read_text().replace("inner_lr: 0.1", "inner_lr: 0.25"))
    write_reference(runs[0], "random")
    rows = [row[:2] for row in comparison_table(group_runs([read_run(run) for run in runs])).plain_rows()[1:]]
    first, second = "maml-ppo", "maml-ppo agent.inner_lr=0.25"
    assert rows == [(first, "random"), (second, "random"), (second, first)]


def test_references_are_compared_on_their_own_problem_only(tmp_path: Path) -> None:
    other = {"name": "point-sparse"}
    one = run_folder(tmp_path / "one", scores(1))
    two = run_folder(tmp_path / "two", scores(2), family=other)
    write_reference(one, "random")
    write_reference(two, "other-reference")
    groups = group_runs([read_run(one), read_run(two)])
    assert [(group.problem, group.name) for group in groups] == [
        ("navigation-2d", "maml-ppo"),
        ("navigation-2d", "random"),
        ("point-sparse", "maml-ppo"),
        ("point-sparse", "other-reference"),
    ]
    assert [row[:3] for row in comparison_table(groups).plain_rows()[1:]] == [
        ("navigation-2d", "maml-ppo", "random"),
        ("point-sparse", "maml-ppo", "other-reference"),
    ]


def test_scores_of_scripted_rounds_are_exact(tmp_path: Path) -> None:
    # Solves two tasks of eight in the first round, and six in the last, one of them twice as well as the oracle.
    first, last = np.repeat([10.0, -10.0], [2, 6]), np.repeat([30.0, 10.0, -10.0], [1, 5, 2])
    groups = scaled_groups(tmp_path / "run", np.stack([first, last], axis=1))
    header, ours, oracle, random = score_table(groups, "random", "oracle").plain_rows()
    assert header[1:4] == ("score, first round", "score, last round", "optimality gap")
    assert header[4:] == ("regret of a trial", "env steps of a trial")
    assert [cell.split()[0] for cell in ours[1:]] == ["0.25", "0.88", "0.25", "17.5", "20"]
    assert [cell.split()[0] for cell in oracle[1:]] == ["1.00", "1.00", "0.00", "-", "20"]
    assert [cell.split()[0] for cell in random[1:]] == ["0.00", "0.00", "1.00", "40.0", "20"]


def test_score_and_gap_are_of_one_statistic_and_add_up_to_one(tmp_path: Path) -> None:
    # Returns whose mean and IQM lie far apart: a mean on a scale of IQMs gave the low end a gap above one.
    worst = skewed(1)
    run = run_folder(tmp_path / "run", worst + 0.25 * skewed(2))
    write_reference(run, "random", returns=worst)
    write_reference(run, "oracle", returns=worst + skewed(2))
    table = score_table(group_runs([read_run(run)]), "random", "oracle")
    shown = {row[0].text: row for row in table.rows if isinstance(row[0], Name)}
    for name, score in (("maml-ppo", 0.25), ("oracle", 1.0), ("random", 0.0)):
        _, _, last, gap, *_ = shown[name]
        assert isinstance(last, Number) and isinstance(gap, Number)
        assert (last.value, gap.value) == (pytest.approx(score), pytest.approx(1 - score))
    assert "All numbers are means" in table.caption


def test_intervals_of_scores_are_those_of_returns_on_another_scale(tmp_path: Path) -> None:
    groups = scaled_groups(tmp_path / "run", scores(3))
    cell = score_table(groups, "random", "oracle").plain_rows()[1][2]
    ends = [float(word) for word in re.findall(r"-?\d+\.\d+", cell)][1:]
    np.testing.assert_allclose(ends, (groups[0].mean_interval_of(scores(3)[None, :, -1]) + 10) / 20, atol=5e-3)


def test_regret_of_trials_of_another_length_is_not_printed(tmp_path: Path) -> None:
    groups = scaled_groups(tmp_path / "run", scores(3))
    longer = replace(
        groups[0],
        evaluations=[
            altered(groups[0].evaluations[0], returns=np.zeros((TASKS, 5)), env_steps_per_task=np.ones((TASKS, 5)))
        ],
    )
    assert score_table([longer, *groups[1:]], "random", "oracle").plain_rows()[1][-2] == "-"


def test_scale_ends_at_the_last_round_of_both(tmp_path: Path) -> None:
    run = run_folder(tmp_path / "run", np.tile([0.0, 5.0], (TASKS, 1)))
    write_reference(run, "random", returns=np.tile([3.0, 0.0], (TASKS, 1)))
    write_reference(run, "oracle", returns=np.tile([4.0, 10.0], (TASKS, 1)))
    ours = score_table(group_runs([read_run(run)]), "random", "oracle").plain_rows()[1]
    assert [cell.split()[0] for cell in ours[1:]] == ["0.00", "0.50", "0.50", "9.00", "20"]


@pytest.mark.filterwarnings("error")
def test_scale_between_an_agent_and_itself_is_refused_before_anything_is_divided_by_it(tmp_path: Path) -> None:
    groups = scaled_groups(tmp_path / "run", scores(3))
    with pytest.raises(MetarlError, match=r"the scale goes from .* to .*; give the lower score first"):
        score_table(groups, "oracle", "oracle")


def test_gap_of_the_oracle_to_itself_is_none(tmp_path: Path) -> None:
    best = np.repeat(np.linspace(-100.0, 0.0, TASKS)[:, None], 2, axis=1)
    run = run_folder(tmp_path / "run", best - 10.0)
    write_reference(run, "random", returns=best - 100.0)
    write_reference(run, "oracle", returns=best)
    ours, oracle, _ = score_table(group_runs([read_run(run)]), "random", "oracle").plain_rows()[1:]
    assert [row[3].split()[0] for row in (ours, oracle)] == ["0.10", "0.00"]


def test_gap_is_the_loss_from_tasks_near_training_to_tasks_far_from_it(tmp_path: Path) -> None:
    runs = [run_folder(tmp_path / f"r{seed}", np.tile([0.0, 5.0], (TASKS, 1)), seed=seed) for seed in (1, 2)]
    for run in runs:
        write_other_split(run, "train", np.tile([0.0, 7.0], (5, 1)))
        write_other_split(run, "extrapolation", np.tile([0.0, 1.0], (6, 1)))
    groups = group_runs([read_run(run) for run in runs])
    header, near, far = gap_table(groups).plain_rows()
    assert header == ("agent", "last round in", "return there", "return here", "gap")
    assert near[1:] == ("train tasks", "7.00 [7.00, 7.00]", "5.00 [5.00, 5.00]", "2.00 [2.00, 2.00]")
    assert far[1:] == ("extrapolation tasks", "1.00 [1.00, 1.00]", "5.00 [5.00, 5.00]", "4.00 [4.00, 4.00]")
    text = page(runs)
    assert "## Other tasks" in text
    assert "--tasks 5 --split train --json" in text


def test_gap_needs_every_seed(tmp_path: Path) -> None:
    runs = [run_folder(tmp_path / f"r{seed}", scores(seed), seed=seed) for seed in (1, 2)]
    write_other_split(runs[0], "train", scores(3))
    assert len(gap_table(group_runs([read_run(run) for run in runs])).plain_rows()) == 1


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"trained": {"checkpoint": "last", "new": 1}}, "differ in trained: checkpoint: 'last', 'best'"),
        ({"budget": 3}, "was evaluated with budget=3 in tasks of another split"),
        ({"replicas": 5}, "differ in replicas: 5, 2"),
    ],
)
def test_gap_needs_evaluations_of_one_agent_measured_alike(
    tmp_path: Path, changes: dict[str, Any], reason: str
) -> None:
    run = run_folder(tmp_path / "run", scores(1), trained={"checkpoint": "best", "old": 2})
    write_other_split(run, "train", scores(4), **changes)
    (unlike,) = read_run(run).left_out
    assert reason in unlike.why
    assert len(gap_table(group_runs([read_run(run)])).plain_rows()) == 1
    # A key that only one of them has is no difference.
    write_other_split(run, "train", scores(4), trained={"checkpoint": "best", "new": 1})
    assert len(gap_table(group_runs([read_run(run)])).plain_rows()) == 2
