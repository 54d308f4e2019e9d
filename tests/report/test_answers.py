"""Tables of families that ask questions, and the words of their measure on a whole page."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest

from metarl.evaluation.calibration import Calibration, pool_bins
from metarl.evaluation.record import Evaluation
from metarl.report.about import About
from metarl.report.answer_plots import instance_panel, reliability_panel
from metarl.report.answers import calibration_table, instance_table, mean_table
from metarl.report.captions import definitions
from metarl.report.commands import commands
from metarl.report.figures import (
    adaptation_figure,
    instance_figure,
    profile_figure,
    reliability_figure,
    training_figure,
)
from metarl.report.groups import Group, group_runs
from metarl.report.html import html_page
from metarl.report.runs import read_run
from metarl.report.shots import shots_figure, shots_panel, shots_table
from metarl.report.tables import build_tables
from tests.families.asked import ACCURACY
from tests.report.run_folders import page, run_folder, scores, write_other_split, write_reference
from tests.scripted import altered


def shares(seed: int, tasks: int = 8) -> np.ndarray:
    """Return accuracies by task before and after adaptation. [task, round]"""
    rng = np.random.default_rng(seed)
    return np.stack([rng.integers(0, 8, tasks) / 20, rng.integers(14, 20, tasks) / 20], axis=1)


def asked_groups(folder: Path, seeds: int = 1) -> list[Group]:
    runs = []
    for seed in range(seeds):
        run = run_folder(folder / f"s{seed}", shares(seed), seed=seed, measure=ACCURACY)
        write_reference(run, "random", returns=np.full((8, 2), 0.2))
        write_other_split(run, "train", shares(seed, 6) + 0.05)
        runs.append(run)
    return group_runs([read_run(run) for run in runs])


@pytest.mark.parametrize("seeds", [1, 3])
def test_no_table_of_a_family_of_questions_speaks_of_a_return(seeds: int, tmp_path: Path) -> None:
    groups = asked_groups(tmp_path, seeds)
    for table in build_tables(groups):
        words = [table.title, table.caption, *(f"{column.label} {column.meaning}" for column in table.columns)]
        assert not re.search(r"\breturns?\b", " ".join(words), re.IGNORECASE), table.key
    for figure in (adaptation_figure(groups), profile_figure(groups), training_figure(groups)):
        (axes,) = figure.axes
        words = [axes.get_title(), axes.get_xlabel(), axes.get_ylabel()]
        assert "ccuracy (%)" in " ".join(words) and "eturn" not in " ".join(words)


def test_no_panel_of_a_family_of_questions_speaks_of_a_return(tmp_path: Path) -> None:
    html = html_page(asked_groups(tmp_path), About("metarl report"))
    panels = re.search(r'id="panels">(.*?)</script>', html, re.DOTALL)
    assert panels is not None and not re.search(r"\breturn\b", panels[1].replace("return_", ""), re.IGNORECASE)
    assert "Accuracy (%) of a round, mean over its steps" in panels[1]


def test_a_page_of_means_speaks_of_no_sum_over_rounds(tmp_path: Path) -> None:
    ((definition,), *_) = definitions(asked_groups(tmp_path))
    assert "trials are compared by their last round." in definition.text and "sum" not in definition.text


def test_tables_of_shares_are_in_percent(tmp_path: Path) -> None:
    (group, floor) = asked_groups(tmp_path)
    tables = {table.key: table.plain_rows() for table in build_tables([group, floor])}
    first, last = np.round(100 * np.sort(shares(0), axis=0)[2:6].mean(axis=0), 1)
    assert tables["summary"][1][4].startswith(f"{first:.1f} [") and tables["summary"][1][5].startswith(f"{last:.1f} [")
    assert tables["splits"][0][2:4] == ("accuracy (%) there", "accuracy (%) here")
    assert tables["splits"][1][3].startswith(f"{last:.1f} [")
    assert tables["paired"][0][2] == "difference of the last accuracy"
    assert float(tables["paired"][1][2].split()[0]) == pytest.approx(100 * shares(0)[:, 1].mean() - 20, abs=0.05)


def test_means_are_over_seeds_and_tasks_and_their_margin_is_over_tasks(tmp_path: Path) -> None:
    groups = asked_groups(tmp_path, 3)
    header, row, floor = mean_table(groups).plain_rows()
    assert header[1:] == (
        *("tasks", "first round, mean", "first round, ± 1.96 SE", "last round, mean", "last round, ± 1.96 SE"),
        "SD of seeds",
    )
    last = 100 * np.stack([shares(seed)[:, 1] for seed in range(3)])
    by_task = last.mean(axis=0)
    margin = 1.96 * np.sqrt(((by_task - by_task.mean()) ** 2).sum() / 7 / 8)
    assert [float(cell) for cell in row[4:]] == pytest.approx(
        [last.mean(), margin, last.mean(axis=1).std(ddof=1)], abs=0.05
    )
    assert floor[1:] == ("8", "20.0", "0.0", "20.0", "0.0", "-")


def test_pages_of_returns_have_no_table_of_means(tmp_path: Path) -> None:
    run = run_folder(tmp_path / "run", scores(1))
    assert "as in papers" not in page([run])
    assert "return" in page([run])


def test_an_evaluation_of_another_measure_is_not_set_beside_returns(tmp_path: Path) -> None:
    run = run_folder(tmp_path / "run", shares(0), measure=ACCURACY)
    write_reference(run, "random", measure=type(ACCURACY)())
    (left,) = read_run(run).left_out
    assert "differ in measure" in left.why


def test_a_page_tells_how_answers_improve_by_instance(tmp_path: Path) -> None:
    by_instance = np.random.default_rng(0).integers(0, 6, (8, 12)) / 5
    run = run_folder(tmp_path / "run", shares(0), measure=ACCURACY, by_instance=by_instance)
    write_reference(run, "random", by_instance=np.full((8, 12), 0.2))
    groups = group_runs([read_run(run)])
    header, row, floor = instance_table(groups).plain_rows()
    assert header[1:] == ("1st", "2nd", "3rd", "4th", "5th", "10th")
    means = 100 * by_instance.mean(axis=0)
    assert [float(cell.split()[0]) for cell in row[1:]] == pytest.approx(means[[0, 1, 2, 3, 4, 9]], abs=0.05)
    assert floor[1:] == ("20.0 [20.0, 20.0]",) * 6
    ends = groups[0].mean_interval_of(groups[0].by_instance)  # type: ignore[arg-type]
    assert f"[{ends[9, 0]:.1f}, {ends[9, 1]:.1f}]" in row[6]
    panel = instance_panel(groups)
    assert panel is not None
    _, line, *_ = panel.plots[0].traces
    np.testing.assert_allclose(line["y"], means, rtol=1e-5)
    figure = instance_figure(groups)
    assert figure is not None
    np.testing.assert_allclose(np.asarray(figure.axes[0].lines[0].get_ydata()), means)
    assert "by instance" in html_page(groups, About("metarl report"))


def test_a_page_of_families_without_instances_has_neither_table_nor_curve_of_them(tmp_path: Path) -> None:
    groups = asked_groups(tmp_path)
    assert not instance_table(groups).rows and instance_panel(groups) is None and instance_figure(groups) is None


def calibration(seed: int) -> Calibration:
    rng = np.random.default_rng(seed)
    counts = rng.integers(0, 50, 15) * (np.arange(15) > 4)
    right = rng.binomial(counts, 0.5)
    found = pool_bins(np.stack([counts, counts * (np.arange(15) + 0.5) / 15, right], axis=-1))
    assert found is not None
    return found


def test_a_page_tells_how_well_agents_are_calibrated(tmp_path: Path) -> None:
    known = [calibration(seed) for seed in range(2)]
    for seed in range(2):
        run = run_folder(tmp_path / f"s{seed}", shares(seed), seed=seed, measure=ACCURACY, calibration=known[seed])
        write_reference(run, "random", returns=np.full((8, 2), 0.2), calibration=None)
    groups = group_runs([read_run(tmp_path / f"s{seed}") for seed in range(2)])
    header, row = calibration_table(groups).plain_rows()
    errors = [100 * each.error for each in known]
    assert header[1:] == ("ECE", "SD of seeds' ECE", "mean confidence", "right")
    assert row[1:3] == (f"{np.mean(errors):.1f}%", f"{np.std(errors, ddof=1):.1f}%")
    counts = sum(each.counts for each in known)
    right = sum(np.nan_to_num(each.counts * each.accuracy) for each in known)
    assert row[4] == f"{100 * right.sum() / counts.sum():.1f}%"
    panel, figure = reliability_panel(groups), reliability_figure(groups)
    assert panel is not None and figure is not None
    (trace,) = panel.plots[0].traces
    assert [name for _, name in panel.legend] == [groups[0].name]  # random does not say how sure it is
    some = counts > 0
    np.testing.assert_allclose(trace["y"], right[some] / counts[some], rtol=1e-5)
    np.testing.assert_allclose(np.asarray(figure.axes[0].lines[1].get_ydata()), right[some] / counts[some])
    assert "Calibration in the last round" in html_page(groups, About("metarl report"))


def test_a_page_of_agents_that_do_not_say_how_sure_they_are_has_no_calibration(tmp_path: Path) -> None:
    groups = asked_groups(tmp_path)
    assert not calibration_table(groups).rows
    assert reliability_panel(groups) is None and reliability_figure(groups) is None


IMAGES = {"name": "sinusoid"}


def shots_run(folder: Path, seed: int, **more: object) -> Path:
    """Write a run on a family whose own number of shots is 10, evaluated with 1 and 5 as well."""
    run = run_folder(folder, shares(seed), seed=seed, family=IMAGES, measure=ACCURACY)
    own = Evaluation.load(run / "evaluation.json")
    for shots in (1, 5):
        settings = {**own.settings, "shots": shots, **more}
        altered(own, returns=shares(seed + 10 * shots), settings=settings).save(run / f"shots-{shots}.json")
    return run


def test_a_page_tells_the_last_round_by_shots_over_all_seeds(tmp_path: Path) -> None:
    runs = [shots_run(tmp_path / f"s{seed}", seed) for seed in range(2)]
    groups = group_runs([read_run(run) for run in runs])
    header, row = shots_table(groups).plain_rows()
    assert header[1:] == ("1 shot", "5 shots", "10 shots")
    means = [100 * np.mean([shares(seed + shift)[:, 1] for seed in range(2)]) for shift in (10, 50, 0)]
    assert [float(cell.split()[0]) for cell in row[1:]] == pytest.approx(means, abs=0.5)
    panel, figure = shots_panel(groups), shots_figure(groups)
    assert panel is not None and figure is not None
    line = panel.plots[0].traces[-1]
    assert line["x"] == [1, 5, 10]
    np.testing.assert_allclose(line["y"], means, rtol=1e-5)
    np.testing.assert_allclose(np.asarray(figure.axes[0].lines[0].get_ydata()), means)
    assert any("--shots 1,5" in command for command in commands(groups, "again"))


def test_a_number_of_shots_that_one_seed_lacks_is_not_told(tmp_path: Path) -> None:
    runs = [shots_run(tmp_path / f"s{seed}", seed) for seed in range(2)]
    (runs[1] / "shots-5.json").unlink()
    header, _ = shots_table(group_runs([read_run(run) for run in runs])).plain_rows()
    assert header[1:] == ("1 shot", "10 shots")


def test_shots_of_other_tasks_or_settings_are_left_out_and_named(tmp_path: Path) -> None:
    run = read_run(shots_run(tmp_path / "run", 0, queries=7))
    assert not run.by_shots
    assert ["differ in settings: queries: 7, 10" in each.why for each in run.left_out] == [True, True]


def test_pages_without_shots_have_neither_table_nor_curve_of_them(tmp_path: Path) -> None:
    groups = asked_groups(tmp_path)
    assert not shots_table(groups).rows and shots_panel(groups) is None and shots_figure(groups) is None
