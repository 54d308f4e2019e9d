"""Curves of rewards around changes of the task."""

from __future__ import annotations

from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from metarl.report.about import About
from metarl.report.changes import change_figure, change_panel, reward_curve
from metarl.report.groups import Group, group_runs
from metarl.report.html import html_page
from metarl.report.markdown import write_page
from metarl.report.runs import read_run
from tests.report.run_folders import TASKS, run_folder, scores

FAMILY: dict[str, Any] = {"name": "navigation-2d", "switch_at": [30], "horizon": 50}


def groups_of(folder: Path, *rewards: np.ndarray) -> list[Group]:
    runs = [
        run_folder(folder / f"s{n}", scores(n), seed=n, family=FAMILY, rewards=each) for n, each in enumerate(rewards)
    ]
    return group_runs([read_run(run) for run in runs])


def test_no_block_reaches_over_a_change_and_blocks_hold_every_step(tmp_path: Path) -> None:
    rewards = [np.random.default_rng(n).normal(size=(TASKS, 100)) for n in range(2)]
    (group,) = groups_of(tmp_path, *rewards)
    curve = reward_curve(group)
    assert curve is not None
    steps = [list(range(start, end)) for start, end in zip(curve.starts, curve.ends, strict=True)]
    assert list(chain.from_iterable(steps)) == list(range(100)) and 30 in curve.starts
    for n, each in enumerate(steps):
        expected = np.stack(rewards)[..., each].mean(axis=-1)
        np.testing.assert_allclose(curve.rewards[..., n], expected, rtol=0, atol=1e-12)
    assert [curve.ends[part][-1] for part in curve.parts] == [30, 100]
    assert [curve.starts[part][0] for part in curve.parts] == [0, 30]


def test_a_drop_at_a_change_is_drawn_as_a_gap_in_the_line(tmp_path: Path) -> None:
    rewards = np.tile(np.concatenate([np.full(30, 2.0), np.zeros(70)]), (TASKS, 1))
    groups = groups_of(tmp_path, rewards)
    figure = change_figure(groups)
    assert figure is not None
    before, after, change = figure.axes[0].lines
    assert set(before.get_ydata()) == {2.0} and set(after.get_ydata()) == {0.0}
    assert list(change.get_xdata()) == [30, 30]
    panel = change_panel(groups)
    assert panel is not None
    lines = [trace for trace in panel.plots[0].traces if "name" in trace]
    assert [set(line["y"]) for line in lines] == [{2.0}, {0.0}]
    assert panel.plots[0].layout["shapes"][0]["x0"] == 30
    assert "Rewards around changes on" in html_page(groups, About("metarl report"))
    write_page(groups, tmp_path / "page.md", About("metarl report"))
    assert "](page-changes.png)" in (tmp_path / "page.md").read_text() and (tmp_path / "page-changes.png").is_file()


@pytest.mark.parametrize("steps", [30, 20])
def test_trials_that_end_before_the_change_have_no_curve(tmp_path: Path, steps: int) -> None:
    rewards = np.full((TASKS, 100), np.nan)
    rewards[:, :steps] = 1.0
    (group,) = groups_of(tmp_path, rewards)
    assert reward_curve(group) is None and change_figure([group]) is None and change_panel([group]) is None


def test_tasks_that_stay_the_same_have_no_curve(tmp_path: Path) -> None:
    groups = group_runs([read_run(run_folder(tmp_path / "run", scores(1)))])
    assert change_figure(groups) is None and change_panel(groups) is None
