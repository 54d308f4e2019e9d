from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from metarl.base.errors import MetarlError
from metarl.evaluation.record import AgentRecord, Evaluation
from metarl.families.task import Tasks
from metarl.runs.config import TrainConfig, load_config, resolve
from metarl.runs.log_config import WandbConfig
from metarl.training.guard import Guard
from metarl.training.log import RunLog
from metarl.training.wandb import choose_mode
from metarl.trials.plan import TrialPlan
from tests.small_runs import config, metarl, read_metrics, write_config
from tests.warm import warm_python


@pytest.fixture(autouse=True)
def _no_key(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in [name for name in os.environ if name.startswith("WANDB_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("NETRC", str(tmp_path / "no-netrc"))


def configured(mode: str | None = "disabled", **changes: Any) -> TrainConfig:
    return TrainConfig.model_validate(resolve(TrainConfig(**config(wandb={"mode": mode}, **changes))))


def line(update: int) -> dict[str, float]:
    return {"return_before": 0.5, "update": update, "env_steps": 30 * (update + 1)}


def updates(run_dir: Path) -> list[int]:
    return [metrics["update"] for metrics in read_metrics(run_dir)]


def evaluation() -> Evaluation:
    return Evaluation(
        family="navigation-2d",
        settings={},
        agent=AgentRecord("maml-ppo"),
        plan=TrialPlan(split="validation", num_tasks=3),
        tasks=Tasks({"goal": np.zeros((3, 2))}, np.arange(3)),
        returns=np.array([[1.0, 2.0], [2.0, 3.0], [3.0, 5.0]]),
        successes=None,
        env_steps_per_task=np.array([[5, 10]] * 3),
        unseen=True,
    )


def test_each_update_is_on_disk_as_soon_as_it_is_written(tmp_path: Path) -> None:
    log = RunLog(tmp_path, configured())
    for update in range(3):
        log.write(line(update))
        assert updates(tmp_path) == list(range(update + 1))
    log.close(completed=True)
    first = json.loads((tmp_path / "metrics.jsonl").read_text().splitlines()[0])
    assert list(first) == ["update", "env_steps", "return_before"]


@pytest.mark.parametrize("torn", [b"", b'{"update": 5, "env', b'{"update": 5, "env_steps": 1}'])
def test_a_resumed_log_drops_later_and_torn_lines(tmp_path: Path, torn: bytes) -> None:
    log = RunLog(tmp_path, configured())
    for update in range(5):
        log.write(line(update))
    log.close(completed=False)
    with (tmp_path / "metrics.jsonl").open("ab") as file:
        file.write(torn)
    log = RunLog(tmp_path, configured(), updates=3)
    assert updates(tmp_path) == [0, 1, 2]
    log.write(line(3))
    log.close(completed=True)
    assert updates(tmp_path) == [0, 1, 2, 3]


def test_the_folder_holds_the_resolved_config_and_each_session(tmp_path: Path) -> None:
    for done in (0, 2):
        log = RunLog(tmp_path, configured(), updates=done)
        log.close(completed=False)
    assert resolve(load_config(tmp_path / "config.yaml")) == resolve(configured())
    sessions = json.loads((tmp_path / "run.json").read_text())["sessions"]
    assert [session["first_update"] for session in sessions] == [0, 2]
    assert {"metarl", "numpy", "mujoco", "gymnasium"} <= sessions[0]["versions"].keys()
    assert {"git_commit", "command", "platform", "python"} <= sessions[0].keys()


def test_a_second_process_is_kept_out(tmp_path: Path) -> None:
    log = RunLog(tmp_path, configured())
    with pytest.raises(MetarlError, match="another process"):
        RunLog(tmp_path, configured())
    log.close(completed=True)
    RunLog(tmp_path, configured()).close(completed=True)


def inspect(run_dir: Path) -> list[dict[str, Any]]:
    """Return the records of the one offline W&B run in a folder, as W&B's own reader gives them."""
    (offline,) = (run_dir / "wandb").glob("offline-run-*")
    read = subprocess.run(
        [warm_python(), "-m", "wandb", "leet", "inspect", "--json", str(offline)],
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    return [json.loads(record) for record in read.stdout.splitlines() if record.startswith("{")]


def tables_in(run_dir: Path) -> dict[str, Any]:
    """Return what is in the tables of a folder's W&B runs, by name."""
    paths = (run_dir / "wandb").glob("offline-run-*/files/media/table/*.table.json")
    return {path.name.split("_", 1)[0]: json.loads(path.read_text()) for path in paths}


def test_an_offline_run_holds_config_metrics_picture_and_table_by_env_steps(tmp_path: Path, curves: None) -> None:
    run_dir, home = tmp_path / "run", set(Path.home().iterdir())
    log = RunLog(run_dir, configured("offline"))
    for update in range(3):
        log.write(line(update))
    log.summarize(evaluation(), env_steps=90)
    log.close(completed=True)
    with Image.open(run_dir / "validation.png") as picture:
        assert min(picture.size) > 100
    records = inspect(run_dir)
    history = [record["history"]["item"] for record in records if record["type"] == "history"]
    assert [item["env_steps"] for item in history] == [30, 60, 90, 90]
    assert [item.get("update") for item in history] == [0, 1, 2, None]
    assert history[-1]["adaptation_curve._type"] == "image-file"
    assert history[-1]["adaptation._type"] == "table-file"
    (axis,) = [record["metric"] for record in records if record["type"] == "metric"]
    assert (axis["glob_name"], axis["step_metric"]) == ("*", "env_steps")
    logged = next(record["run"]["config"]["update"] for record in records if record["type"] == "run")
    assert {name: logged[name] for name in ("family", "agent", "seed")} == {
        name: resolve(configured())[name] for name in ("family", "agent", "seed")
    }
    tables = tables_in(run_dir)
    assert tables["adaptation"]["data"][1][:3] == [2, 10, evaluation().iqm[1]]
    assert tables["tasks"]["columns"] == ["task", "goal", "return_round_1", "return_round_2"]
    assert tables["tasks"]["data"] == [[0, "[0.0, 0.0]", 1, 2], [1, "[0.0, 0.0]", 2, 3], [2, "[0.0, 0.0]", 3, 5]]
    assert set(Path.home().iterdir()) == home
    assert "WANDB_DATA_DIR" not in os.environ


def test_a_resumed_run_becomes_one_wandb_run_without_gap_or_repetition(tmp_path: Path) -> None:
    log = RunLog(tmp_path, configured())
    for update in range(4):
        log.write(line(update))
    log.close(completed=False)
    log = RunLog(tmp_path, configured("offline"), updates=2)
    log.write(line(2))
    log.close(completed=True)
    history = [record["history"]["item"] for record in inspect(tmp_path) if record["type"] == "history"]
    assert [item["update"] for item in history] == [0, 1, 2]


def test_online_without_a_key_is_offline_with_a_warning_and_never_asks(capsys: pytest.CaptureFixture[str]) -> None:
    assert choose_mode(WandbConfig(mode="online")) == "offline"
    assert "no key" in capsys.readouterr().err
    assert choose_mode(WandbConfig()) == "offline"
    assert capsys.readouterr().err == ""


def test_a_key_means_online_unless_something_else_is_asked_for(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "netrc").write_text("machine api.wandb.ai\n  login user\n  password " + "0" * 40 + "\n")
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    assert choose_mode(WandbConfig()) == "online"
    monkeypatch.setenv("NETRC", str(tmp_path / "none"))
    assert choose_mode(WandbConfig()) == "offline"
    monkeypatch.setenv("WANDB_API_KEY", "0" * 40)
    assert choose_mode(WandbConfig()) == "online"
    assert choose_mode(WandbConfig(mode="disabled")) == "disabled"
    monkeypatch.setenv("WANDB_MODE", "offline")
    assert choose_mode(WandbConfig()) == "offline"
    assert choose_mode(WandbConfig(mode="online")) == "online"


def test_a_server_out_of_reach_costs_a_warning_and_the_timeout_at_most(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("WANDB_API_KEY", "0" * 40)
    monkeypatch.setenv("WANDB_BASE_URL", "http://127.0.0.1:9")
    monkeypatch.setattr("metarl.training.wandb.INIT_TIMEOUT", 1.0)
    wait, limits = Guard.wait, []

    def patient(guard: Guard, call: Callable[[], Any], seconds: float) -> Any:
        limits.append(seconds)
        return wait(guard, call, 100.0)  # on a busy machine the service takes long to begin

    monkeypatch.setattr(Guard, "wait", patient)
    log = RunLog(tmp_path, configured("online"))
    log.write(line(0))
    log.close(completed=True)
    assert limits == [6.0, 6.0]  # online, then offline
    (warning,) = [text for text in capsys.readouterr().err.splitlines() if text.startswith("metarl: ")]
    assert warning.startswith("metarl: warning: W&B cannot be reached")
    assert updates(tmp_path) == [0]
    assert [r["history"]["item"]["update"] for r in inspect(tmp_path) if r["type"] == "history"] == [0]


@pytest.mark.parametrize("call", ["log", "finish"])
def test_an_error_in_wandb_costs_one_warning_and_no_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], call: str
) -> None:
    class Broken:
        def __getattr__(self, name: str) -> Any:
            def method(*arguments: Any, **keywords: Any) -> None:
                if name == call:
                    raise ConnectionError("gone\nwith details")

            return method

    monkeypatch.setattr("metarl.training.wandb._init", lambda *arguments: Broken())
    log = RunLog(tmp_path, configured("offline"))
    for update in range(3):
        log.write(line(update))
    log.close(completed=True)
    assert updates(tmp_path) == [0, 1, 2]
    (warning,) = capsys.readouterr().err.splitlines()
    assert warning == "metarl: warning: W&B stopped: ConnectionError: gone; metrics go to metrics.jsonl only"


def test_the_address_of_every_online_run_stands_in_the_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    class Online:
        def __init__(self, url: str | None) -> None:
            self.url, self.offline = url, url is None

        def __getattr__(self, name: str) -> Any:
            return lambda *arguments, **keywords: None

    for url in ("https://wandb.ai/me/metarl/runs/a", "https://wandb.ai/me/metarl/runs/b", None):
        monkeypatch.setattr("metarl.training.wandb._init", lambda *arguments, url=url: Online(url))
        RunLog(tmp_path, configured("offline")).close(completed=True)
    assert (tmp_path / "wandb" / "urls.txt").read_text().split() == [
        "https://wandb.ai/me/metarl/runs/a",
        "https://wandb.ai/me/metarl/runs/b",
    ]
    assert capsys.readouterr().err == ""


def test_lines_that_were_lost_cost_one_warning_and_what_comes_after_the_gap_is_kept(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    log = RunLog(tmp_path, configured())
    for update in range(2):
        log.write(line(update))
    log.close(completed=False)
    for done in (5, 6):
        log = RunLog(tmp_path, configured(), updates=done)
        log.write(line(done))
        log.close(completed=False)
        (warning,) = capsys.readouterr().err.splitlines()
        assert f"metrics.jsonl holds {done - 3} of {done} updates" in warning
    assert updates(tmp_path) == [0, 1, 5, 6]


def test_a_mode_that_wandb_does_not_know_costs_one_true_warning(tmp_path: Path) -> None:
    # In a cold process (by a variable of Python): W&B reads the mode, and makes its folders, when it is first imported.
    path = write_config(tmp_path, num_updates=1, wandb={"mode": None})
    done = metarl("train", path, "--run-dir", tmp_path / "run", WANDB_MODE="foo", PYTHONUTF8="1")
    warning = "WANDB_MODE is 'foo'; it must be 'online', 'offline' or 'disabled': logging offline"
    assert (done.returncode, done.stderr) == (0, f"metarl: warning: {warning}\n")
    history = [record["history"]["item"] for record in inspect(tmp_path / "run") if record["type"] == "history"]
    assert [item.get("update") for item in history] == [0, None]


def test_the_environment_is_given_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for mode in (None, "online"):
        monkeypatch.delenv("WANDB_MODE", raising=False)
        if mode is not None:
            monkeypatch.setenv("WANDB_MODE", mode)
        before = dict(os.environ)
        RunLog(tmp_path / str(mode), configured("offline")).close(completed=True)
        changed = {name for name in before.keys() | os.environ if before.get(name) != os.environ.get(name)}
        assert not {name for name in changed if name in ("WANDB_MODE", "WANDB_DATA_DIR", "WANDB_CACHE_DIR")}


@pytest.mark.parametrize("mode", ["online", "offline", None])
def test_a_broken_wandb_costs_one_warning(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], mode: str | None
) -> None:
    (tmp_path / "netrc").write_text("machine api.wandb.ai\n  login user\n  password " + "0" * 40 + "\n")
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    monkeypatch.setitem(sys.modules, "wandb", None)
    log = RunLog(tmp_path / "run", configured(mode))
    log.write(line(0))
    log.close(completed=True)
    (warning,) = capsys.readouterr().err.splitlines()
    assert warning.startswith("metarl: warning: W&B is off: ModuleNotFoundError")
    assert updates(tmp_path / "run") == [0]
    assert "WANDB_DATA_DIR" not in os.environ
