"""The tables of adaptation: measures, and recovery from changes of the task."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from metarl.cli.main import main
from metarl.report.adaptation import measure_table, recovery_table
from metarl.report.groups import group_runs
from metarl.report.runs import read_run
from tests.report.run_folders import (
    TASKS,
    page,
    run_folder,
    scores,
)


def test_measures_of_scripted_rounds_are_exact(tmp_path: Path) -> None:
    returns = np.array([[0.0, 0.0, 8.0]] * 7 + [[-8.0, 0.0, 0.0]])
    steps = np.tile([10.0, 30.0, 40.0], (TASKS, 1))
    run = run_folder(tmp_path / "run", returns, env_steps_per_task=steps)
    header, row = measure_table(group_runs([read_run(run)])).plain_rows()
    assert row[1:3] == ("-8.00", "0.00")  # the worst of eight
    assert row[3:] == ("2", "30")
    assert header[3:] == ("rounds to 90 % of the gain", "env steps to 90 % of the gain")
    worse = run_folder(tmp_path / "worse", returns[:, ::-1], env_steps_per_task=steps)
    assert measure_table(group_runs([read_run(worse)])).plain_rows()[1][3:] == ("never", "never")


@pytest.mark.parametrize(("gain", "speed"), [(0.5, ("-", "-")), (5.0, ("1", "10")), (-5.0, ("never", "never"))])
def test_speed_of_a_gain_whose_interval_holds_zero_is_not_printed(
    tmp_path: Path, gain: float, speed: tuple[str, str]
) -> None:
    last = gain + np.linspace(-4.0, 4.0, TASKS)
    run = run_folder(tmp_path / "run", np.stack([np.zeros(TASKS), last], axis=1))
    (group,) = group_runs([read_run(run)])
    assert np.sign(group.gain[0]) == np.sign(gain)
    assert measure_table([group]).plain_rows()[1][3:] == speed


def test_speed_of_a_single_task_is_not_printed(tmp_path: Path) -> None:
    run = run_folder(tmp_path / "run", np.array([[0.0, 5.0]]))
    assert measure_table(group_runs([read_run(run)])).plain_rows()[1][3:] == ("-", "-")


def test_recovery_of_scripted_rewards_is_on_the_page(tmp_path: Path) -> None:
    family = {"name": "navigation-2d", "switch_at": [30], "horizon": 50}
    # 2 a step until the change, then nothing for 15 steps, then 1.
    rewards = np.tile(np.concatenate([np.full(30, 2.0), np.zeros(15), np.ones(55)]), (TASKS, 1))
    run = run_folder(tmp_path / "run", scores(1), family=family, rewards=rewards)
    header, row = recovery_table(group_runs([read_run(run)])).plain_rows()
    assert header == ("agent", "change at step", "reward before", "right after", "at the end", "env steps to 90 %")
    assert row[1:] == ("30", "2.00 [2.00, 2.00]", "0.25 [0.25, 0.25]", "1.00 [1.00, 1.00]", "14")
    assert "## Changes of the task" in page([run])
    rewards[0, 10] = np.nan  # must not vanish in a mean over numbers
    broken = run_folder(tmp_path / "broken", scores(1), family=family, rewards=rewards)
    assert recovery_table(group_runs([read_run(broken)])).plain_rows()[1][2].startswith("not finite")
    rewards[0, 30:] = np.nan
    never = run_folder(tmp_path / "never", scores(1), family=family, rewards=rewards)
    missing = recovery_table(group_runs([read_run(never)])).plain_rows()[1][2:]
    assert missing == ("not every task came to it", "-", "-", "-")


@pytest.mark.parametrize(("rise", "steps"), [(0.0, "-"), (1.0, "18")])
def test_speed_of_a_recovery_that_may_be_none_is_not_printed(tmp_path: Path, rise: float, steps: str) -> None:
    family = {"name": "navigation-2d", "switch_at": [30], "horizon": 50}
    end = rise + np.linspace(-0.4, 0.4, TASKS)[:, None]
    rewards = np.concatenate([np.ones((TASKS, 30)), np.zeros((TASKS, 20)), np.tile(end, (1, 50))], axis=1)
    run = run_folder(tmp_path / "run", scores(1), family=family, rewards=rewards)
    row = recovery_table(group_runs([read_run(run)])).plain_rows()[1]
    assert row[-1] == steps


def test_tasks_that_stay_the_same_have_no_recovery(tmp_path: Path) -> None:
    assert len(recovery_table(group_runs([read_run(run_folder(tmp_path / "run", scores(1)))])).plain_rows()) == 1


def test_trials_of_one_round_have_no_measures_of_adaptation(tmp_path: Path) -> None:
    once = run_folder(tmp_path / "once", scores(1)[:, :1], env_steps_per_task=np.full((TASKS, 1), 10.0))
    assert len(measure_table(group_runs([read_run(once)])).plain_rows()) == 1
    page = tmp_path / "page.md"
    assert main(["report", str(once), "-o", str(page)]) == 0
    assert "Measures" not in page.read_text()
