"""A run whose folder has a name that is not UTF-8, and moves the cursor, lives as any other run does."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from metarl.base.terminal import visible
from metarl.cli.main import main
from tests.small_runs import write_config


def test_a_run_in_a_folder_of_undecodable_bytes_trains_resumes_evaluates_renders_and_reports(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = tmp_path / os.fsdecode(b"run \xff\x1b[2J")
    few = ["--tasks", "2"]
    commands = (
        ["train", str(write_config(tmp_path, num_updates=1)), "--run-dir", str(run)],
        ["train", "--resume", str(run), "num_updates=2"],
        ["evaluate", str(run), *few],
        ["evaluate", str(run), *few, "--agent", "random"],
        ["render", str(run), *few, "--among", "2", "--size", "160", "-o", f"{run}.gif"],
        ["report", str(run), "-o", f"{run}.md"],
        ["report", str(run), "-o", f"{run}.html"],
    )
    written = ""
    for words in commands:
        assert main(words) == 0, (words, capsys.readouterr().err)
        written += "".join(capsys.readouterr())
    assert visible(written) == written
    line = next(line for line in written.splitlines() if line.startswith("next: "))
    # The line that is printed names the folder to a shell.
    listed = subprocess.run(["bash", "-c", f"ls {line.split('evaluate ')[1]}"], capture_output=True, check=True)
    assert b"evaluation.json" in listed.stdout
    assert "\\xff" in Path(f"{run}.md").read_text()
