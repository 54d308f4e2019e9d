"""`metarl train` without a file, with several seeds, and what it suggests."""

from __future__ import annotations

import os
import shlex
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from metarl.cli.main import main
from tests.small_runs import children_of, read_metrics, started, trained, write_config
from tests.warm import warm_python

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


@pytest.fixture
def warm_seeds(monkeypatch: pytest.MonkeyPatch) -> None:
    """Start the processes of seeds warm."""
    monkeypatch.setattr("metarl.cli.seeds.METARL", (warm_python(), "-m", "metarl"))


def wait_for(holds: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 600
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def hold_saved(pid: int) -> set[int]:
    """Stop each training that a process has started and that has saved a checkpoint, and return which these are."""
    held = set()
    for child in children_of(pid):
        _, _, run = Path(f"/proc/{child}/cmdline").read_text().rstrip("\0").partition("--run-dir=")
        if run and Path(run, "last.safetensors").exists():
            os.kill(child, signal.SIGSTOP)
            held.add(child)
    return held


def is_running(process: int) -> bool:
    """Return whether a process has not ended; one that nobody has waited for has."""
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


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


@pytest.mark.parametrize(
    "asked", [["--seeds", "4", "5"], ["--seed", "4,5"], ["--seeds", "4-5", "rounds=2"], ["seed=4,5", "--at-once", "1"]]
)
def test_several_seeds_are_several_runs_and_one_next_command(
    folder: Path, asked: list[str], capsys: pytest.CaptureFixture[str], warm_seeds: None
) -> None:
    path = write_config(folder, num_updates=1)
    assert main(["train", str(path), "--run-dir", "my runs/seed{seed}", *asked, "--quiet"]) == 0
    words = next_of(capsys)
    assert words == ["metarl", "evaluate", "my runs/seed4", "my runs/seed5"]
    for number in (4, 5):
        assert yaml.safe_load(Path(f"my runs/seed{number}/config.yaml").read_text())["seed"] == number


def test_seeds_without_folders_get_the_first_free_names_and_show_their_progress(
    folder: Path, capsys: pytest.CaptureFixture[str], warm_seeds: None
) -> None:
    Path("runs/navigation-2d-maml-ppo-seed5").mkdir(parents=True)
    path = write_config(folder, num_updates=1)
    assert main(["train", str(path), "--seeds", "4-5"]) == 0
    told = capsys.readouterr().out
    assert "run folders: 'runs/navigation-2d-maml-ppo-seed{seed}-2'" in told
    for number in (4, 5):
        assert f"seed {number}: update 1/1  60 env steps" in told
        assert Path(f"runs/navigation-2d-maml-ppo-seed{number}-2/last.safetensors").exists()


def test_seeds_are_the_runs_that_each_would_be_alone_and_go_on_where_they_are(folder: Path, warm_seeds: None) -> None:
    path = str(write_config(folder))
    alone = trained(folder / "alone", seed=5)
    assert main(["train", path, "--seed", "5", "--run-dir", "group/5", "num_updates=2", "--quiet"]) == 0
    assert main(["train", path, "--seeds", "4-5", "--run-dir", "group/{seed}", "--quiet"]) == 0
    assert (alone / "last.safetensors").read_bytes() == Path("group/5/last.safetensors").read_bytes()
    assert len(read_metrics(Path("group/4"))) == len(read_metrics(Path("group/5"))) == 4


def test_a_seed_that_fails_is_named_and_does_not_stop_the_others(
    folder: Path, capsys: pytest.CaptureFixture[str], warm_seeds: None
) -> None:
    Path("group").mkdir()
    Path("group/4").write_text("no folder")
    words = ["train", str(write_config(folder, num_updates=1)), "--seeds", "4-5", "--run-dir", "group/{seed}"]
    assert main([*words, "--quiet"]) == 2
    told = capsys.readouterr().err
    assert "metarl: error: seed 4: group/4" in told and "(1 of 2 seeds are trained)" in told and told.count("\n") == 1
    assert len(read_metrics(Path("group/5"))) == 1


@pytest.mark.parametrize("number", [pytest.param(signal.SIGINT, marks=pytest.mark.slow), signal.SIGKILL])
def test_seeds_end_with_their_command_and_the_same_command_ends_in_the_same_bits(
    folder: Path, number: int, warm_seeds: None
) -> None:
    words = ["train", str(write_config(folder, num_updates=1000, checkpoint_every=1)), "--seeds", "4-5"]
    asked = [*words, "--run-dir", "group/{seed}", "--quiet"]
    with started(*asked, warm=False, stderr=subprocess.PIPE) as process:
        runs = [Path("group/4"), Path("group/5")]
        held: set[int] = set()
        # One may begin much later than the other, which waits for it here: what it does is done again below.
        wait_for(lambda: len(held.update(hold_saved(process.pid)) or held) == 2)
        children = children_of(process.pid)
        process.send_signal(number)
        for child in held:
            os.kill(child, signal.SIGCONT)
        told = process.communicate()[1]
        wait_for(lambda: not any(map(is_running, children)))
    assert len(children) == 2
    if number == signal.SIGINT:
        assert "interrupted by SIGINT; the last finished updates are saved; go on with: metarl train" in told
        asked = shlex.split(told.partition("go on with: ")[2])[1:]
    updates = max(len(read_metrics(run)) for run in runs) + 1
    assert 1 < updates < 1000
    assert main([*asked, f"num_updates={updates}"]) == 0
    for run, seed in zip(runs, (4, 5), strict=True):
        whole = trained(folder / f"whole-{seed}", seed=seed, num_updates=updates, checkpoint_every=1)
        assert (run / "last.safetensors").read_bytes() == (whole / "last.safetensors").read_bytes()


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
    "seeds that count down": (["--family", "a", "--agent", "b", "--seeds", "5-1"], "'5-1' counts down; write 1-5"),
    "seeds twice": (
        ["--family", "navigation-2d", "--agent", "rl2", "--seed", "3", "seed=1,2"],
        "seed=1,2 was given beside --seed or --seeds",
    ),
    "seeds in words": (["--family", "a", "--agent", "b", "--seeds", "one"], "--seeds: 'one' is no whole number"),
    "one folder for two": (
        ["--family", "navigation-2d", "--agent", "rl2", "--seed", "1,2", "--run-dir", "run"],
        "--run-dir is 'run' for 2 seeds; write {seed} in it, such as run-{seed}",
    ),
    "seeds of a run": (["--resume", "run", "--seed", "1,2"], "--resume was given with 2 seeds"),
    "restarts of one process": (
        ["--family", "navigation-2d", "--agent", "rl2", "--restarts", "1", "--run-dir", "run"],
        "--workers 2 or",
    ),
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
