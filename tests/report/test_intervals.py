"""Intervals of every table, picture and plot count the differences between training seeds."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from metarl.evaluation.statistics import iqm_interval
from metarl.families.task import Measure
from metarl.report.cells import Number
from metarl.report.figures import adaptation_figure, profile_figure
from metarl.report.groups import Group, group_runs
from metarl.report.plots import adaptation_panel, profile_panel
from metarl.report.rows import iqm_cell, level_cell
from metarl.report.runs import read_run
from metarl.report.tables import Asked, build_tables
from tests.report.run_folders import TASKS, run_folder, write_other_split, write_reference

OFFSETS = {1: -10.0, 2: 0.0, 3: 10.0}
"""Return that each training seed adds in every task: all variance is between seeds, none between tasks."""


@pytest.fixture
def groups(tmp_path: Path) -> list[Group]:
    """Return three seeds and two references, with every table that a page can have."""
    family = {"name": "navigation-2d", "switch_at": [30], "horizon": 50}
    runs = []
    for seed, offset in OFFSETS.items():
        returns = np.tile([offset, 3 * offset + 50.0, 5 * offset + 60.0, 0.0, 5 * offset + 100.0], (TASKS, 1))
        rewards = np.tile(np.repeat([offset, 3 * offset, 6 * offset], [30, 30, 40]), (TASKS, 1))
        run = run_folder(tmp_path / f"s{seed}", returns, seed=seed, family=family, rewards=rewards)
        write_other_split(run, "train", returns * 3)
        runs.append(run)
    write_reference(runs[0], "random", returns=np.full((TASKS, 5), 20.0))
    write_reference(runs[0], "best", returns=np.full((TASKS, 5), 60.0))
    return group_runs([read_run(run) for run in runs])


def test_intervals_of_every_table_cover_all_seeds(groups: list[Group]) -> None:
    ours = groups[0].name
    tables = build_tables(groups, Asked(1.0, ("random", "best")))
    assert [table.key for table in tables] == ["summary", "measures", "changes", "scores", "splits", "paired", "seeds"]
    checked: dict[str, int] = {}
    for table in tables:
        if table.key in ("measures", "seeds"):
            assert "Intervals" not in table.caption
            continue
        assert "crossed bootstrap over seeds and tasks; over tasks alone in rows of one seed" in table.caption
        for row in (row for row in table.rows if getattr(row[0], "whole", "") == ours):
            for cell in row:
                if isinstance(cell, Number) and cell.interval is not None:
                    low, high = cell.interval
                    checked[table.key] = checked.get(table.key, 0) + 1
                    # Drawing tasks for each seed by itself would give an interval of width zero.
                    assert low < cell.value < high, (table.key, cell)
    assert checked == {"summary": 5, "changes": 3, "scores": 4, "splits": 3, "paired": 4}


def test_intervals_of_tables_are_those_of_the_crossed_bootstrap(groups: list[Group]) -> None:
    group = groups[0]
    expected = iqm_interval(group.returns[..., -1], rng=np.random.default_rng(5))
    summary, *_ = build_tables(groups)
    (last,) = (row[5] for row in summary.rows if getattr(row[0], "whole", "") == group.name)
    assert isinstance(last, Number)
    np.testing.assert_allclose(last.interval, expected, rtol=0.1)


def test_bands_of_pictures_and_plots_cover_all_seeds(groups: list[Group]) -> None:
    trained = groups[:1]
    (band,) = adaptation_figure(trained).axes[0].collections
    (area,) = (trace for trace in adaptation_panel(trained).plots[0].traces if trace.get("fill"))
    for heights in (band.get_paths()[0].vertices[:, 1], np.array(area["y"], dtype=float)):
        assert heights.min() < 0.0 < 150.0 < heights.max()  # of the last round, 50 to 150
    (band,) = profile_figure(trained).axes[0].collections
    (area,) = (trace for trace in profile_panel(trained).plots[0].traces if trace.get("fill"))
    for shares in (band.get_paths()[0].vertices[:, 1], np.array(area["y"], dtype=float)):
        # Inside the range of seeds a third or two of seeds and tasks are above a return, in every resample of tasks.
        assert np.isclose(shares, 0.0).sum() > 90 and np.isclose(shares, 1.0).sum() > 90


def accuracies(folder: Path, *seeds: list[float]) -> Group:
    """Return the runs of training seeds with these accuracies by round, the same in every task."""
    share = Measure("accuracy", per_step=True, percent=True)
    runs = [
        run_folder(folder / f"s{seed}", np.tile(levels, (TASKS, 1)), seed=seed, measure=share)
        for seed, levels in enumerate(seeds)
    ]
    (group,) = group_runs([read_run(run) for run in runs])
    return group


def test_an_interval_of_shares_ends_where_shares_do(tmp_path: Path) -> None:
    group = accuracies(tmp_path, [0.02, 0.9], [0.5, 0.97], [0.03, 0.99])
    assert group.interval[0, 0] == 0.0 and group.interval[1, 1] == 100.0
    assert -100.0 <= group.gain[1][0] < group.gain[1][1] <= 100.0
    assert iqm_interval(group.returns, rng=group._generator()).min() < 0.0, "the seeds must differ so much"
    means = group.mean_interval_of(group.returns[..., 0])
    assert means[0] < 0.0
    cell = level_cell(group, group.returns[..., 0])
    assert cell.interval is not None and cell.interval[0] == 0.0


def test_a_gain_of_shares_may_be_negative_though_no_seed_lost(tmp_path: Path) -> None:
    group = accuracies(tmp_path, [0.1, 0.11], [0.1, 0.13], [0.1, 0.5])
    assert group.gain[1][0] < 0.0 < group.gain[0]


def test_sums_of_shares_have_no_bounds(tmp_path: Path) -> None:
    share = Measure("found", per_step=False, percent=True)
    run = run_folder(tmp_path / "s", np.tile([0.9, 0.95], (TASKS, 1)), measure=share)
    (group,) = group_runs([read_run(run)])
    assert iqm_cell(group, group.totals).interval == (185.0, 185.0)
