"""The table of outcomes on a page."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from metarl.evaluation.outcomes import Told
from metarl.report.groups import group_runs
from metarl.report.outcomes import outcome_table
from metarl.report.runs import read_run
from tests.report.run_folders import run_folder, scores, write_reference


def told(seed: int) -> dict[str, Told]:
    values = np.random.default_rng(seed).uniform(size=(8, 2))
    values[:, 0] = np.nan
    values[2, 1] = np.nan
    return {
        "nDCG@5": Told("Quality of the order; higher is better.", False, values),
        "coverage": Told("Share of the catalogue that anybody was shown.", True, np.array([0.1, 0.2 + seed / 10])),
    }


def test_outcomes_of_seeds_are_pooled_over_the_tasks_that_have_them(tmp_path: Path) -> None:
    runs = [run_folder(tmp_path / f"s{n}", scores(n), seed=n, outcomes=told(n)) for n in range(3)]
    write_reference(runs[0], "random", returns=scores(9), outcomes={})
    groups = group_runs([read_run(run) for run in runs])
    table = outcome_table(groups)
    (_, (agent, order, coverage)) = table.plain_rows()
    expected = np.mean([np.delete(told(n)["nDCG@5"].values[:, 1], 2) for n in range(3)])
    assert agent.startswith("maml-ppo") and float(order.split()[0]) == pytest.approx(expected, abs=0.006)
    assert "[" in order and coverage == "30.0"
    assert [column.label for column in table.columns[1:]] == ["nDCG@5", "coverage (%)"]
    assert "higher is better: mean over seeds and tasks" in table.columns[1].meaning
    assert "statistic of all tasks together" in table.columns[2].meaning


def test_a_page_without_outcomes_has_no_table_of_them(tmp_path: Path) -> None:
    run = run_folder(tmp_path / "s", scores(0))
    assert not outcome_table(group_runs([read_run(run)])).rows
