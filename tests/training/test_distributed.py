"""Several processes train one agent: they end as one process does, and a lost process costs no bit."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml

from metarl.base.errors import MetarlError
from metarl.base.ranks import Ranks, ranks
from metarl.cli.main import main
from metarl.cli.workers import run_workers
from metarl.evaluation.record import Evaluation
from metarl.runs.checkpoint import load
from metarl.runs.config import TrainConfig
from metarl.training import distributed
from metarl.training.distributed import mean_metrics, require_alike
from metarl.training.train import meta_train
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
    size: int,
    words: list[str],
    last: list[str] | None = None,
    folders: Sequence[Path] = (),
    **environment: str,
) -> list[subprocess.Popen[str]]:
    """Start `metarl` in processes that find each other as those of torchrun do.

    The last may have other words; each may begin in a folder of its own, whose modules it can import.
    """
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    ways = {"WORLD_SIZE": str(size), "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), **environment}
    found: list[subprocess.Popen[str]] = []
    for rank in range(size):
        own = (last or words) if rank == size - 1 else words
        where = {**os.environ, **ways, "RANK": str(rank)}
        command = [warm_python(), "-m", "metarl", *own]
        found.append(
            WarmProcess(
                command,
                env=where,
                cwd=folders[rank] if folders else None,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
            )
        )
    return found


def end(processes: list[subprocess.Popen[str]]) -> list[tuple[int, str]]:
    """Return the exit status and the errors of each process."""
    told = [process.communicate(timeout=600)[1] for process in processes]
    return [(process.returncode, text) for process, text in zip(processes, told, strict=True)]


def train(size: int, config: Path, run_dir: Path, *words: str, **environment: str) -> list[tuple[int, str]]:
    return end(begin(size, ["train", str(config), "--run-dir", str(run_dir), *words], **environment))


def require_told_of_a_stopped_process(config: Path, run: Path, *words: str) -> None:
    """Stop one of two processes once they train, and require that the other ends with a line."""
    processes = begin(2, ["train", str(config), "--run-dir", str(run), *words], METARL_RANK_TIMEOUT="5")
    deadline = time.monotonic() + 600
    while not (run / "metrics.jsonl").exists() or not read_metrics(run):
        assert time.monotonic() < deadline
        time.sleep(0.01)
    processes[1].send_signal(signal.SIGSTOP)
    told = processes[0].communicate(timeout=600)[1]
    processes[1].kill()
    end(processes[1:])
    assert processes[0].returncode == 2
    assert told.count("\n") == 1 and "another rank did not answer within 5 s" in told


def train_alone(config: Path, run_dir: Path, *, resume: bool = False, **changes: Any) -> None:
    """Train in this process."""
    settings = TrainConfig.model_validate({**yaml.safe_load(config.read_text()), **changes})
    meta_train(settings, run_dir, resume=resume, progress=False)


@pytest.mark.parametrize("agent", ["maml-ppo", "rl2"])
def test_two_processes_train_the_agent_of_one_and_write_one_run(tmp_path: Path, agent: str) -> None:
    config = write_config(tmp_path, agent=AGENTS[agent])
    train_alone(config, tmp_path / "one")
    for name in ("two", "again") if agent == "rl2" else ("two",):
        assert train(2, config, tmp_path / name) == [(0, ""), (0, "")]
    (alone, meta), (shared, of_two) = load(tmp_path / "one/last.safetensors"), load(tmp_path / "two/last.safetensors")
    assert (meta.env_steps, meta.update) == (of_two.env_steps, of_two.update)
    for key, value in alone.items():
        torch.testing.assert_close(shared[key], value, rtol=1e-6, atol=1e-9)
    for again in tmp_path.glob("again/last.safetensors"):
        assert (tmp_path / "two/last.safetensors").read_bytes() == again.read_bytes()
    lines = zip(read_metrics(tmp_path / "one"), read_metrics(tmp_path / "two"), strict=True)
    for one, two in lines:
        for key in one:
            assert key.startswith("time/") or two[key] == pytest.approx(one[key], rel=1e-5, abs=1e-7), key


@pytest.mark.slow  # torchrun itself does the same below
@pytest.mark.parametrize("lost", [0, 1])
def test_a_process_that_is_killed_ends_all_and_a_restart_ends_in_the_bits_of_a_run_left_alone(
    tmp_path: Path, lost: int
) -> None:
    config = write_config(tmp_path, num_updates=8)
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    assert train(2, config, whole) == [(0, ""), (0, "")]
    words = ["train", str(config), "--run-dir", str(killed)]
    processes = begin(2, words)
    deadline = time.monotonic() + 600
    while not (killed / "metrics.jsonl").exists() or len(read_metrics(killed)) < 3:
        assert time.monotonic() < deadline
        time.sleep(0.01)
    processes[lost].send_signal(signal.SIGKILL)
    status, told = end(processes)[1 - lost]
    assert status == 2
    assert told == "" if lost == 0 else told.count("\n") == 1 and "rank 0: another rank has ended" in told
    assert train(2, config, killed, TORCHELASTIC_MAX_RESTARTS="1") == [(0, ""), (0, "")]
    assert (killed / "last.safetensors").read_bytes() == (whole / "last.safetensors").read_bytes()


LAUNCHED = """
import os, pathlib, sys
from metarl.cli.main import main
pathlib.Path({folder!r}, os.environ["RANK"]).write_text(str(os.getpid()))
sys.exit(main())
"""


@pytest.mark.parametrize("lost", [pytest.param(0, marks=pytest.mark.slow), 1])
def test_torchrun_begins_again_where_a_killed_process_was_and_ends_in_the_same_bits(tmp_path: Path, lost: int) -> None:
    config, whole, killed = write_config(tmp_path, num_updates=12), tmp_path / "whole", tmp_path / "killed"
    assert train(2, config, whole) == [(0, ""), (0, "")]
    attempts = set()

    def kill() -> None:
        for made in (2, 5):
            while not (killed / "metrics.jsonl").exists() or len(read_metrics(killed)) < made:
                time.sleep(0.01)
            attempts.add(process := int((tmp_path / str(lost)).read_text()))
            os.kill(process, signal.SIGKILL)

    killer = threading.Thread(target=kill)
    killer.start()
    command = [warm_python(), "-c", LAUNCHED.format(folder=str(tmp_path))]
    words = ["train", str(config), "--run-dir", str(killed)]
    assert run_workers(words, count=2, restarts=3, command=command) == 0
    killer.join()
    assert len(attempts) == 2
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


def test_an_evaluation_by_two_processes_is_that_of_one(tmp_path: Path) -> None:
    run = tmp_path / "run"
    train_alone(write_config(tmp_path, num_updates=1), run)
    words = ["evaluate", str(run), "--tasks", "5", "--quiet", "--json"]
    assert main([*words, str(tmp_path / "one.json")]) == 0
    assert end(begin(2, [*words, str(tmp_path / "two.json")])) == [(0, ""), (0, "")]
    one, two = (Evaluation.load(tmp_path / f"{name}.json") for name in ("one", "two"))
    np.testing.assert_array_equal(two.tasks.index, one.tasks.index)
    np.testing.assert_allclose(two.returns, one.returns, rtol=1e-9)
    np.testing.assert_allclose(two.env_steps_per_task, one.env_steps_per_task)


def test_processes_with_other_versions_are_told_apart_by_rank(monkeypatch: pytest.MonkeyPatch) -> None:
    own = TrainConfig.model_validate(small_config())
    monkeypatch.setattr(distributed, "versions", lambda: {"torch": f"2.{ranks().rank}"})
    told = []

    def ask(_: Ranks) -> None:
        with pytest.raises(MetarlError) as error:
            require_alike(own)
        told.append(str(error.value))

    run_together(2, ask)
    assert all("version of torch of rank 1 is '2.1', that of rank 0 '2.0'; start all ranks with" in one for one in told)


def test_a_process_without_the_package_of_the_family_is_named_by_its_rank(tmp_path: Path) -> None:
    (tmp_path / "own.py").write_text("from metarl.envs.points.navigation_2d import Navigation2D as Own\n")
    (tmp_path / "other").mkdir()
    config = write_config(tmp_path, family={"name": "own:Own"})
    words = ["train", str(config), "--run-dir", str(tmp_path / "run")]
    (status, told), (other, why) = end(begin(2, words, folders=(tmp_path, tmp_path / "other")))
    assert (status, other) == (2, 2)
    assert told.endswith("\nmetarl: error: rank 0: another rank has ended\n")
    assert why.count("\n") == 1 and "rank 1: " in why and "module 'own' is not found" in why


def test_a_port_in_use_is_named(tmp_path: Path) -> None:
    config = write_config(tmp_path)
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port = str(taken.getsockname()[1])
        words = ["train", str(config), "--run-dir", str(tmp_path / "run")]
        first, second = begin(2, words, MASTER_PORT=port, METARL_RANK_TIMEOUT="3")
        told = [first.communicate(timeout=600)[1], second.communicate(timeout=600)[1]]
    for rank, text in enumerate(told):
        # A new process keeps torch's own lines before it silent; one that has torch loaded cannot.
        assert f"rank {rank} of 2 found no others at 127.0.0.1:{port}" in text.splitlines()[-1]


def test_a_run_goes_on_with_another_number_of_processes(tmp_path: Path) -> None:
    run, config = tmp_path / "run", write_config(tmp_path)
    train_alone(config, tmp_path / "one", num_updates=5)
    train_alone(config, run, num_updates=1)
    # Shares of one, two and two tasks, which play in one and in two parts.
    assert end(begin(3, ["train", "--resume", str(run), "num_updates=3"])) == [(0, "")] * 3
    train_alone(config, run, resume=True, num_updates=5)
    alone, shared = (load(folder / "last.safetensors")[0] for folder in (tmp_path / "one", run))
    for key, value in alone.items():
        torch.testing.assert_close(shared[key], value, rtol=1e-6, atol=1e-9)


def test_a_process_that_does_not_answer_ends_all_after_a_stated_time(tmp_path: Path) -> None:
    config = write_config(tmp_path, num_updates=1000)
    require_told_of_a_stopped_process(config, tmp_path / "run")


@pytest.mark.parametrize(("seen", "rank", "own"), [(None, 1, "1"), ("4,6", 0, "4"), ("4,6", 1, "6"), ("4,6", 3, "6")])
def test_each_process_of_a_machine_has_a_gpu_of_its_own(
    monkeypatch: pytest.MonkeyPatch, seen: str | None, rank: int, own: str
) -> None:
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setenv("LOCAL_RANK", str(rank))
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", seen or "")
    distributed.take_device()
    assert os.environ["CUDA_VISIBLE_DEVICES"] == own


def test_episodes_that_broke_down_are_added_up_and_other_metrics_are_means_over_tasks() -> None:
    def told(own: Ranks) -> dict[str, float]:
        return mean_metrics({"loss": float(own.rank), "unstable_episodes": 2.0 + own.rank}, (3, 1)[own.rank])

    found, _ = run_together(2, told)
    assert found == [{"loss": 0.25, "unstable_episodes": 5.0}] * 2
