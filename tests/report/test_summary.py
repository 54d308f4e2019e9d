"""The summary table and the table of single seeds."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pytest

from metarl.report.comparison import score_table
from metarl.report.groups import group_runs
from metarl.report.runs import read_run
from metarl.report.summary import seed_table, summary_table
from tests.report.run_folders import (
    TASKS,
    page,
    run_folder,
    scores,
    skewed,
    write_variant,
)


def test_scripted_numbers_come_out_exactly(tmp_path: Path) -> None:
    returns = np.tile([1.0, 7.0], (TASKS, 1))
    runs = [run_folder(tmp_path / f"s{seed}", returns, seed=seed) for seed in (4, 5)]
    (group,) = group_runs([read_run(path) for path in runs])
    header, row = summary_table([group]).plain_rows()
    assert header == ("agent", "seeds", "env steps (M)", "minutes", "round 1", "round 2", "gain")
    assert row == ("maml-ppo", "4, 5", "0.00240", "4.0", "1.00 [1.00, 1.00]", "7.00 [7.00, 7.00]", "6.00 [6.00, 6.00]")
    assert [run.minutes for run in group.runs] == [4.0, 4.0]
    assert [run.env_steps for run in group.runs] == [2400, 2400]


def test_a_single_task_has_no_interval(tmp_path: Path) -> None:
    (group,) = group_runs([read_run(run_folder(tmp_path / "run", np.array([[1.0, 2.0]])))])
    assert summary_table([group]).plain_rows()[1][4:] == ("1.00 none", "2.00 none", "1.00 none")


def test_success_of_a_seed_that_never_had_any_counts_as_none(tmp_path: Path) -> None:
    successes = [np.tile([0.0, 1.0], (TASKS, 1)), None]
    runs = [
        run_folder(tmp_path / f"s{seed}", scores(0), seed=seed, successes=rates) for seed, rates in enumerate(successes)
    ]
    (group,) = group_runs([read_run(run) for run in runs])
    assert summary_table([group]).plain_rows()[0][-1] == "success by round"
    assert summary_table([group]).plain_rows()[1][-1] == "0.00 / 0.50"


def test_long_trials_show_their_first_and_last_round_and_their_sum(tmp_path: Path) -> None:
    returns = np.tile(np.arange(6.0), (TASKS, 1))
    run = run_folder(tmp_path / "run", returns, env_steps_per_task=np.tile(np.arange(1.0, 7.0), (TASKS, 1)))
    header, row = summary_table(group_runs([read_run(run)])).plain_rows()
    assert header[4:] == ("first round", "last round", "gain", "env steps of a trial", "trial", "trial, mean")
    assert [cell.split()[0] for cell in row[4:]] == ["0.00", "5.00", "5.00", "6", "15.0", "15.0"]


def test_row_of_a_variant_has_its_seeds_and_the_note_of_an_oracle(tmp_path: Path) -> None:
    run = run_folder(tmp_path / "run", scores(1), seed=3, trained={"training_seed": 3}, oracle=True)
    write_variant(run, scores(2) + 50.0, adapts=True)
    groups = group_runs([read_run(run)])
    assert groups[1].name == "maml-ppo adapts=true (oracle, shown the task)"
    assert summary_table(groups).plain_rows()[2][:4] == ("maml-ppo adapts=true (oracle)", "seed 3", "-", "-")
    assert score_table([*groups], "maml-ppo", "maml-ppo adapts=true").plain_rows()[2][2].startswith("1.00")


def test_trial_has_the_iqm_and_the_mean_of_its_sum_each_with_its_own_interval(tmp_path: Path) -> None:
    returns = np.concatenate([skewed(1), skewed(2), skewed(3)], axis=1)[:, :5]
    steps = np.tile(np.arange(1.0, 6.0), (TASKS, 1))
    run = read_run(run_folder(tmp_path / "run", returns, env_steps_per_task=steps))
    (group,) = group_runs([run])
    header, row = summary_table([group]).plain_rows()
    cells = dict(zip(header, row, strict=True))
    totals = np.sort(returns.sum(axis=1))
    found = {
        name: [float(word.replace(",", "")) for word in re.findall(r"[\d,.]*\d", cells[name])] for name in header[-2:]
    }
    assert found["trial"][0] == pytest.approx(totals[2:6].mean(), rel=0.01)
    assert found["trial, mean"][0] == pytest.approx(totals.mean(), rel=0.01)
    drawn = np.random.default_rng(0).choice(returns.sum(axis=1), (4000, TASKS)).mean(axis=1)
    assert found["trial, mean"][1:] == pytest.approx(np.quantile(drawn, (0.025, 0.975)), rel=0.05)
    assert found["trial"][1:] != found["trial, mean"][1:]


def test_return_of_one_round_is_shown_once_and_trials_of_two_rounds_have_no_sum(tmp_path: Path) -> None:
    once = run_folder(tmp_path / "once", scores(1)[:, :1], env_steps_per_task=np.full((TASKS, 1), 10.0))
    twice = run_folder(tmp_path / "twice", scores(1))
    assert summary_table(group_runs([read_run(once)])).plain_rows()[0][4:] == ("return", "return, mean")
    assert "trial" not in summary_table(group_runs([read_run(twice)])).plain_rows()[0]


def test_single_seeds_show_the_first_and_the_last_round_of_long_trials_and_the_mean_of_their_sum(
    tmp_path: Path,
) -> None:
    returns = np.tile([1.0, 2.0, 4.0, 8.0, 16.0], (TASKS, 1))
    steps = np.tile(np.arange(1.0, 6.0), (TASKS, 1))
    successes = np.tile([0.0, 0.1, 0.2, 0.3, 0.4], (TASKS, 1))
    run = run_folder(tmp_path / "run", returns, env_steps_per_task=steps, successes=successes)
    assert "| maml-ppo | 0 | 1.0 / 16.0 | 1.0 / 16.0 | 31.0 |" in page([run])
    assert summary_table(group_runs([read_run(run)])).plain_rows()[1][-1] == "0.00 / 0.40"


def test_seeds_of_a_variant_are_numbers_or_their_count(tmp_path: Path) -> None:
    runs = [run_folder(tmp_path / f"s{seed}", scores(seed), seed=seed, trained={}) for seed in (1, 2)]
    for run in runs:
        write_variant(run, scores(9), adapts=True)
    table = summary_table(group_runs([read_run(run) for run in runs])).plain_rows()
    assert [row[1] for row in table] == ["seeds", "1, 2", "2 seeds"]
    alone = summary_table(group_runs([read_run(runs[0])])).plain_rows()
    assert [row[1] for row in alone] == ["seeds", "seed 1", "-"]


def test_checkpoint_and_commits_of_a_run_fit_into_their_cells(tmp_path: Path) -> None:
    run = run_folder(tmp_path / "run", scores(1), trained={"updates": 3})
    sessions = [{"git_commit": f"{number:040d}"[::-1]} for number in range(1, 6)]
    for count, commits in ((1, "1000000000"), (2, "1000000000, 2000000000"), (5, "1000000000 and 4 more")):
        (run / "run.json").write_text(json.dumps({"sessions": sessions[:count]}))
        *_, checkpoint, _, shown = seed_table(group_runs([read_run(run)])).plain_rows()[1]
        assert (checkpoint, shown) == ("3 of 4", commits)


def test_single_seeds_of_a_trained_agent_with_other_settings_follow_those_of_its_runs(tmp_path: Path) -> None:
    runs = [
        run_folder(tmp_path / f"s{seed}", scores(seed), seed=seed, trained={"training_seed": seed, "updates": 3})
        for seed in (1, 2)
    ]
    for seed, run in enumerate(runs, start=1):
        write_variant(run, np.full((TASKS, 2), 10.0 * seed), adapts=True)
    rows = seed_table(group_runs([read_run(run) for run in runs])).plain_rows()[1:]
    assert [row[:2] for row in rows] == [
        ("maml-ppo", "1"), ("maml-ppo", "2"), ("maml-ppo adapts=true", "1"), ("maml-ppo adapts=true", "2")
    ]  # fmt: skip
    assert rows[3][3:] == ("20.0 / 20.0", "40.0", "3", "-", "-")
