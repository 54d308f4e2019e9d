"""The page in Markdown."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from metarl.cli.main import main
from metarl.report.about import About
from metarl.report.groups import group_runs
from metarl.report.markdown import markdown
from metarl.report.runs import read_run
from metarl.report.tables import Asked
from tests.report.run_folders import (
    ROUNDS,
    TASKS,
    page,
    run_folder,
    scores,
    three_seeds,
    write_reference,
)


def test_page_says_numbers_pictures_commands_and_commits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    runs = three_seeds(tmp_path)
    monkeypatch.chdir(tmp_path)
    text = page(runs)
    assert text.startswith("# Title\n\nA note.\n")
    assert "![what](picture.png)" in text
    assert "metarl train configs/a.yaml --seed 2 --run-dir s2" in text
    assert "metarl evaluate s3 --rounds 2 --replicas 2 --tasks 8" in text
    assert "0123456789 |" in text
    assert str(tmp_path) not in text
    assert "none of these is unseen" not in text
    monkeypatch.chdir(tmp_path / "s1")
    assert "--run-dir runs/s2" in page(runs)
    assert str(tmp_path) not in page(runs)


def test_unfinished_run_is_marked(tmp_path: Path) -> None:
    run = run_folder(tmp_path / "run", scores(0), lines=3)
    assert "unfinished" in page([run])
    assert "unfinished" not in page([run_folder(tmp_path / "whole", scores(0), lines=4)])


@pytest.mark.parametrize(("scale", "printed"), [(0.01, "0.01"), (12.0, "12.0"), (1234.5, "1,234"), (2e6, "2,000,000")])
def test_decimals_follow_the_size_of_the_returns(tmp_path: Path, scale: float, printed: str) -> None:
    text = page([run_folder(tmp_path / "run", np.full((TASKS, ROUNDS), scale))])
    assert f"| {printed} [{printed}, {printed}] |" in text
    assert f"| {printed} / {printed} | {printed} / {printed} |" in text


def test_bar_in_a_setting_stays_inside_its_cell(tmp_path: Path) -> None:
    run = run_folder(tmp_path / "run", scores(0))
    (group,) = group_runs([read_run(run)])
    text = markdown([replace(group, name="maml-ppo agent.x=a|b")], About("metarl report"), {})
    assert "| maml-ppo agent.x=a\\|b | 0 |" in text


def test_line_break_in_a_name_stays_inside_its_row(tmp_path: Path) -> None:
    run = run_folder(tmp_path / "run", scores(0))
    write_reference(run, "two\nlines", "evaluation-odd.json", returns=scores(1) - 50.0)
    asked = Asked(normalize=("two\nlines", "maml-ppo"))
    text = markdown(group_runs([read_run(run)]), About("metarl report", asked=asked), {})
    assert "\n| two lines | " in text
    assert "\n## Scores between two lines, 0, and maml-ppo, 1\n" in text
    assert all(line.endswith(" |") for line in text.splitlines() if line.startswith("| "))


def test_problems_are_named_by_the_settings_that_differ(tmp_path: Path) -> None:
    families = (
        {"name": "navigation-2d", "horizon": 5},
        {"name": "navigation-2d", "horizon": 6},
        {"name": "point-sparse"},
    )
    runs = [run_folder(tmp_path / f"r{n}", scores(n), seed=n, family=family) for n, family in enumerate(families)]
    groups = group_runs([read_run(run) for run in runs])
    assert [group.problem for group in groups] == ["navigation-2d horizon=5", "navigation-2d horizon=6", "point-sparse"]
    page = tmp_path / "page.md"
    assert main(["report", *map(str, runs), "-o", str(page)]) == 0
    assert "| navigation-2d horizon=6 | maml-ppo | 1 |" in page.read_text()
    assert not list(tmp_path.glob("*.png"))  # returns of different problems have no axis in common
