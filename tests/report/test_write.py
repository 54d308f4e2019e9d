"""The report command from arguments to files."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from metarl.cli.main import main
from tests.report.run_folders import (
    run_folder,
    scores,
    write_reference,
)
from tests.small_runs import metarl, trained


def test_page_shows_how_many_tasks_reach_a_threshold_and_its_command_repeats_it(tmp_path: Path) -> None:
    returns = np.array([[0.0, 8.0]] * 6 + [[0.0, 0.0]] * 2)
    run = run_folder(tmp_path / "run", returns)
    page = tmp_path / "page.md"
    assert main(["report", str(run), "-o", str(page), "--threshold", "-0.5"]) == 0
    assert "| 100% | 0 | 0 |" in page.read_text()
    assert main(["report", str(run), "-o", str(page), "--threshold", "8"]) == 0
    assert "| reach 8 | rounds to 8, median | env steps to 8, median |" in page.read_text()
    assert "| 75% | 1 | 10 |" in page.read_text()
    assert "--threshold 8\n" in page.read_text()
    assert main(["report", str(run), "-o", str(page)]) == 0
    assert "reach" not in page.read_text()


def test_scale_names_rows_of_the_page_and_its_command_repeats_them(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = run_folder(tmp_path / "run", scores(1))
    write_reference(run, "random", returns=scores(1) - 50.0)
    write_reference(run, "value-iteration", returns=scores(1) + 50.0)
    page = tmp_path / "page.md"
    words = ["report", str(run), "-o", str(page), "--normalize"]
    assert main([*words, "random", "value-iteration"]) == 0
    assert "## Scores between random, 0, and value-iteration, 1" in page.read_text()
    assert "--normalize random value-iteration\n" in page.read_text()
    for low, high, message in (
        ("random", "orakel", "there is no 'orakel' on navigation-2d to normalize by; give one of 'maml-ppo', 'random'"),
        ("value-iteration", "random", "give the lower score first"),
    ):
        capsys.readouterr()
        assert main([*words, low, high]) == 2
        error = capsys.readouterr().err
        assert message in error
        assert len(error.strip().splitlines()) == 1


@pytest.mark.parametrize("value", ["nan", "inf", "much"])
def test_threshold_that_is_no_return_is_refused_in_one_line(value: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["report", "run", "-o", "page.md", "--threshold", value]) == 2
    assert len(capsys.readouterr().err.strip().splitlines()) == 1


def test_mistakes_on_the_command_line_are_reported_in_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = run_folder(tmp_path / "run", scores(0))
    assert main(["report", str(run), "-o", str(tmp_path / "page.txt")]) == 2
    assert "a page is written as '.md', '.html' or '.tex'" in capsys.readouterr().err
    (run / "evaluation.json").unlink()
    assert main(["report", str(run), "-o", str(tmp_path / "page.md")]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert not (tmp_path / "page.md").exists()
    assert line.endswith(f"has no evaluation.json; write it with `metarl evaluate {run}`")
    assert main(["report", str(tmp_path / "nowhere"), "-o", str(tmp_path / "page.md")]) == 2
    assert "does not exist" in capsys.readouterr().err


def test_report_of_real_runs_writes_page_and_pictures(tmp_path: Path) -> None:
    runs = [trained(tmp_path / f"run{seed}", num_updates=2, seed=seed) for seed in (1, 2)]
    for run in runs:
        assert main(["evaluate", str(run), "--tasks", "4"]) == 0
    words = ["--quiet", "--title", "Two seeds", "--note", "Mind this."]
    done = metarl("report", *runs, "-o", tmp_path / "out" / "page.md", *words)
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    assert done.stdout.splitlines()[1].split()[:3] == ["maml-ppo", "1,", "2"]
    text = (tmp_path / "out" / "page.md").read_text()
    assert text.startswith("# Two seeds\n\nMind this.\n")
    for name in ("page-adaptation.png", "page-profile.png", "page-training.png"):
        assert f"]({name})" in text
        assert 1000 < (tmp_path / "out" / name).stat().st_size < 150_000
    (runs[1] / "evaluation.json").unlink()
    left = metarl("report", "--quiet", *runs, "-o", tmp_path / "out" / "page.html")
    assert left.returncode == 0
    assert left.stdout.splitlines()[1].split()[:3] == ["maml-ppo", "seed", "1"]
    (line,) = left.stderr.splitlines()
    assert line.endswith(f"left out: run {runs[1]} has no evaluation.json; write it with `metarl evaluate {runs[1]}`")
    assert "<title>Results on navigation-2d</title>" in (tmp_path / "out" / "page.html").read_text()
    (runs[0] / "evaluation.json").unlink()
    refused = metarl("report", "--quiet", runs[1], "-o", tmp_path / "out" / "page.md")
    assert (refused.returncode, refused.stdout) == (2, "")
    (line,) = refused.stderr.splitlines()
    assert line.endswith(f"run {runs[1]} has no evaluation.json; write it with `metarl evaluate {runs[1]}`")
