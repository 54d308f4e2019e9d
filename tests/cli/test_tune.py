"""`metarl tune`: what it trains on, how it goes on after a signal, and its errors of one line."""

from __future__ import annotations

import csv
import json
import os
import shlex
import signal
import threading
import time
from pathlib import Path

import optuna
import pytest
import yaml
from optuna.trial import TrialState

from metarl.base.yaml_text import read_yaml
from metarl.cli import tune
from metarl.cli.main import main
from metarl.evaluation.record import Evaluation
from metarl.runs.config import load_config
from metarl.search.pruners import PRUNERS
from metarl.search.samplers import SAMPLERS
from tests.small_runs import config, read_metrics, write_config
from tests.warm import WarmProcess, warm_python

SPY = """
from dataclasses import dataclass

import numpy as np
from gymnasium.spaces import Box

from metarl import ArrayFamily, Parameter, Uniform


@dataclass(frozen=True)
class Spy(ArrayFamily):
    '''Go to a hidden number. Which splits were asked for stands in a file.'''

    horizon: int = 3
    parameters = {"goal": Parameter(Uniform(-1.0, 1.0))}
    observation_space = Box(-np.inf, np.inf, (1,))
    action_space = Box(-1.0, 1.0, (1,))

    def sample(self, split, num_tasks, **where):
        with open("asked.txt", "a") as file:
            file.write(f"{split}\\n")
        return super().sample(split, num_tasks, **where)

    def initial(self, task, streams):
        return {"place": streams.normal()}

    def transition(self, state, action, task, streams):
        return {"place": state["place"] + action[:, 0]}

    def observation(self, state):
        return state["place"][:, None]

    def reward(self, before, action, after, task):
        return -np.abs(after["place"] - task["goal"])
"""


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("metarl.cli.tune.METARL", (warm_python(), "-m", "metarl"))
    Path("space.yaml").write_text("agent.inner_lr: [0.05, 0.1]\n")
    return tmp_path


def asked_splits() -> set[str]:
    return set(Path("asked.txt").read_text().split())


def test_a_study_asks_for_no_test_task_and_ends_in_a_config(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Path("spy.py").write_text(SPY)
    text = config(num_updates=2, evaluation={"every": 1, "num_tasks": 2}, family={"name": "spy.py:Spy"}, seed=3)
    Path("config.yaml").write_text(yaml.safe_dump({**text, "wandb": {"mode": "offline"}}))
    words = ["tune", "config.yaml", "space.yaml", "--sampler", "grid", "--seeds", "1", "--log", "csv"]
    assert main(words) == 0
    assert asked_splits() == {"train", "validation"}
    told = capsys.readouterr().out.splitlines()
    assert told[0] == "study folder: runs/tune-spy-Spy-maml-ppo"
    study = Path(told[0].partition(": ")[2])
    rows = list(csv.DictReader((study / "trials.csv").read_text().splitlines()))
    scores = [
        max(line["validation/return_after"] for line in read_metrics(run))
        for run in sorted(study.glob("trials/*/seed3"))
    ]
    assert [float(row["score"]) for row in rows] == scores
    assert read_yaml(study / "trials/0000/seed3/config.yaml", "a config")["log"]["wandb"]["group"] == study.name
    best = load_config(study / "best.yaml")
    assert best.agent["inner_lr"] == [0.05, 0.1][scores.index(max(scores))]
    assert (best.seed, best.log) == (3, load_config("config.yaml", ["log=csv"]).log)
    # A study that is done has nothing to do but to be confirmed, on test tasks and by a seed of its own.
    Path("asked.txt").write_text("")
    assert main([*words, "--quiet", "--confirm", "1"]) == 0
    assert asked_splits() == {"train", "validation", "test"}
    number = scores.index(max(scores))
    name = f"trial-{number:04}-seed4"
    assert {run.name for run in (study / "confirm").iterdir() if run.is_dir()} == {name, "default-seed4"}
    best, default = (Evaluation.load(study / "confirm" / run / "evaluation.json") for run in (name, "default-seed4"))
    gain = json.loads((study / "confirm.json").read_text())["difference"]
    assert gain == pytest.approx((best.returns[:, -1] - default.returns[:, -1]).mean())
    line = next(line for line in capsys.readouterr().out.splitlines() if line.startswith("confirm: "))
    assert line.startswith(f"confirm: return of the last round on 40 test tasks, 1 fresh seed: trial {number} ")
    assert line in (study / "page.html").read_text()


def test_a_signal_reaches_the_training_and_the_printed_command_goes_on(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_config(folder, num_updates=100_000, checkpoint_every=1_000_000, evaluation={"every": 5, "num_tasks": 2})
    metrics = Path("my study/trials/0000/seed0/metrics.jsonl")

    def send() -> None:
        while not (metrics.exists() and metrics.read_bytes().count(b"\n") > 6):
            time.sleep(0.01)
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=send, daemon=True).start()
    words = ["tune", "maml-ppo.yaml", "space.yaml", "--study", "my study", "--trials", "1", "--seeds", "1"]
    assert main(words) == 143
    line = capsys.readouterr().err.strip()
    assert line.startswith("metarl: interrupted by SIGTERM; trials in progress are saved; go on with: ")
    again = shlex.split(line.partition("go on with: ")[2])
    assert again == ["metarl", *words]
    made = len(read_metrics(metrics.parent))
    assert (metrics.parent / "last.safetensors").exists() and made > 6


def test_the_options_name_every_sampler_and_pruner() -> None:
    assert (tuple(SAMPLERS), tuple(PRUNERS)) == (tune.SAMPLERS, tune.PRUNERS)


MISTAKES = {
    "nothing more": ([], "a config and a space are needed; write `metarl tune CONFIG SPACE.yaml`"),
    "no space": (["nosuch.yaml"], "nosuch.yaml does not exist; give the path of a YAML file of settings"),
    "a setting": (["typo.yaml"], "typo.yaml: agent.inner_lrr: unknown key; did you mean 'inner_lr'?"),
    "an engine": (["space.yaml", "--engine", "spark"], "--engine 'spark' is unknown; known: optuna, ray"),
    "a config": (["space.yaml", "agent.inner_lr=-1"], "agent.inner_lr is -1: it must be greater than"),
    "a sampler": (["space.yaml", "--sampler", "tpee"], "--sampler 'tpee' is unknown; did you mean 'tpe'?"),
    "a pruner": (["space.yaml", "--pruner", "medan"], "--pruner 'medan' is unknown; did you mean 'median'?"),
    "a grid": (["range.yaml", "--sampler", "grid"], "range.yaml: agent.inner_lr is a range without a step"),
    "an option": (["space.yaml", "--trails", "3"], "argument '--trails' is unknown; did you mean '--trials'?"),
    "a setting as an option": (["space.yaml", "--seed", "3"], "settings have no dashes: write seed=3"),
    "trials": (["space.yaml", "--trials", "0"], "0 is too small: it must be at least 1"),
    "a logger": (["space.yaml", "--log", "wadb"], "logger 'wadb' is unknown; did you mean 'wandb'?"),
    "an agent": (["space.yaml", "agent=random"], "agent.inner_lr: unknown key"),
    "a folder": (["space.yaml", "--study", "space.yaml"], "space.yaml cannot be written (File exists)"),
    "a storage": (["space.yaml", "--storage", "x://u:secret@h/d"], "x://u:***@h/d cannot be opened as a study"),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_is_one_line_before_the_first_trial(
    folder: Path, mistake: str, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("typo.yaml").write_text("agent.inner_lrr: [0.05, 0.1]\n")
    Path("range.yaml").write_text("agent.inner_lr: {low: 0.05, high: 0.1}\n")
    words, told = MISTAKES[mistake]
    assert main(["tune", str(write_config(folder)), *words]) == 2
    error = capsys.readouterr().err
    assert told in error and error.count("\n") == 1
    assert not list(folder.glob("runs/*/trials"))


def test_a_study_without_a_finished_trial_is_an_error_that_names_the_table(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("space.yaml").write_text("agent.outer.learning_rate: [1.0e+18]\n")
    path = write_config(folder, num_updates=3)
    assert main(["tune", str(path), "space.yaml", "--study", "s", "--sampler", "grid", "--seeds", "1"]) == 2
    told = capsys.readouterr()
    assert told.err == "metarl: error: no trial of s is finished; s/trials.csv has their errors\n"
    assert "trial 0 of 1: failed  agent.outer.learning_rate=1e+18  update " in told.out
    assert "training stopped, nothing was saved" in Path("s/trials.csv").read_text()


WARM = "import sys; sys.executable = sys.argv.pop(1); from metarl.cli.main import main; sys.exit(main())"


@pytest.mark.slow
@pytest.mark.parametrize("workers", ["1", "2"])
def test_a_study_that_is_killed_five_times_ends_with_every_finished_trial(folder: Path, workers: str) -> None:
    Path("space.yaml").write_text("agent.inner_lr: {low: 0.01, high: 1.0, log: true}\n")
    write_config(folder, num_updates=2, checkpoint_every=1, evaluation={"every": 1, "num_tasks": 2})
    words = [
        "tune",
        "maml-ppo.yaml",
        "space.yaml",
        "--study",
        "s",
        "--trials",
        "6",
        "--workers",
        workers,
        "--pruner",
        "none",
    ]
    command = [warm_python(), "-c", WARM, warm_python(), *words, "--quiet"]
    finished: list[list[str]] = []
    for _ in range(5):
        before = len(list(folder.glob("s/trials/*/*/last.safetensors")))
        process = WarmProcess(command)
        while len(list(folder.glob("s/trials/*/*/last.safetensors"))) <= before:
            assert process.poll() is None
            time.sleep(0.01)
        process.kill()
        process.wait()
        ended = scores_of_finished()
        assert all(each in ended for each in finished)
        finished = ended
    assert main([*words, "--quiet"]) == 0
    assert len(scores_of_finished()) == 6 and all(each in scores_of_finished() for each in finished)
    rows = list(csv.DictReader(Path("s/trials.csv").read_text().splitlines()))
    assert [row["state"] for row in rows] == ["finished"] * 6


def scores_of_finished() -> list[list[str]]:
    """Return settings and scores of the finished trials in a study's database."""
    study = optuna.load_study(study_name="s", storage="sqlite:///s/study.db")
    return [[str(each.params), str(each.value)] for each in study.get_trials(states=(TrialState.COMPLETE,))]
