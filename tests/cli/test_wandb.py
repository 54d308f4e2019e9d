"""What is measured and filmed of a run, in W&B."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest

from metarl.cli.main import main
from metarl.evaluation.record import Evaluation
from metarl.runs.config import TrainConfig
from metarl.training.train import meta_train
from tests.small_runs import config
from tests.training.test_log import inspect, tables_in


@pytest.fixture(autouse=True)
def _no_key(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in [name for name in os.environ if name.startswith("WANDB_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("NETRC", str(tmp_path / "no-netrc"))


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run without W&B, not to be changed."""
    return meta_train(TrainConfig(**config(num_updates=1)), tmp_path_factory.mktemp("runs") / "run", progress=False)


@pytest.fixture
def run(finished: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(finished, tmp_path / "run"))


GIF = bytes.fromhex("47494638396101000100800000000000ffffff2c00000000010001000002024401003b")
"""A picture of one pixel."""


def history(records: Iterable[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    return (record["history"]["item"] for record in records if record["type"] == "history")


def test_an_evaluation_is_a_run_of_the_trainings_group_with_tables_curve_and_video(
    run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["render", str(run), "--tasks", "1", "--among", "3", "-o", str(run / "adaptation.gif")]) == 0
    assert main(["evaluate", str(run), "--tasks", "3", "--plot", str(run / "curve.svg"), "--wandb"]) == 0
    assert capsys.readouterr().err == ""
    records = inspect(run)
    about = next(record["run"] for record in records if record["type"] == "run")
    assert (about["run_group"], about["job_type"]) == ("navigation-2d-maml-ppo", "evaluate")
    assert (about["display_name"], about["tags"]) == ("run evaluate", ["seed-0"])
    assert about["config"]["update"]["played"] == {"split": "test", "seed": 0, "checkpoint": "best"}
    curve, film = history(records)
    evaluation = Evaluation.load(run / "evaluation.json")
    assert evaluation.agent.trained is not None
    assert curve["env_steps"] == film["env_steps"] == evaluation.agent.trained["training_env_steps"]
    assert curve["adaptation_curve._type"] == "image-file" and film["adaptation_video._type"] == "video-file"
    (video,) = (run / "wandb").glob("offline-run-*/files/media/videos/*.gif")
    assert video.read_bytes() == (run / "adaptation.gif").read_bytes()
    table = tables_in(run)["tasks"]
    assert table["columns"] == ["task", "goal", "return_round_1", "return_round_2"]
    assert [row[2:] for row in table["data"]] == evaluation.returns.tolist()
    assert [row[1] for row in table["data"]] == [str(task["goal"]) for task in evaluation.tasks]


def test_settings_of_a_trained_agent_are_told_with_its_evaluation(run: Path) -> None:
    assert main(["evaluate", str(run), "--tasks", "3", "agent.inner_lr=3.0", "--wandb"]) == 0
    about = next(record["run"] for record in inspect(run) if record["type"] == "run")
    played = {"split": "test", "seed": 0, "checkpoint": "best", "agent_settings": {"inner_lr": 3.0}}
    assert about["config"]["update"]["played"] == played


def test_the_video_of_changed_settings_goes_with_their_evaluation(run: Path) -> None:
    # The '.5' of the name is no suffix of a file.
    (run / "adaptation-inner_lr=0.5.gif").write_bytes(GIF)
    assert main(["evaluate", str(run), "--tasks", "2", "agent.inner_lr=0.5", "--wandb"]) == 0
    _, film = history(inspect(run))
    assert film["adaptation_video._type"] == "video-file"


def test_a_deterministic_evaluation_is_told_as_one(run: Path) -> None:
    assert main(["evaluate", str(run), "--tasks", "3", "--rounds", "1", "--deterministic", "--wandb"]) == 0
    about = next(record["run"] for record in inspect(run) if record["type"] == "run")
    played = {"split": "test", "seed": 0, "checkpoint": "best", "deterministic": True}
    assert about["config"]["update"]["played"] == played


def test_a_video_of_another_agent_is_in_that_agents_group(run: Path) -> None:
    arguments = ["--agent", "random", "--tasks", "1", "--among", "1", "--rounds", "1", "--wandb"]
    assert main(["render", str(run), *arguments]) == 0
    records = inspect(run)
    about = next(record["run"] for record in records if record["type"] == "run")
    assert (about["run_group"], about["job_type"]) == ("navigation-2d-random", "render")
    assert about["display_name"] == "run render-random"
    (film,) = history(records)
    assert film["env_steps"] == 0 and film["adaptation_video._type"] == "video-file"


def test_a_broken_wandb_costs_an_evaluation_one_warning(
    run: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "wandb", None)
    assert main(["evaluate", str(run), "--tasks", "2", "--wandb"]) == 0
    (warning,) = capsys.readouterr().err.splitlines()
    assert warning.startswith("metarl: warning: W&B is off: ModuleNotFoundError")
    assert warning.endswith(f"the result is in {run}")
    assert (run / "evaluation.json").exists()


def test_wandb_is_asked_for_or_left_alone(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert main(["evaluate", str(run), "--tasks", "2"]) == 0
    monkeypatch.setenv("WANDB_MODE", "disabled")
    assert main(["evaluate", str(run), "--tasks", "2", "--wandb"]) == 0
    assert not (run / "wandb").exists()
