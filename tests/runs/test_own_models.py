"""Runs on a robot of one's own: they hold its files, and need neither its folder nor the current one."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file

from metarl.evaluation.evaluate import evaluate
from metarl.evaluation.record import Evaluation
from metarl.evaluation.table import table
from metarl.runs.run import load_run, run_config
from metarl.training.train import meta_train
from metarl.trials.plan import TrialPlan
from tests.families.robots import write_robot
from tests.small_runs import trained


def test_run_on_a_model_of_ones_own_goes_on_from_any_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("METARL_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr("metarl.families.model_files._verified", {})
    project = tmp_path / "project"
    project.mkdir()
    path = write_robot(project)
    whole = trained(tmp_path / "whole", family={"name": str(path)}, num_updates=2, checkpoint_every=1)
    part = trained(tmp_path / "part", family={"name": str(path)}, num_updates=1, checkpoint_every=1)
    assert list(part.glob("models/*/robots/hopper.xml"))
    # As on another machine: the project is gone, the cache is empty, and the folder has another name.
    shutil.rmtree(project)
    shutil.rmtree(tmp_path / "cache")
    moved = tmp_path / "elsewhere" / "copied"
    moved.parent.mkdir()
    shutil.move(part, moved)
    monkeypatch.setenv("METARL_CACHE", str(tmp_path / "other-cache"))
    monkeypatch.chdir(moved.parent)
    monkeypatch.setattr("metarl.families.model_files._verified", {})
    meta_train(run_config("copied", ["num_updates=2"]), "copied", resume=True, progress=False)
    run = load_run("copied")
    assert run.family.title == "my-hopper"
    evaluate(run.agent, run.family, TrialPlan(num_tasks=2)).save("copied/evaluation.json")
    assert "on my-hopper, test split" in table([Evaluation.load("copied/evaluation.json")])
    weights = [load_file(run / "last.safetensors") for run in (whole, moved)]
    assert weights[0].keys() == weights[1].keys()
    assert all(np.array_equal(weights[0][name], weights[1][name]) for name in weights[0])
