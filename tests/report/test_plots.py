"""The plots of the page of HTML: their numbers, and properties that plotly knows."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from metarl.evaluation.figure import COLORS
from metarl.evaluation.measures import steps_before
from metarl.families.load import load
from metarl.families.task import Tasks
from metarl.report.groups import Group, group_runs
from metarl.report.learning import learning_panel
from metarl.report.panel import Panel, style_of
from metarl.report.plots import adaptation_panel, profile_panel
from metarl.report.runs import read_run
from metarl.report.task_plots import different_tasks, tasks_panel
from tests.report.run_folders import TASKS, run_folder, scores, write_reference


def groups_of(paths: Sequence[Path]) -> list[Group]:
    return group_runs([read_run(path) for path in paths])


def with_tasks(folder: Path, family: str, count: int, rounds: int = 2, **values: np.ndarray) -> list[Group]:
    """Return the group of a run whose test tasks are the given ones, or drawn where none are given."""
    made = load(family)
    tasks = Tasks(values, np.arange(count)) if values else made.sample("test", count, seed=0)
    returns = np.arange(count * rounds, dtype=np.float64).reshape(count, rounds)
    steps = np.tile(10.0 * np.arange(1, rounds + 1), (count, 1))
    run = run_folder(folder, returns, family={"name": family}, tasks=tasks, env_steps_per_task=steps)
    return groups_of([run])


def lines(panel: Panel) -> list[dict[str, Any]]:
    return [trace for plot in panel.plots for trace in plot.traces if trace["hoverinfo"] == "text"]


def test_adaptation_is_the_iqm_against_the_steps_spent_before_each_round(tmp_path: Path) -> None:
    runs = [run_folder(tmp_path / f"s{seed}", scores(seed), seed=seed) for seed in (1, 2)]
    (group,) = groups_of(runs)
    panel = adaptation_panel([group])
    (line,) = lines(panel)
    np.testing.assert_allclose(line["x"], steps_before(group.env_steps))
    np.testing.assert_allclose(line["y"], group.iqm, rtol=1e-5)
    (band,) = (trace for trace in panel.plots[0].traces if trace.get("fill") == "toself")
    np.testing.assert_allclose(band["y"], [*group.interval[:, 1], *group.interval[::-1, 0]], rtol=1e-5)
    assert line["hovertext"][1].startswith("<b>maml-ppo</b><br>round 2, after 10 env steps<br>return ")


def test_a_single_task_has_a_curve_and_no_band(tmp_path: Path) -> None:
    panel = adaptation_panel(groups_of([run_folder(tmp_path / "run", np.array([[1.0, 2.0]]))]))
    (line,) = panel.plots[0].traces
    assert line["y"] == [1.0, 2.0]


def test_trials_of_one_round_have_a_row_for_each_group(tmp_path: Path) -> None:
    once = run_folder(tmp_path / "once", scores(1)[:, :1], env_steps_per_task=np.full((TASKS, 1), 10.0))
    write_reference(once, returns=scores(2)[:, :1])
    groups = groups_of([once])
    panel = adaptation_panel(groups)
    assert [line["y"] for line in lines(panel)] == [[0], [1]]
    assert panel.plots[0].layout["yaxis"]["ticktext"] == ["maml-ppo", "random"]
    low = [line["x"][0] - line["error_x"]["arrayminus"][0] for line in lines(panel)]
    np.testing.assert_allclose(low, [group.interval[0, 0] for group in groups], rtol=1e-4)


def test_profile_is_the_share_of_last_rounds_above_each_return(tmp_path: Path) -> None:
    returns = np.stack([np.zeros(TASKS), np.arange(TASKS) ** 2.0], axis=1)
    (line,) = lines(profile_panel(groups_of([run_folder(tmp_path / "run", returns)])))
    expected = [(returns[:, 1] > level).mean() for level in line["x"]]
    np.testing.assert_allclose(line["y"], expected)


def test_learning_is_shown_by_steps_and_by_minutes(tmp_path: Path) -> None:
    runs = [run_folder(tmp_path / f"s{seed}", scores(seed), seed=seed) for seed in (1, 2)]
    written = [json.loads(line) for line in (runs[1] / "metrics.jsonl").read_text().splitlines()]
    for line in written:
        line["time/steps_per_second"] = 5.0
        line["validation/return_after"] += 10
    del written[1]["validation/return_after"]
    (runs[1] / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in written))
    panel = learning_panel(groups_of(runs))
    assert panel is not None
    first, second, mean = panel.plots[0].traces
    assert [trace["opacity"] for trace in panel.plots[0].traces] == [0.5, 0.5, 1]
    assert (mean["x"], mean["y"]) == ([600, 1800, 2400], [5, 7, 8])
    against, returned = panel.choices
    assert [option.label for option in against.options] == ["environment steps", "minutes"]
    # Ten steps a second and five: 600 steps take one minute and two.
    minutes = against.options[1].changes[0]["style"]["x"]
    assert minutes == [[1, 2, 3, 4], [2, 6, 8], [1.5, 4.5, 6]]
    assert returned.options[1].changes[0]["style"]["y"] == [[-2] * 4, [-2] * 3, [-2] * 3]
    assert first["x"] == [600, 1200, 1800, 2400]


def test_references_and_runs_without_validation_have_no_learning_curve(tmp_path: Path) -> None:
    run = run_folder(tmp_path / "run", scores(1))
    write_reference(run)
    panel = learning_panel(groups_of([run]))
    assert panel is not None and panel.legend == [(0, "maml-ppo")]
    bare = [{"update": 0, "env_steps": 600, "time/steps_per_second": 10.0}]
    (run / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in bare))
    assert learning_panel(groups_of([run])) is None


def test_tasks_of_one_number_are_drawn_along_it_with_its_unit(tmp_path: Path) -> None:
    velocity = np.array([2.0, 0.5, 1.0])
    (group,) = with_tasks(tmp_path / "run", "half-cheetah-velocity", 3, velocity=velocity)
    panel = tasks_panel([group])
    assert panel is not None
    (plot,) = panel.plots
    (trace,) = plot.traces
    assert plot.layout["xaxis"]["title"]["text"] == "velocity (m/s)"
    assert (trace["x"], trace["y"]) == ([0.5, 1.0, 2.0], [3.0, 5.0, 1.0])
    assert trace["hovertext"][0] == "<b>maml-ppo</b><br>velocity (m/s): 0.5<br>round 1: 2.00<br>round 2: 3.00"
    (choice,) = panel.choices
    assert [option.label for option in choice.options if option.chosen] == ["round 2"]
    assert choice.options[0].changes[0]["style"]["y"] == [[2.0, 4.0, 0.0]]
    assert choice.options[-1].changes[0]["style"]["y"] == [[1.0, 1.0, 1.0]]


def test_tasks_of_two_numbers_are_a_map_for_each_group_on_one_scale(tmp_path: Path) -> None:
    run = run_folder(tmp_path / "run", scores(1))
    write_reference(run, returns=scores(1) - 100)
    groups = groups_of([run])
    panel = tasks_panel(groups)
    assert panel is not None
    assert [plot.title for plot in panel.plots] == ["maml-ppo", "random"]
    markers = [plot.traces[0]["marker"] for plot in panel.plots]
    ends = [scores(1).min() - 100, scores(1).max()]
    for marker in markers:
        np.testing.assert_allclose([marker["cmin"], marker["cmax"]], ends)
    places = {(x, y) for x, y in zip(panel.plots[0].traces[0]["x"], panel.plots[0].traces[0]["y"], strict=True)}
    (goals,) = groups[0].evaluations[0].tasks.values.values()
    assert places == {tuple(float(f"{number:.6g}") for number in goal) for goal in goals}
    assert panel.plots[0].layout["yaxis"]["scaleanchor"] == "x"


def test_tasks_that_are_the_same_are_one_point_with_their_mean(tmp_path: Path) -> None:
    velocity = np.array([1.0, 2.0, 1.0, 1.0])
    (group,) = with_tasks(tmp_path / "run", "half-cheetah-velocity", 4, velocity=velocity)
    points = different_tasks(group.evaluations[0])
    np.testing.assert_array_equal(points.mean(group), [[10 / 3, 13 / 3], [2.0, 3.0]])
    assert points.texts == ["velocity (m/s): 1<br>3 tasks are equal", "velocity (m/s): 2"]


def test_tasks_are_not_drawn_against_the_numbers_of_classes(tmp_path: Path) -> None:
    assert tasks_panel(with_tasks(tmp_path / "run", "image-classes", 6)) is None


def test_files_that_an_evaluation_names_are_not_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (group,) = with_tasks(tmp_path / "run", "image-classes", 6)
    monkeypatch.setattr("metarl.report.task_plots.load", lambda *arguments, **settings: pytest.fail("it is read"))
    (own,) = group.evaluations
    for setting in ("folder", "file"):
        assert different_tasks(replace(own, settings={**own.settings, setting: "/somewhere"})).texts


def test_tasks_of_many_numbers_are_drawn_along_the_one_that_is_chosen(tmp_path: Path) -> None:
    groups = with_tasks(tmp_path / "run", "bernoulli-bandit", 6, rounds=1)
    (chances,) = groups[0].evaluations[0].tasks.values.values()
    panel = tasks_panel(groups)
    assert panel is not None
    (against,) = panel.choices
    labels = [option.label for option in against.options]
    assert labels[:4] == ["chances, largest", "chances, mean", "chances, smallest", "chances[0]"]
    assert len(labels) == 3 + chances.shape[1]
    (largest,) = against.options[0].changes[0]["style"]["x"]
    np.testing.assert_allclose(sorted(largest), sorted(chances.max(axis=1)), rtol=1e-5)


def test_tasks_that_do_not_differ_are_not_drawn(tmp_path: Path) -> None:
    assert tasks_panel(with_tasks(tmp_path / "run", "half-cheetah-velocity", 3, velocity=np.ones(3))) is None


def test_tasks_of_a_family_that_is_not_installed_are_drawn_without_units(tmp_path: Path) -> None:
    (group,) = with_tasks(tmp_path / "run", "half-cheetah-velocity", 3, velocity=np.arange(3.0))
    uninstalled = replace(group, evaluations=[replace(group.evaluations[0], family="not-installed")])
    panel = tasks_panel([uninstalled])
    assert panel is not None and panel.plots[0].layout["xaxis"]["title"]["text"] == "velocity"


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_plotly_knows_every_property_that_is_drawn_or_chosen(tmp_path: Path) -> None:
    from plotly.graph_objects import Figure

    run = run_folder(tmp_path / "run", scores(1))
    write_reference(run, returns=scores(2))
    groups = groups_of([run])
    once = with_tasks(tmp_path / "once", "bernoulli-bandit", 6, rounds=1)
    panels = [panel(each) for each in (groups, once) for panel in (adaptation_panel, profile_panel, tasks_panel)]
    for panel in [*panels, learning_panel(groups)]:
        assert panel is not None
        for number, plot in enumerate(panel.plots):
            figure = Figure(plot.traces, plot.layout)  # raises ValueError for what it does not know
            for choice in panel.choices:
                for option in choice.options:
                    figure.update_layout(
                        {key.replace(".", "_"): v for key, v in option.changes[number]["layout"].items()}
                    )
                    assert option.changes[number]["style"]
        # NaN is no JSON.
        json.dumps([plot.traces for plot in panel.plots], allow_nan=False)


def test_returns_that_are_not_finite_leave_gaps(tmp_path: Path) -> None:
    returns = scores(1)
    returns[:, 1] = np.nan
    groups = groups_of([run_folder(tmp_path / "run", returns)])
    for panel in (adaptation_panel(groups), profile_panel(groups), tasks_panel(groups)):
        assert panel is not None
        json.dumps([[plot.traces, plot.layout] for plot in panel.plots], allow_nan=False)


def test_many_groups_look_different() -> None:
    looks = [style_of(number) for number in range(2 * len(COLORS))]
    assert len(set(looks)) == len(looks)
    assert len({(symbol, dash) for _, symbol, dash in looks}) == len(looks)  # in print without colours
