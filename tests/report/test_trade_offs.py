"""Trade-offs between objectives: the same agents with other settings of the family."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from metarl.evaluation.outcomes import Told
from metarl.evaluation.record import Evaluation
from metarl.report.about import About
from metarl.report.groups import Group, group_runs
from metarl.report.html import html_page
from metarl.report.markdown import write_page
from metarl.report.runs import RunResult, read_run
from metarl.report.trade_offs import trade_off_figure, trade_off_panel, trade_off_table, trade_offs
from tests.report.run_folders import TASKS, page, run_folder, scores, write_reference
from tests.scripted import altered

SMALL, LARGE = {"goal_radius": 1.0}, {"goal_radius": 2.0}
"""Two choices of a family's settings."""


def told(*means: float) -> dict[str, Told]:
    """Return an outcome that is no objective, and objectives with these means."""
    spread = np.linspace(-0.1, 0.1, TASKS)[:, None]
    rounds = np.array([0.0, 1.0])
    made = {f"goal {n}": Told("More is better.", False, rounds * (mean + spread), True) for n, mean in enumerate(means)}
    return {"regret": Told("Less is better.", False, np.zeros((TASKS, 2))), **made}


def changed(run: Path, number: int, settings: dict[str, float], *means: float, agent: str | None = None) -> Path:
    """Write the evaluation of an agent with other settings of the family into the folder of a run."""
    own = Evaluation.load(run / "evaluation.json")
    path = run / f"changed-{number}.json"
    more = {} if agent is None else {"agent": agent, "trained": None}
    returns = scores(number)
    altered(own, settings={**own.settings, **settings}, outcomes=told(*means), returns=returns, **more).save(path)
    return path


def seeds(folder: Path, count: int = 2) -> list[Path]:
    return [run_folder(folder / f"s{n}", scores(n), seed=n, outcomes=told(0.0, 0.0)) for n in range(count)]


def groups_of(runs: Sequence[Path]) -> list[Group]:
    return group_runs([read_run(run) for run in runs])


def test_objectives_of_seeds_are_pooled_by_settings_and_the_front_is_that_of_their_means(tmp_path: Path) -> None:
    runs = seeds(tmp_path)
    for n, run in enumerate(runs):
        changed(run, 1, SMALL, 1.0 + n, 4.0)
        changed(run, 2, LARGE, 2.0, 2.0 + n)
        write_reference(run, "random", returns=scores(9))
        changed(run, 3, LARGE, 1.4, 2.4, agent="random")
    header, *rows = trade_off_table(groups_of(runs)).plain_rows()
    assert header == ("agent", "settings", "goal 0", "goal 1", "on the front")
    assert [row[1] for row in rows] == ["goal_radius=2.0", "goal_radius=1.0", "goal_radius=2.0"]
    means = [[float(cell.split()[0]) for cell in row[2:4]] for row in rows]
    np.testing.assert_allclose(means, [[2.0, 2.5], [1.5, 4.0], [1.4, 2.4]], rtol=0, atol=0.006)
    assert [row[4] for row in rows] == ["yes", "yes", "no"]  # the last is beaten by both
    assert "[" in rows[0][2] and rows[2][0].startswith("random")


def test_a_trained_agent_needs_every_seed_and_one_point_trades_nothing(tmp_path: Path) -> None:
    runs = seeds(tmp_path)
    changed(runs[0], 1, SMALL, 1.0, 4.0)
    changed(runs[0], 2, LARGE, 2.0, 2.0)
    assert trade_offs(groups_of(runs)) is None  # neither has the second seed
    changed(runs[1], 2, LARGE, 2.0, 2.0)
    assert trade_offs(groups_of(runs)) is None
    changed(runs[1], 1, SMALL, 1.0, 4.0)
    found = trade_offs(groups_of(runs))
    assert found is not None and found.objectives == ["goal 0", "goal 1"] and len(found.points) == 2


def test_figure_and_panel_show_each_point_filled_on_the_front_and_open_off_it(tmp_path: Path) -> None:
    (run,) = seeds(tmp_path, 1)
    changed(run, 1, SMALL, 1.0, 4.0)
    changed(run, 2, LARGE, 0.5, 2.0)
    groups = groups_of([run])
    figure = trade_off_figure(groups)
    assert figure is not None and len(figure.axes) == 1
    beaten, best, _ = figure.axes[0].lines
    assert (beaten.get_markerfacecolor(), best.get_markerfacecolor() == best.get_color()) == ("white", True)
    np.testing.assert_allclose([line.get_xydata()[0] for line in (beaten, best)], [[0.5, 2], [1, 4]])
    panel = trade_off_panel(groups)
    assert panel is not None
    (trace,) = panel.plots[0].traces
    np.testing.assert_allclose(trace["x"], [0.5, 1.0])
    assert [symbol.endswith("-open") for symbol in trace["marker"]["symbol"]] == [True, False]
    assert "goal_radius=2.0" in trace["hovertext"][0]
    assert "Trade-offs on" in html_page(groups, About("metarl report"))
    write_page(groups, tmp_path / "page.md", About("metarl report"))
    text = (tmp_path / "page.md").read_text()
    assert "## Trade-offs" in text and "](page-trade-offs.png)" in text


@pytest.mark.parametrize(("name", "value"), [("deterministic", True), ("replicas", 3), ("seed", 5)])
def test_an_evaluation_that_was_planned_otherwise_is_left_out_with_its_reason(
    tmp_path: Path, name: str, value: object
) -> None:
    (run,) = seeds(tmp_path, 1)
    changed(run, 1, SMALL, 1.0, 4.0)
    path = changed(run, 2, LARGE, 0.5, 2.0)
    document = json.loads(path.read_text())
    document["plan"][name] = value
    path.write_text(json.dumps(document))
    read: RunResult = read_run(run)
    (left_out,) = read.left_out
    assert left_out.path == path and f"differ in {name}: {value}, " in left_out.why
    assert len(read.changed) == 1


def test_a_damaged_file_is_left_out_and_files_of_families_without_objectives_are_of_another_problem(
    tmp_path: Path,
) -> None:
    (run,) = seeds(tmp_path, 1)
    (run / "changed-x.json").write_text("{")
    (left_out,) = read_run(run).left_out
    assert "changed-x.json" in left_out.why
    plain = run_folder(tmp_path / "plain", scores(1))
    (plain / "changed-x.json").write_text("{")
    assert read_run(plain).left_out == []


def test_the_flag_of_an_objective_survives_a_file_and_old_files_have_none(tmp_path: Path) -> None:
    (run,) = seeds(tmp_path, 1)
    path = run / "evaluation.json"
    assert [each.objective for each in Evaluation.load(path).outcomes.values()] == [False, True, True]
    document = json.loads(path.read_text())
    for entry in document["outcomes"].values():
        del entry["objective"]
    path.write_text(json.dumps(document))
    assert not any(each.objective for each in Evaluation.load(path).outcomes.values())


def test_commands_of_the_page_repeat_the_evaluations_with_other_settings(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (run,) = seeds(tmp_path, 1)
    write_reference(run, "random", returns=scores(9))
    changed(run, 1, SMALL, 1.0, 4.0)
    changed(run, 2, LARGE, 1.4, 2.4, agent="random")
    monkeypatch.chdir(tmp_path)
    text = page([run])
    how = "--rounds 2 --replicas 2 --tasks 8\n"
    assert f"metarl evaluate s0 family.goal_radius=1.0 {how}" in text
    assert f"metarl evaluate s0 --agent random family.goal_radius=2.0 {how}" in text
