"""Processes that divide one network: they train the agent of one process, and each holds its part."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml

from metarl.cli.main import main
from metarl.runs.checkpoint import load
from metarl.runs.policy import load_policy
from tests.places import ROOT
from tests.small_runs import config as small_config
from tests.small_runs import read_metrics
from tests.training.test_distributed import begin, end, require_told_of_a_stopped_process, train, train_alone

MESHES = [
    ("transformer", 1, 2, 3),
    ("associative", 2, 2, 2),
    *(
        pytest.param(memory, data, tensor, 10, marks=pytest.mark.slow)  # the quickest that differ are above
        for memory in ("transformer", "linear", "associative")
        for data, tensor in ((1, 2), (2, 1), (2, 2), (3, 1))
    ),
]
"""Memories, processes along both axes, and updates."""


def write_config(folder: Path, memory: str = "transformer", **changes: Any) -> Path:
    """Write a config of a small training of five tasks an update, and return its path."""
    agent = {
        "name": "rl2",
        "dtype": "float64",
        "memory": {"name": memory, "hidden_size": 16, "num_layers": 2},
        # With two of ten trials in a minibatch, a process is often without one.
        "ppo": {"num_epochs": 2, "num_minibatches": 5},
        "normalize_inputs": True,
    }
    settings = {"agent": agent, "meta_batch_size": 5, "evaluation": {"every": 2, "num_tasks": 3}, "checkpoint_every": 2}
    path = folder / "config.yaml"
    path.write_text(yaml.safe_dump({**small_config(), "num_updates": 10, **settings, **changes}))
    return path


def divided(data: int, tensor: int) -> list[str]:
    return [f"parallel.data={data}", f"parallel.tensor={tensor}"]


@pytest.mark.parametrize(("memory", "data", "tensor", "num_updates"), MESHES)
def test_processes_that_divide_a_memory_train_that_of_one(
    tmp_path: Path, memory: str, data: int, tensor: int, num_updates: int
) -> None:
    config, number = write_config(tmp_path, memory, num_updates=num_updates), data * tensor
    train_alone(config, tmp_path / "one")
    assert train(number, config, tmp_path / "many", *divided(data, tensor)) == [(0, "")] * number
    for name in ("last", "best"):
        (whole, of_one), (joined, of_many) = (load(tmp_path / f"{run}/{name}.safetensors") for run in ("one", "many"))
        assert (of_one.update, of_one.env_steps) == (of_many.update, of_many.env_steps)
        for key, value in whole.items():
            torch.testing.assert_close(joined[key], value, rtol=1e-6, atol=1e-9)
    lines = zip(read_metrics(tmp_path / "one"), read_metrics(tmp_path / "many"), strict=True)
    for one, many in lines:
        for key in one:
            assert key.startswith("time/") or many[key] == pytest.approx(one[key], rel=1e-6, abs=1e-7), key


@pytest.mark.slow  # training on rewards takes the same way
def test_processes_that_divide_a_memory_learn_from_right_answers_as_one_does(tmp_path: Path) -> None:
    agent = {"name": "rl2", "learns_from": "targets", "dtype": "float64", "memory": {"name": "transformer"}}
    family = {"name": "text-classes", "preset": "stream"}
    config = write_config(tmp_path, agent=agent, family=family, num_updates=3, replicas=1)
    train_alone(config, tmp_path / "one")
    assert train(4, config, tmp_path / "many", *divided(2, 2)) == [(0, "")] * 4
    whole, joined = (load(tmp_path / f"{run}/last.safetensors")[0] for run in ("one", "many"))
    for key, value in whole.items():
        torch.testing.assert_close(joined[key], value, rtol=1e-6, atol=1e-9)


def test_a_killed_run_goes_on_from_its_last_checkpoint_divided_in_another_way_or_whole(tmp_path: Path) -> None:
    config, run = write_config(tmp_path, num_updates=6), tmp_path / "run"
    train_alone(config, tmp_path / "one")
    processes = begin(2, ["train", str(config), "--run-dir", str(run), *divided(1, 2)])
    deadline = time.monotonic() + 600
    while not (run / "metrics.jsonl").exists() or len(read_metrics(run)) < 3:
        assert time.monotonic() < deadline
        time.sleep(0.01)
    processes[1].send_signal(signal.SIGKILL)
    status, told = end(processes)[0]
    assert (status, told.count("\n")) == (2, 1) and "rank 0: another rank has ended" in told
    assert load(run / "last.safetensors")[1].update in (2, 4)
    for number, changes in ((2, [*divided(2, 1), "num_updates=5"]), (1, ["parallel=null", "num_updates=6"])):
        assert end(begin(number, ["train", "--resume", str(run), *changes])) == [(0, "")] * number
    whole, joined = (load(folder / "last.safetensors")[0] for folder in (tmp_path / "one", run))
    for key, value in whole.items():
        torch.testing.assert_close(joined[key], value, rtol=1e-6, atol=1e-9)
    assert load_policy(run) is not None


@pytest.mark.slow  # what a process holds is in tests/agents/memories/test_sharding.py
@pytest.mark.parametrize("memory", ["transformer", "linear", "associative"])
def test_one_of_two_processes_needs_at_most_six_tenths_of_the_memory_of_one(memory: str) -> None:
    def peak(data: int, tensor: int) -> float:
        launcher = ["-m", "torch.distributed.run", "--nproc-per-node", str(data * tensor)] if data * tensor > 1 else []
        command = [sys.executable, *launcher, "-m", "tests.agents.memories.peak", memory, str(data), str(tensor)]
        # Blocks of this size go back to the machine when they are freed.
        environment = {**os.environ, "MALLOC_MMAP_THRESHOLD_": "262144", "OMP_NUM_THREADS": "1"}
        told = subprocess.run(command, env=environment, cwd=ROOT, capture_output=True, text=True, check=True).stdout
        return float(json.loads(told.splitlines()[-1])["peak"])

    whole = peak(1, 1)
    assert peak(1, 2) <= 0.6 * whole
    assert peak(2, 1) <= 0.6 * whole


@pytest.mark.slow  # the same is tested of processes that share tasks
def test_a_process_of_a_mesh_that_does_not_answer_ends_all_after_a_stated_time(tmp_path: Path) -> None:
    config = write_config(tmp_path, num_updates=1000)
    require_told_of_a_stopped_process(config, tmp_path / "run", *divided(1, 2))


@pytest.mark.parametrize(
    ("changes", "number", "message"),
    [
        (["parallel.tensor=2"], 1, "parallel asks for 1 x 2 processes, and 1 process trains; start 2, such as by"),
        (["parallel.data=3"], 2, "parallel asks for 3 x 1 processes, and 2 processes train; start 3, such as by"),
        (["parallel.tensor=2", "agent.memory=gru"], 2, "the memory 'gru' cannot be divided; take transformer, linear"),
        (["parallel.tensor=2", "agent=maml-ppo"], 2, "MamlPpo cannot be divided over processes; leave out parallel"),
        (
            ["parallel.tensor=2", "agent.memory.num_heads=1"],
            2,
            "parallel.tensor is 2, but 1 num_heads of a layer cannot be divided by it",
        ),
    ],
)
def test_what_cannot_be_divided_is_told_in_one_line(
    tmp_path: Path, changes: list[str], number: int, message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["train", str(write_config(tmp_path)), "--run-dir", str(tmp_path / "run"), *changes]
    if number == 1:
        assert main(words) == 2
        told = [capsys.readouterr().err]
    else:
        found = end(begin(number, words))
        assert {status for status, _ in found} == {2}
        told = [text for _, text in found if text]
    assert any(message in text.splitlines()[-1] for text in told), told
    assert not (tmp_path / "run/config.yaml").exists()
