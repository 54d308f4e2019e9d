"""W&B costs a training little time and no line, whatever becomes of its service, its server and its environment."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from metarl.base.errors import MetarlError
from metarl.cli.main import main
from metarl.runs.config import load_config
from metarl.training.guard import Guard
from metarl.training.log import RunLog
from tests.small_runs import configured, read_metrics, trained, write_config
from tests.training.test_log import inspect
from tests.warm import warm_python


@pytest.fixture(autouse=True)
def _no_key(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in [name for name in os.environ if name.startswith("WANDB_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("NETRC", str(tmp_path / "no-netrc"))


WITH_SERVICE = """
import os, signal, sys
from pathlib import Path
from metarl.training import guard, train, wandb
from tests.small_runs import children_of, trained
wandb.CALL_TIMEOUT = wandb.CLOSE_TIMEOUT = 3.0
record, waits = train._Training._record, []
class Watched(guard.Future):
    def result(self, timeout=None):
        waits.append(timeout)
        return super().result(timeout)
guard.Future = Watched
def recorded(self, *arguments):
    if self.update == 3:
        (service,) = children_of(os.getpid())
        os.kill(service, getattr(signal, sys.argv[2]))
        waits.clear()
    record(self, *arguments)
train._Training._record = recorded
trained(Path(sys.argv[1]), num_updates=12, wandb={"mode": "offline"})
print(max(waits, default=0.0))
"""


@pytest.mark.skipif(sys.platform != "linux", reason="finds the service in /proc")
@pytest.mark.parametrize("number", ["SIGSTOP", "SIGKILL"])
def test_a_service_that_stops_or_dies_costs_one_warning_and_a_bounded_wait(tmp_path: Path, number: str) -> None:
    done = subprocess.run(
        [warm_python(), "-c", WITH_SERVICE, str(tmp_path / "run"), number],
        capture_output=True, text=True, timeout=100, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    (warning,) = done.stderr.splitlines()
    assert warning.startswith("metarl: warning: W&B stopped: ")
    assert warning.endswith("; metrics go to metrics.jsonl only")
    assert float(done.stdout) <= 3.0
    assert len(read_metrics(tmp_path / "run")) == 12


def run_ids(run_dir: Path) -> list[str]:
    """Return the ids of the offline W&B runs in a folder, the oldest first."""
    return [path.name.rsplit("-", 1)[-1] for path in sorted((run_dir / "wandb").glob("offline-run-*"))]


def test_every_run_has_an_id_of_its_own_that_a_resumed_run_keeps(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("WANDB_RUN_ID", "x")
    monkeypatch.setenv("WANDB_RESUME", "must")
    monkeypatch.setenv("WANDB_NAME", "one name")
    mine = {name: value for name, value in os.environ.items() if name.startswith("WANDB_") and name != "WANDB_SERVICE"}
    offline: dict[str, Any] = {"wandb": {"mode": "offline"}, "evaluation": {"every": 9, "num_tasks": 1}}
    first, second = (trained(tmp_path / name, num_updates=1, **offline) for name in "ab")
    time.sleep(1.0)  # the folders of W&B are named by the second
    trained(first, num_updates=2, resume=True, **offline)
    time.sleep(1.0)
    assert main(["evaluate", str(first), "--tasks", "1", "--wandb"]) == 0
    begun, resumed, evaluated = run_ids(first)
    assert begun == resumed == (first / "wandb" / "run-id.txt").read_text().strip()
    assert len({begun, evaluated, *run_ids(second)}) == 3
    assert "x" not in {begun, evaluated, *run_ids(second)}
    assert "WANDB_RUN_ID is set, but every run has an id of its own; unset it" in capsys.readouterr().err
    assert {name: os.environ.get(name) for name in mine} == mine
    assert {name for name in os.environ if name.startswith("WANDB_")} - {"WANDB_SERVICE"} == mine.keys()
    about = next(record["run"] for record in inspect(second) if record["type"] == "run")
    assert about["display_name"] == "b"


def test_runs_that_share_a_service_are_resumed_and_evaluated_from_another_place(tmp_path: Path) -> None:
    offline: dict[str, Any] = {"wandb": {"mode": "offline"}, "evaluation": {"every": 9, "num_tasks": 1}}
    for name in ("first", "second"):
        trained(tmp_path / name, num_updates=1, **offline)
        moved = (tmp_path / name).rename(tmp_path / f"{name}-moved")
        (log,) = moved.glob("wandb/offline-*/logs/*core*")
        assert moved.resolve() not in log.resolve().parents
        trained(moved, num_updates=2, resume=True, **offline)
        assert main(["evaluate", str(moved), "--tasks", "1", "--wandb"]) == 0


def test_the_run_of_a_sweep_keeps_the_id_that_its_agent_gave(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WANDB_RUN_ID", "sweep123")
    monkeypatch.setenv("WANDB_SWEEP_ID", "s")
    RunLog(tmp_path, configured(wandb={"mode": "offline"})).close(completed=True)
    assert run_ids(tmp_path) == ["sweep123"]


@pytest.mark.parametrize(
    ("setting", "words"),
    [
        (f"wandb.tags=[{'x' * 70}]", "wandb.tags.0 is 'xxx"),
        ("wandb.tags=['']", "wandb.tags.0 is ''"),
        ("wandb.project=a/b", "wandb.project is 'a/b'"),
        (f"wandb.group={'g' * 129}", "wandb.group is 'ggg"),
    ],
)
def test_settings_that_wandb_would_refuse_are_refused_before_the_training(
    tmp_path: Path, setting: str, words: str
) -> None:
    with pytest.raises(MetarlError, match=words):
        load_config(write_config(tmp_path), [setting])


def test_a_call_that_takes_too_long_is_left_behind() -> None:
    guard, done, begun, go_on = Guard("test"), [], threading.Event(), threading.Event()
    guard.send(lambda: (begun.set(), go_on.wait()))
    assert begun.wait(60)
    with pytest.raises(TimeoutError):
        guard.wait(lambda: done.append("later"), 0.05)
    assert guard.busy > 0
    go_on.set()
    guard.wait(lambda: done.append("last"), 10)
    assert done == ["later", "last"]
    with pytest.raises(ZeroDivisionError):
        guard.wait(lambda: 1 / 0, 10)
    guard.close()
