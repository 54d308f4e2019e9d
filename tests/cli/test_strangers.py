"""A run folder from a stranger stays in itself: nothing is read or written outside of it."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from metarl.cli.main import main
from metarl.runs.config import TrainConfig
from metarl.training.train import meta_train
from tests.small_runs import config


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run, not to be changed."""
    return meta_train(TrainConfig(**config(num_updates=2)), tmp_path_factory.mktemp("runs") / "run", progress=False)


@pytest.fixture
def run(finished: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(finished, tmp_path / "run"))


RESUME = ["train", "--resume", "RUN", "num_updates=3"]
EVALUATE = ["evaluate", "RUN", "--tasks", "2"]


@pytest.mark.parametrize(
    ("name", "command"),
    [
        *((name, RESUME) for name in ("config.yaml", "run.json", "metrics.jsonl", "last.safetensors")),
        *((name, [*RESUME, "evaluation.every=1"]) for name in ("best.safetensors", "validation.png")),
        *((name, EVALUATE) for name in ("config.yaml", "best.safetensors", "evaluation.json", "adaptation.png")),
    ],
)
def test_a_link_out_of_a_run_folder_costs_one_line_and_leaves_its_target(
    name: str, command: list[str], run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    victim = tmp_path / "authorized_keys"
    if (run / name).exists():
        (run / name).rename(victim)  # even if its content would do
    else:
        victim.write_text("mine")
    (run / name).symlink_to(victim)
    before = victim.read_bytes()
    assert main([word.replace("RUN", str(run)) for word in command]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert f"{name} leads out of {run}" in line
    assert victim.read_bytes() == before


@pytest.mark.parametrize(
    ("name", "command"),
    [
        *((name, RESUME) for name in ("config.yaml", "metrics.jsonl", "last.safetensors", "run.json")),
        *((name, EVALUATE) for name in ("best.safetensors", "evaluation.json")),
    ],
)
def test_a_fifo_in_a_run_folder_costs_one_line_and_blocks_nobody(
    name: str, command: list[str], run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (run / name).unlink(missing_ok=True)
    os.mkfifo(run / name)
    assert main([word.replace("RUN", str(run)) for word in command]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert f"{name} is a FIFO" in line


def _environment(monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
    for name in [name for name in os.environ if name.startswith("WANDB_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("NETRC", str(folder / "no-netrc"))


@pytest.mark.parametrize("name", ["wandb", "wandb/offline-run-1", "wandb/urls.txt", "wandb/cache", ".wandb"])
def test_wandb_writes_nothing_outside_of_a_run_folder(
    name: str, run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    _environment(monkeypatch, tmp_path)
    (tmp_path / "elsewhere").mkdir()
    (run / name).parent.mkdir(exist_ok=True)
    (run / name).symlink_to(tmp_path / "elsewhere")
    for command in ([*RESUME, "wandb.mode=offline"], [*EVALUATE, "--wandb"]):
        assert main([word.replace("RUN", str(run)) for word in command]) == 2
        (line,) = capsys.readouterr().err.splitlines()
        assert f"{name} leads out of {run}" in line
    assert not list((tmp_path / "elsewhere").iterdir())


@pytest.mark.parametrize("here", [".", "deep"])
@pytest.mark.parametrize("name", ["wandb", ".wandb"])
def test_a_run_folder_does_not_choose_the_server_that_gets_the_key(
    here: str, name: str, run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    _environment(monkeypatch, tmp_path)
    monkeypatch.setenv("WANDB_API_KEY", "0" * 40)
    folder = run / here / name
    folder.mkdir(parents=True)
    (folder / "settings").write_text("[default]\nbase_url = http://127.0.0.1:9\n")
    monkeypatch.chdir(run / here)
    for command in ([*RESUME, "wandb.mode=offline"], [*EVALUATE, "--wandb"]):
        assert main([word.replace("RUN", str(run)) for word in command]) == 2
        (line,) = capsys.readouterr().err.splitlines()
        assert "settings lies in a run folder and would change W&B's server or account; remove it" in line


def test_a_video_that_leads_out_of_a_run_folder_is_not_uploaded(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    _environment(monkeypatch, tmp_path)
    (tmp_path / "secret").write_text("mine")
    (run / "adaptation.gif").symlink_to(tmp_path / "secret")
    assert main(["evaluate", str(run), "--tasks", "2", "--wandb"]) == 2
    assert f"adaptation.gif leads out of {run}" in capsys.readouterr().err
    assert not (run / "wandb").exists()
