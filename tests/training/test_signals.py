"""Signals that end a training lose no update, and the command that is printed goes on with it."""

from __future__ import annotations

import os
import shlex
import signal
import subprocess
from pathlib import Path
from typing import Any

import pytest

from metarl.cli.main import main
from metarl.runs.checkpoint import load
from tests.small_runs import read_metrics, saved, started, trained, write_config


@pytest.mark.parametrize(
    ("number", "agent"), [(signal.SIGINT, "rl2"), (signal.SIGTERM, "maml-ppo"), (signal.SIGHUP, "rl2")]
)
def test_a_signal_loses_no_update_and_the_printed_command_resumes_bitwise_equal(
    tmp_path: Path, number: signal.Signals, agent: str
) -> None:
    changes: dict[str, Any] = {"checkpoint_every": 1_000_000, "evaluation": {"every": 6, "num_tasks": 2}}
    run_dir, pipes = tmp_path / "a run; of 'mine'", {"stdout": subprocess.DEVNULL, "stderr": subprocess.PIPE}
    words = ["train", write_config(tmp_path, agent, num_updates=100_000, **changes), "--run-dir", run_dir]
    with started(*words, metrics=run_dir / "metrics.jsonl", lines=7, **pipes) as process:
        process.send_signal(number)
        _, told = process.communicate(timeout=60)
    assert process.returncode == 128 + number
    (line,) = told.strip().splitlines()
    made = load(run_dir / "last.safetensors")[1].update
    assert made == len(read_metrics(run_dir))
    begin = f"metarl: interrupted by {number.name}; {made} updates saved; resume with: metarl "
    assert line.startswith(begin)
    assert main([*shlex.split(line.removeprefix(begin)), f"num_updates={made + 7}"]) == 0
    whole = trained(tmp_path / "whole", agent, num_updates=made + 7, **changes)
    assert (run_dir / "last.safetensors").read_bytes() == (whole / "last.safetensors").read_bytes()
    assert saved(run_dir / "best.safetensors") == saved(whole / "best.safetensors")
    assert [each["update"] for each in read_metrics(run_dir)] == list(range(made + 7))


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
    words = ["train", write_config(tmp_path, num_updates=9), "--run-dir", tmp_path / "run"]
    pipes: dict[str, Any] = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL, closed: writer}
    with started(*words, **pipes) as process:
        os.close(writer)
        os.close(reader)
        assert process.wait(60) == 0
    assert len(read_metrics(tmp_path / "run")) == 9
