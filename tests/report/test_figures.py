"""The pictures beside a page."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np

from metarl.evaluation.figure import COLORS
from metarl.report.figures import adaptation_figure, profile_figure, style_of, training_figure
from metarl.report.groups import group_runs
from metarl.report.plots import adaptation_panel
from metarl.report.runs import read_run
from tests.report.run_folders import (
    TASKS,
    run_folder,
    scores,
    write_reference,
)


def test_training_curve_is_the_mean_of_updates_that_all_seeds_have(tmp_path: Path) -> None:
    runs = [run_folder(tmp_path / f"s{seed}", scores(seed), seed=seed) for seed in (1, 2)]
    lines = [json.loads(line) for line in (runs[1] / "metrics.jsonl").read_text().splitlines()]
    del lines[1]["validation/return_after"], lines[1]["validation/return_before"]
    for line in lines:
        if "validation/return_after" in line:
            line["validation/return_after"] += 10
    (runs[1] / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    figure = training_figure(group_runs([read_run(run) for run in runs]))
    (curve,) = [line for line in figure.axes[0].lines if line.get_label() == "maml-ppo"]
    np.testing.assert_array_equal(curve.get_xdata(), [600, 1800, 2400])
    np.testing.assert_array_equal(curve.get_ydata(), [5, 7, 8])


def test_a_single_validation_is_seen_in_the_picture(tmp_path: Path) -> None:
    run = run_folder(tmp_path / "run", scores(0), lines=1)
    figure = training_figure(group_runs([read_run(run)]))
    (curve,) = [line for line in figure.axes[0].lines if line.get_label() == "maml-ppo"]
    assert curve.get_marker() == "o"


def test_profile_falls_from_all_to_none_as_shares_of_the_last_round_do(tmp_path: Path) -> None:
    returns = np.stack([np.zeros(TASKS), np.arange(TASKS) ** 2.0], axis=1)
    groups = group_runs([read_run(run_folder(tmp_path / "run", returns))])
    (line,) = profile_figure(groups).axes[0].lines
    levels, shares = (np.asarray(part, dtype=float) for part in line.get_data())
    assert (levels[0], levels[-1]) == (0.0, 49.0)
    np.testing.assert_allclose(shares, [(returns[:, 1] > level).mean() for level in levels])
    (band,) = profile_figure(groups).axes[0].collections
    assert band.get_datalim(profile_figure(groups).axes[0].transData).y0 >= 0


def test_more_groups_than_colours_still_look_different() -> None:
    looks = [style_of(number) for number in range(2 * len(COLORS))]
    assert len(set(looks)) == len(looks)


def test_no_label_of_a_picture_runs_over_its_edge(tmp_path: Path) -> None:
    run = run_folder(tmp_path / "run", scores(1))
    settings = {"adapts": True, "batch_size": 400, "learning_rate": 0.003}
    for number in (1, 2):
        write_reference(
            run,
            "sb3-ppo (untrained)",
            f"evaluation-{number}.json",
            agent_settings=settings,
            budget=100 * number,
        )
    groups = group_runs([read_run(run)])
    assert len(groups) == 3
    for figure in (adaptation_figure(groups), profile_figure(groups), training_figure(groups)):
        figure.draw_without_rendering()
        (legend,), (axes,) = figure.legends, figure.axes
        for label in (legend, axes.title, axes.xaxis.label, axes.yaxis.label):
            box = label.get_window_extent()
            assert box.x0 >= 0 and box.x1 <= figure.bbox.width, label
            assert box.y0 >= 0 and box.y1 <= figure.bbox.height, label


def test_agents_of_far_other_budgets_are_drawn_on_a_logarithmic_axis_with_ticks_in_steps(tmp_path: Path) -> None:
    run = run_folder(tmp_path / "run", scores(1), env_steps_per_task=np.tile([200.0, 400.0], (TASKS, 1)))
    write_reference(run, "longer", env_steps_per_task=np.tile([90_000.0, 180_000.0], (TASKS, 1)))
    groups = group_runs([read_run(run)])
    (axes,) = adaptation_figure(groups).axes
    assert [label.get_text() for label in axes.get_xticklabels()] == ["0", "1,000", "10,000"]
    assert axes.get_xlabel().endswith("logarithmic")
    (plot,) = adaptation_panel(groups).plots
    assert plot.layout["xaxis"]["ticktext"] == ["0", "1,000", "10,000"]
    lines = [trace for trace in plot.traces if trace.get("mode") == "lines+markers"]
    np.testing.assert_allclose([line["x"] for line in lines], [[0, np.log10(2)], [0, np.log10(451)]], rtol=1e-4)
    assert "after 90,000 env steps" in lines[1]["hovertext"][1]
