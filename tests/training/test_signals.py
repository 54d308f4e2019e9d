"""Signals that end a training lose no update, and the command that is printed goes on with it."""

from __future__ import annotations

import os
import shlex
import signal
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest

from metarl.cli.main import main
from metarl.runs.checkpoint import load
from tests.small_runs import command, read_metrics, trained, write_config


def start(config: Path, run_dir: Path, lines: int, **pipes: Any) -> subprocess.Popen[str]:
    """Start a training and wait until its metrics have so many lines."""
    pipes = {"stdout": subprocess.DEVNULL, "stderr": subprocess.PIPE, **pipes}
    process = subprocess.Popen(command("train", config, "--run-dir", run_dir), text=True, **pipes)
    metrics, deadline = run_dir / "metrics.jsonl", time.monotonic() + 60
    while not metrics.exists() or metrics.read_bytes().count(b"\n") < lines:
        assert time.monotonic() < deadline and process.poll() is None
        time.sleep(0.002)
    return process


@pytest.mark.parametrize(
    ("number", "agent"), [(signal.SIGINT, "rl2"), (signal.SIGTERM, "maml-ppo"), (signal.SIGHUP, "rl2")]
)
def test_a_signal_loses_no_update_and_the_printed_command_resumes_bitwise_equal(
    tmp_path: Path, number: signal.Signals, agent: str
) -> None:
    changes: dict[str, Any] = {"num_updates": 25, "checkpoint_every": 1000, "evaluation": {"every": 6, "num_tasks": 2}}
    whole, run_dir = trained(tmp_path / "whole", agent, **changes), tmp_path / "a run; of 'mine'"
    process = start(write_config(tmp_path, agent, **changes), run_dir, 7)
    process.send_signal(number)
    _, told = process.communicate(timeout=60)
    assert process.returncode == 128 + number
    (line,) = told.strip().splitlines()
    made = load(run_dir / "last.safetensors")[1].update
    assert made == len(read_metrics(run_dir)) < 25
    begin = f"metarl: interrupted by {number.name}; {made} updates saved; resume with: metarl "
    assert line.startswith(begin)
    assert main(shlex.split(line.removeprefix(begin))) == 0
    for name in ("last.safetensors", "best.safetensors"):
        assert (run_dir / name).read_bytes() == (whole / name).read_bytes()
    assert [each["update"] for each in read_metrics(run_dir)] == list(range(25))


def test_a_signal_before_the_run_folder_exists_says_that_nothing_was_saved(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from metarl.runs import config as configs

    def interrupted(*arguments: object, **keywords: object) -> None:
        signal.raise_signal(signal.SIGTERM)

    monkeypatch.setattr(configs, "load_config", interrupted)
    assert main(["train", "a file.yaml", "--run-dir", str(tmp_path / "run")]) == 143
    (line,) = capsys.readouterr().err.strip().splitlines()
    again = f"metarl train 'a file.yaml' --run-dir {tmp_path / 'run'}"
    assert line == f"metarl: interrupted by SIGTERM; nothing was saved; start again with: {again}"
    assert not (tmp_path / "run").exists()


def test_a_signal_while_an_update_is_recorded_waits_for_the_record(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from metarl.training.log import RunLog

    write = RunLog.write

    def interrupted(self: RunLog, metrics: Any) -> None:
        if metrics["update"] == 2:
            signal.raise_signal(signal.SIGINT)
        write(self, metrics)

    monkeypatch.setattr(RunLog, "write", interrupted)
    path = write_config(tmp_path, checkpoint_every=100)
    assert main(["train", str(path), "--run-dir", str(tmp_path / "run")]) == 130
    assert "3 updates saved" in capsys.readouterr().err
    assert load(tmp_path / "run" / "last.safetensors")[1].update == len(read_metrics(tmp_path / "run")) == 3


@pytest.mark.parametrize("closed", ["stdout", "stderr"])
def test_a_reader_that_leaves_does_not_end_a_training(tmp_path: Path, closed: str) -> None:
    reader, writer = os.pipe()
    process = start(
        write_config(tmp_path, num_updates=30), tmp_path / "run", 1,
        **{"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL, closed: writer},
    )  # fmt: skip
    os.close(writer)
    os.close(reader)
    assert process.wait(60) == 0
    assert len(read_metrics(tmp_path / "run")) == 30
