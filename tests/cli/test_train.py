"""`metarl train` without a file, with several seeds, and what it suggests."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Any

import pytest
import yaml

from metarl.base.signals import with_remedy
from metarl.cli.main import main
from metarl.runs.config import TrainConfig
from tests.small_runs import write_config

SMALL = [
    "num_updates=1",
    "meta_batch_size=2",
    "replicas=2",
    "family.horizon=5",
    "evaluation.num_tasks=2",
    "wandb.mode=disabled",
    "threads=0",
]


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def next_of(capsys: pytest.CaptureFixture[str]) -> list[str]:
    """Return the words of the last line, which is the next command."""
    line = capsys.readouterr().out.splitlines()[-1]
    assert line.startswith("next: ")
    return shlex.split(line.removeprefix("next: "))


@pytest.mark.parametrize(
    "named",
    [
        ["--family", "navigation-2d", "--agent", "rl2", *SMALL],
        [*SMALL, "--agent", "rl2", "--family", "navigation-2d"],
        ["family=navigation-2d", *SMALL, "agent=rl2"],
    ],
    ids=["options first", "options last", "overrides"],
)
def test_an_agent_is_trained_on_a_family_without_a_file(named: list[str]) -> None:
    assert main(["train", *named, "--quiet"]) == 0
    written = yaml.safe_load(Path("runs/navigation-2d-rl2-seed0/config.yaml").read_text())
    assert (written["family"]["name"], written["family"]["horizon"], written["agent"]["name"]) == (
        "navigation-2d",
        5,
        "rl2",
    )
    # What is not said has the config's default.
    assert (written["rounds"], written["meta_batch_size"]) == (2, 2)


def test_options_of_family_and_agent_override_a_file(folder: Path) -> None:
    path = write_config(folder, num_updates=1)
    assert main(["train", str(path), "--agent", "rl2", "--run-dir", "run", "--quiet"]) == 0
    assert yaml.safe_load(Path("run/config.yaml").read_text())["agent"]["name"] == "rl2"


def test_a_tuned_config_is_proposed_and_not_taken(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    tuned = folder / "configs" / "navigation-2d" / "rl2.yaml"
    tuned.parent.mkdir(parents=True)
    write_config(folder, "rl2", rounds=3).rename(tuned)
    assert main(["train", "--family", "navigation-2d", "--agent", "rl2", *SMALL, "--quiet"]) == 0
    assert "configs/navigation-2d/rl2.yaml has tuned ones" in capsys.readouterr().out
    assert yaml.safe_load(Path("runs/navigation-2d-rl2-seed0/config.yaml").read_text())["rounds"] == 2


@pytest.mark.parametrize("asked", [["--seeds", "4", "5"], ["--seed", "4,5"], ["--seeds", "4,5", "num_updates=1"]])
def test_several_seeds_are_several_runs_and_one_next_command(
    folder: Path, asked: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    path = write_config(folder, num_updates=1)
    assert main(["train", str(path), "--run-dir", "my runs/seed{seed}", *asked, "--quiet"]) == 0
    words = next_of(capsys)
    assert words == ["metarl", "evaluate", "my runs/seed4", "my runs/seed5"]
    for number in (4, 5):
        assert yaml.safe_load(Path(f"my runs/seed{number}/config.yaml").read_text())["seed"] == number


@pytest.mark.parametrize("asked", [["--seeds", "4", "5", "6"], ["--seed", "4,5,6"], ["--seeds=4,5,6"]])
@pytest.mark.parametrize("saved", ["", "2 updates saved; resume with: metarl train --resume run"])
def test_an_interrupt_between_seeds_prints_the_command_that_trains_the_rest(
    folder: Path, asked: list[str], saved: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def until_seed_5(config: TrainConfig, run_dir: Path, **options: Any) -> Path:
        if config.seed == 5:
            raise with_remedy(KeyboardInterrupt(), saved)
        return run_dir

    words = ["train", str(write_config(folder)), *asked, "num_updates=1", "--run-dir", "run{seed}", "--quiet"]
    with monkeypatch.context() as patched:
        patched.setattr("metarl.training.train.meta_train", until_seed_5)
        assert main(words) == 130
    told = capsys.readouterr().err.strip()
    assert saved in told and "nothing was saved" not in told
    again = shlex.split(told.partition("train the seeds not begun with: ")[2])
    assert main(again[1:]) == 0
    # The seed that had saved something is resumed by a command of its own.
    trained = [yaml.safe_load(path.read_text())["seed"] for path in sorted(folder.glob("run*/config.yaml"))]
    assert trained == ([6] if saved else [5, 6])


def test_a_folder_with_a_dash_in_front_can_be_typed_again(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["train", str(write_config(folder, num_updates=1)), "--run-dir=-odd", "--quiet"]) == 0
    words = next_of(capsys)
    assert words == ["metarl", "evaluate", "./-odd"]
    assert main([*words[1:], "--tasks", "2", "--quiet"]) == 0


MISTAKES = {
    "an option for a setting": (["--device", "cuda"], "argument '--device' is unknown; settings have no dashes: write"),
    "its value": (["--device", "cuda"], "write device=cuda"),
    "a dash for an underscore": (["--num-updates=5"], "write num_updates=5"),
    "a setting of the agent": (["--agent.inner_lr", "0.1"], "write agent.inner_lr=0.1"),
    "a misspelt option": (["--sed", "1"], "did you mean '--seed'?"),
    "an option like no other": (["--zzyzx"], "is unknown; known: --"),
    "nothing": ([], "no config given, and no family and no agent; write `metarl train CONFIG`"),
    "no agent": (["--family", "navigation-2d"], "no config given, and no agent"),
    "an unknown family": (["--family", "navigation", "--agent", "rl2"], "did you mean 'navigation-2d'?"),
    "a seed twice": (["--family", "navigation-2d", "--agent", "rl2", "--seeds", "1", "1"], "seed 1 is given twice"),
    "seeds in words": (["--family", "a", "--agent", "b", "--seeds", "one"], "--seeds: 'one' is no whole number"),
    "one folder for two": (
        ["--family", "navigation-2d", "--agent", "rl2", "--seed", "1,2", "--run-dir", "run"],
        "--run-dir is 'run' for 2 seeds; write {seed} in it, such as run-{seed}",
    ),
    "seeds of a run": (["--resume", "run", "--seed", "1,2"], "--resume was given with 2 seeds"),
    "restarts of one process": (["--family", "navigation-2d", "--agent", "rl2", "--restarts", "1"], "--workers 2 or"),
    "restarts that would not find the run": (
        ["--family", "navigation-2d", "--agent", "rl2", "--workers", "2", "--restarts", "1"],
        "restarts need --run-dir DIR",
    ),
    "another agent for a run": (["--resume", "run", "--agent", "rl2"], "--agent and --resume were both given"),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_is_told_with_what_to_write(mistake: str, capsys: pytest.CaptureFixture[str]) -> None:
    words, told = MISTAKES[mistake]
    assert main(["train", *words]) == 2
    error = capsys.readouterr().err
    assert told in error and error.count("\n") == 1
    assert not Path("runs").exists()
