"""A page shows students beside their teachers where `metarl evaluate RUN --teacher` measured them."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from metarl.evaluation.agreement import Agreement, Cost
from metarl.report.about import About
from metarl.report.groups import group_runs
from metarl.report.html import html_page
from metarl.report.markdown import write_page
from metarl.report.runs import read_run
from metarl.report.teachers import agreement_figure, agreement_panel, besides, teacher_table
from metarl.trials.plan import TrialPlan
from tests.report.run_folders import TASKS, page, run_folder, scores


def beside(run: Path, *shares: float, teacher: str = "gittins", milliseconds: float = 0.5) -> None:
    """Write what was measured beside a teacher: two rounds of two steps."""
    told = [[shares[0], shares[1]], [shares[2], None]]
    Agreement(
        agent="maml-ppo",
        trained=dict(read_run(run).evaluation.agent.trained or {}),
        teacher=teacher,
        plan=TrialPlan(num_tasks=TASKS),
        shares=told,
        mean=float(np.mean(shares)),
        student=Cost(parameters=1200, milliseconds=milliseconds),
        teachers=Cost(parameters=None, milliseconds=0.04),
    ).save(run / "teacher.json")


def runs(folder: Path) -> list[Path]:
    return [run_folder(folder / f"s{n}", scores(n), seed=n) for n in range(2)]


def test_the_table_has_agreement_over_seeds_sizes_and_times(tmp_path: Path) -> None:
    first, second = runs(tmp_path)
    beside(first, 0.9, 0.8, 0.7)
    beside(second, 1.0, 0.9, 0.8, milliseconds=0.7)
    header, row = teacher_table(group_runs([read_run(run) for run in (first, second)])).plain_rows()
    found = dict(zip(header, row, strict=True))
    assert found["teacher"] == "gittins"
    assert (found["agreement"], found["of seeds"]) == ("85.0%", "80.0 to 90.0%")
    assert (found["parameters"], found["teacher's parameters"]) == ("1,200", "-")
    assert (float(found["ms an action"]), float(found["teacher's ms an action"])) == (0.6, 0.04)


def test_agreement_goes_on_from_round_to_round_and_ends_with_the_last_episode(tmp_path: Path) -> None:
    first, second = runs(tmp_path)
    beside(first, 0.9, 0.8, 0.7)
    beside(second, 1.0, 0.9, 0.8)
    groups = group_runs([read_run(run) for run in (first, second)])
    (found,) = besides(groups)
    np.testing.assert_allclose(found.by_step, [[90, 80, 70, np.nan], [100, 90, 80, np.nan]])
    panel, figure = agreement_panel(groups), agreement_figure(groups)
    assert panel is not None and figure is not None
    (line,) = panel.plots[0].traces
    assert line["x"] == [1, 2, 3]
    np.testing.assert_allclose(line["y"], [95, 85, 75])
    drawn = [np.asarray(each.get_ydata(), dtype=np.float64) for each in figure.axes[0].lines]
    np.testing.assert_allclose(drawn[-1], [95, 85, 75, np.nan])


def test_every_seed_is_needed_and_pages_without_teachers_say_nothing_of_them(tmp_path: Path) -> None:
    first, second = runs(tmp_path)
    beside(first, 0.9, 0.8, 0.7)
    groups = group_runs([read_run(run) for run in (first, second)])
    assert besides(groups) == []
    assert not teacher_table(groups).rows
    assert agreement_figure(groups) is None
    assert "By a teacher" not in page([first, second])


def test_pages_show_table_pictures_and_the_command(tmp_path: Path) -> None:
    folders = runs(tmp_path)
    for run in folders:
        beside(run, 0.9, 0.8, 0.7)
    groups = group_runs([read_run(run) for run in folders])
    write_page(groups, tmp_path / "page.md", About("metarl report"))
    told = (tmp_path / "page.md").read_text()
    assert "## By a teacher" in told
    assert "--teacher --rounds 2 --replicas 1 --tasks 8" in told
    for word in ("minutes", "teachers"):
        assert (tmp_path / f"page-{word}.png").read_bytes().startswith(b"\x89PNG")
    shown = html_page(groups, About("metarl report"))
    assert "Students and teachers on navigation-2d" in shown
    assert "By a teacher" in shown


def test_a_file_of_another_checkpoint_is_left_out_with_a_line(tmp_path: Path) -> None:
    first, _ = runs(tmp_path)
    beside(first, 0.9, 0.8, 0.7)
    found = Agreement.load(first / "teacher.json")
    found.model_copy(update={"trained": {"updates": 7}}).save(first / "teacher.json")
    (left,) = read_run(first).left_out
    assert "teacher.json and evaluation.json are of other checkpoints; write it again with `metarl evaluate" in left.why


def test_seeds_of_other_plans_are_not_pooled(tmp_path: Path) -> None:
    folders = runs(tmp_path)
    for run in folders:
        beside(run, 0.9, 0.8, 0.7)
    found = Agreement.load(folders[1] / "teacher.json")
    found.model_copy(update={"plan": TrialPlan(num_tasks=TASKS, seed=5)}).save(folders[1] / "teacher.json")
    assert besides(group_runs([read_run(run) for run in folders])) == []


def test_a_damaged_file_is_left_out_with_a_line(tmp_path: Path) -> None:
    first, second = runs(tmp_path)
    beside(first, 0.9, 0.8, 0.7)
    (second / "teacher.json").write_text("{}")
    left = read_run(second).left_out
    assert [(each.path.name, "is damaged" in each.why) for each in left] == [("teacher.json", True)]
