"""Several processes train one agent: they end as one process does, and a lost process costs no bit."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml

from metarl.base.ranks import Ranks
from metarl.runs.checkpoint import load
from metarl.training.distributed import mean_metrics
from tests.agents.together import run_together
from tests.small_runs import config as small_config
from tests.small_runs import read_metrics
from tests.warm import WarmProcess, warm_python

DOUBLE: dict[str, Any] = {"name": "maml-ppo", "hidden_sizes": [8], "dtype": "float64"}
AGENTS = {"maml-ppo": DOUBLE, "rl2": {"name": "rl2", "dtype": "float64", "memory": {"name": "gru", "hidden_size": 8}}}
CHANGES: dict[str, Any] = {
    "agent": DOUBLE,
    "meta_batch_size": 5,
    "checkpoint_every": 1,
    "evaluation": {"every": 2, "num_tasks": 3},
}


def write_config(folder: Path, **changes: Any) -> Path:
    """Write a config of a small training of five tasks an update, and return its path."""
    path = folder / "config.yaml"
    path.write_text(yaml.safe_dump({**small_config(), **CHANGES, **changes}))
    return path


def begin(
    size: int, words: list[str], last: list[str] | None = None, **environment: str
) -> list[subprocess.Popen[str]]:
    """Start `metarl` in processes that find each other as those of torchrun do; the last may have other words."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    ways = {"WORLD_SIZE": str(size), "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), **environment}
    found: list[subprocess.Popen[str]] = []
    for rank in range(size):
        own = (last or words) if rank == size - 1 else words
        where = {**os.environ, **ways, "RANK": str(rank)}
        command = [warm_python(), "-m", "metarl", *own]
        found.append(WarmProcess(command, env=where, stdout=subprocess.PIPE, stderr=subprocess.PIPE))
    return found


def end(processes: list[subprocess.Popen[str]]) -> list[tuple[int, str]]:
    """Return the exit status and the errors of each process."""
    told = [process.communicate(timeout=120)[1] for process in processes]
    return [(process.returncode, text) for process, text in zip(processes, told, strict=True)]


def train(size: int, config: Path, run_dir: Path, *words: str, **environment: str) -> list[tuple[int, str]]:
    return end(begin(size, ["train", str(config), "--run-dir", str(run_dir), *words], **environment))


@pytest.mark.parametrize("agent", ["maml-ppo", "rl2"])
def test_two_processes_train_the_agent_of_one_and_write_one_run(tmp_path: Path, agent: str) -> None:
    config = write_config(tmp_path, agent=AGENTS[agent])
    assert train(1, config, tmp_path / "one") == [(0, "")]
    for name in ("two", "again"):
        assert train(2, config, tmp_path / name) == [(0, ""), (0, "")]
    (alone, meta), (shared, of_two) = load(tmp_path / "one/last.safetensors"), load(tmp_path / "two/last.safetensors")
    assert (meta.env_steps, meta.update) == (of_two.env_steps, of_two.update)
    for key, value in alone.items():
        torch.testing.assert_close(shared[key], value, rtol=1e-6, atol=1e-9)
    assert (tmp_path / "two/last.safetensors").read_bytes() == (tmp_path / "again/last.safetensors").read_bytes()
    lines = zip(read_metrics(tmp_path / "one"), read_metrics(tmp_path / "two"), strict=True)
    for one, two in lines:
        for key in one:
            assert key.startswith("time/") or two[key] == pytest.approx(one[key], rel=1e-5, abs=1e-7), key


@pytest.mark.parametrize("lost", [pytest.param(0, marks=pytest.mark.slow), 1])
def test_a_process_that_is_killed_ends_all_and_a_restart_ends_in_the_bits_of_a_run_left_alone(
    tmp_path: Path, lost: int
) -> None:
    config = write_config(tmp_path, num_updates=8)
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    assert train(2, config, whole) == [(0, ""), (0, "")]
    words = ["train", str(config), "--run-dir", str(killed)]
    processes = begin(2, words)
    deadline = time.monotonic() + 60
    while not (killed / "metrics.jsonl").exists() or len(read_metrics(killed)) < 3:
        assert time.monotonic() < deadline
        time.sleep(0.01)
    processes[lost].send_signal(signal.SIGKILL)
    status, told = end(processes)[1 - lost]
    assert status == 2
    assert told == "" if lost == 0 else told.count("\n") == 1 and "rank 0: another rank has ended" in told
    assert train(2, config, killed, TORCHELASTIC_RESTART_COUNT="1") == [(0, ""), (0, "")]
    assert (killed / "last.safetensors").read_bytes() == (whole / "last.safetensors").read_bytes()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"agent": {"name": "sb3-ppo"}}, "agent 'sb3-ppo' is trained by one process, and 2 were started"),
        ({"meta_batch_size": 1}, "meta_batch_size is 1, and 2 processes were started: each needs a task"),
    ],
)
def test_what_processes_cannot_share_is_refused_in_one_line(
    tmp_path: Path, changes: dict[str, Any], message: str
) -> None:
    config = write_config(tmp_path, **changes)
    for status, told in train(2, config, tmp_path / "run"):
        assert status == 2
        assert told.count("\n") == 1 and message in told
    assert not (tmp_path / "run").exists()


def test_processes_with_other_configs_are_told_apart_by_rank(tmp_path: Path) -> None:
    config = write_config(tmp_path)
    words = ["train", str(config), "--run-dir", str(tmp_path / "run")]
    (first, told), other = end(begin(2, words, [*words, "seed=7"]))
    assert (first, other) == (2, (2, ""))
    assert told.count("\n") == 1 and "seed of rank 1 is 7, that of rank 0 0; start all ranks with the same" in told


def test_a_process_that_does_not_answer_ends_all_after_a_stated_time(tmp_path: Path) -> None:
    config = write_config(tmp_path, num_updates=1000)
    words = ["train", str(config), "--run-dir", str(tmp_path / "run")]
    processes = begin(2, words, METARL_RANK_TIMEOUT="5")
    deadline = time.monotonic() + 60
    while not (tmp_path / "run/metrics.jsonl").exists() or not read_metrics(tmp_path / "run"):
        assert time.monotonic() < deadline
        time.sleep(0.01)
    processes[1].send_signal(signal.SIGSTOP)
    told = processes[0].communicate(timeout=60)[1]
    processes[1].kill()
    end(processes[1:])
    assert processes[0].returncode == 2
    assert told.count("\n") == 1 and "another rank did not answer within 5 s" in told


def test_episodes_that_broke_down_are_added_up_and_other_metrics_are_means_over_tasks() -> None:
    def told(own: Ranks) -> dict[str, float]:
        return mean_metrics({"loss": float(own.rank), "unstable_episodes": 2.0 + own.rank}, (3, 1)[own.rank])

    found, _ = run_together(2, told)
    assert found == [{"loss": 0.25, "unstable_episodes": 5.0}] * 2
