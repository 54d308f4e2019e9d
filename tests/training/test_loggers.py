"""Every logger has each update once, against environment steps, also when a run is resumed."""

from __future__ import annotations

import csv
import sys
import warnings
from pathlib import Path
from typing import Any, get_args

import pytest

from metarl.base.errors import MetarlError
from metarl.cli.main import main
from metarl.runs.log_config import LoggerName
from metarl.runs.run import load_run
from metarl.training.log import RunLog
from metarl.training.loggers import LOGGERS, CsvLog
from metarl.training.train import meta_train
from tests.small_runs import configured, read_metrics, write_config


def rows(run_dir: Path) -> list[dict[str, float | None]]:
    """Return the rows of progress.csv as numbers, None for an empty cell."""
    with (run_dir / "progress.csv").open(newline="") as file:
        return [{name: float(cell) if cell else None for name, cell in row.items()} for row in csv.DictReader(file)]


def scalars(run_dir: Path) -> dict[str, list[tuple[int, float]]]:
    """Return the step and value of each point that TensorBoard's own reader finds, by name."""
    events = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    found = events.EventAccumulator(str(run_dir / "tensorboard"))
    found.Reload()
    return {name: [(e.step, e.value) for e in found.Scalars(name)] for name in found.Tags()["scalars"]}


def require_all_of(run_dir: Path) -> None:
    """Require that both logs have what metrics.jsonl has, at the same environment steps, and nothing twice."""
    metrics = read_metrics(run_dir)
    assert [{name: value for name, value in row.items() if value is not None} for row in rows(run_dir)] == metrics
    assert list(rows(run_dir)[0])[:2] == ["update", "env_steps"]
    found = scalars(run_dir)
    for name in {name for line in metrics for name in line}:
        due = [(line["env_steps"], line[name]) for line in metrics if name in line]
        assert [step for step, _ in found[name]] == [step for step, _ in due]
        assert [value for _, value in found[name]] == pytest.approx([value for _, value in due], rel=1e-6)


def test_every_logger_has_every_update_once_also_after_a_break(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("tensorboard")
    config, run_dir, write = write_config(tmp_path), tmp_path / "run", RunLog.write
    assert main(["train", str(config), "--run-dir", str(run_dir), "num_updates=3", "--log", "csv,tensorboard"]) == 0
    require_all_of(run_dir)

    def dying(self: RunLog, metrics: Any) -> None:
        write(self, metrics)
        if metrics["update"] == 4:
            raise RuntimeError("killed after the loggers had the line and before its checkpoint")

    with monkeypatch.context() as patch:
        patch.setattr(RunLog, "write", dying)
        with pytest.raises(RuntimeError):
            main(["train", "--resume", str(run_dir), "num_updates=6"])
    assert len(rows(run_dir)) == 5
    assert main(["train", "--resume", str(run_dir), "num_updates=6"]) == 0
    require_all_of(run_dir)
    assert len(rows(run_dir)) == 6
    assert load_run(run_dir).config.num_updates == 6
    assert capsys.readouterr().err == ""


def test_a_new_metric_adds_a_column(tmp_path: Path) -> None:
    log = CsvLog(tmp_path, [{"update": 0, "env_steps": 5, "a": 1.0}])
    log.log({"update": 1, "env_steps": 10, "a": 2.0, "b,c": 3.0})
    log.log({"update": 2, "env_steps": 15, "a": 4.0})
    assert rows(tmp_path) == [
        {"update": 0, "env_steps": 5, "a": 1, "b,c": None},
        {"update": 1, "env_steps": 10, "a": 2, "b,c": 3},
        {"update": 2, "env_steps": 15, "a": 4, "b,c": None},
    ]


def test_no_logger_leaves_the_metrics_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("WANDB_MODE", raising=False)
    config = write_config(tmp_path, num_updates=1, wandb={"mode": None})
    assert main(["train", str(config), "--run-dir", str(tmp_path / "run"), "--log", "none"]) == 0
    names = {path.name for path in (tmp_path / "run").iterdir()}
    assert "metrics.jsonl" in names and not names & {"wandb", "tensorboard", "progress.csv"}


def test_every_logger_that_a_config_may_name_is_there() -> None:
    assert set(get_args(LoggerName)) == set(LOGGERS)


def test_a_run_keeps_its_loggers_until_it_is_told_others(tmp_path: Path) -> None:
    config, run = write_config(tmp_path, log=["csv"]), tmp_path / "run"
    assert main(["train", str(config), "--run-dir", str(run), "num_updates=1"]) == 0
    assert main(["train", "--resume", str(run), "num_updates=2"]) == 0
    assert len(rows(run)) == 2
    assert main(["train", str(run / "config.yaml"), "--run-dir", str(tmp_path / "again")]) == 0
    assert rows(tmp_path / "again")[0].keys() == rows(run)[0].keys()
    assert main(["train", "--resume", str(run), "num_updates=3", "--log", "none"]) == 0
    assert len(rows(run)) == 2
    assert load_run(run).config.log.to == ()


def test_a_logger_that_is_not_installed_costs_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)
    with pytest.raises(MetarlError, match=r"the logger 'tensorboard' needs the package tensorboard .*pip install"):
        meta_train(configured(log=["tensorboard"]), tmp_path / "run", progress=False)


def test_a_broken_tensorboard_costs_one_warning_and_no_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("tensorboard")
    with warnings.catch_warnings():
        from torch.utils.tensorboard import SummaryWriter

    def broken(*arguments: Any, **keywords: Any) -> None:
        raise OSError("no room")

    monkeypatch.setattr(SummaryWriter, "add_scalar", broken)
    meta_train(configured(num_updates=2, log=["tensorboard"]), tmp_path / "run", progress=False)
    (warning,) = capsys.readouterr().err.splitlines()
    assert warning == "metarl: warning: TensorBoard stopped: OSError: no room; metrics go to metrics.jsonl"
    assert len(read_metrics(tmp_path / "run")) == 2


@pytest.mark.parametrize("name", ["progress.csv", "tensorboard"])
def test_a_log_that_leads_out_of_the_run_folder_is_refused(tmp_path: Path, name: str) -> None:
    (tmp_path / "run").mkdir()
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "run" / name).symlink_to(tmp_path / "elsewhere")
    with pytest.raises(MetarlError, match=f"{name} leads out of"):
        meta_train(configured(log=["csv", "tensorboard"]), tmp_path / "run", progress=False)
    assert not list((tmp_path / "elsewhere").iterdir())
