"""`metarl explain`: a run from training to tables and files, and mistakes that are told."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from metarl.cli.main import main
from metarl.evaluation.explanation import explain
from metarl.runs.config import TrainConfig
from metarl.runs.run import load_run
from metarl.training.train import meta_train
from tests.small_runs import config, metarl

SMALL = {
    "family": {"name": "sinusoid", "shots": 4, "queries": 3},
    "agent": {"name": "ridge", "hidden_sizes": [8]},
    "replicas": 1,
    "num_updates": 2,
}


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run, not to be changed."""
    folder = tmp_path_factory.mktemp("runs") / "run"
    return meta_train(TrainConfig(**{**config(), **SMALL}), folder, progress=False)


def test_a_run_is_explained_in_tables_and_files(run: Path, tmp_path: Path) -> None:
    files = [tmp_path / f"e.{suffix}" for suffix in ("json", "md", "png")]
    outputs = [word for file in files for word in ("-o", str(file))]
    done = metarl("explain", run, "--task", "2", "--tasks", "3", "--draws", "4", "--answers", "1", *outputs, "--quiet")
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("ridge on sinusoid, test task 2: 3 answers after 4 examples\n")
    assert "3 tasks, 4 random draws in each" in done.stdout
    assert done.stdout.splitlines()[-3:] == [
        f"{kind}: {file}" for kind, file in zip(("explanation", "explanation", "picture"), files, strict=True)
    ]
    read = json.loads(files[0].read_text())
    loaded = load_run(run)
    np.testing.assert_allclose(read["influence"], explain(loaded.agent, loaded.family, 2).influence, rtol=1e-5)
    assert read["agent"]["name"] == "ridge" and read["agent"]["trained"]["checkpoint"] == "best"
    assert read["deletion"]["num_tasks"] == 3 and np.shape(read["deletion"]["random"]) == (3, 4, 3)
    assert files[1].read_text().startswith("# ridge on sinusoid, test task 2")
    assert files[2].read_bytes().startswith(b"\x89PNG")


def test_an_agent_is_explained_without_a_run(capsys: pytest.CaptureFixture[str]) -> None:
    words = ["explain", "--family", "sinusoid", "--agent", "nearest-neighbour", "family.shots=3", "--quiet"]
    assert main([*words, "--split", "validation", "--task", "1"]) == 0
    out = capsys.readouterr().out
    assert out.startswith("nearest-neighbour on sinusoid, validation task 1: 10 answers after 3 examples")
    assert "task 1 alone, 10 random draws in each" in out


@pytest.mark.parametrize(
    ("words", "told"),
    [
        ([], "no run was given; write `metarl explain RUN`"),
        (["a", "b"], "2 runs were given"),
        (["nope"], "run nope does not exist"),
        (["--family", "sinusoid"], "--family was given without --agent"),
        (["nope", "--family", "sinusoid", "--agent", "maml"], "--family and run nope were both given"),
        (["--family", "point-dense", "--agent", "random"], "'point-dense' asks no questions"),
        (["--family", "sinusoid", "--agent", "random", "--task", "-1"], "-1 is too small"),
        (["--family", "sinusoid", "--agent", "random", "family.shots=1"], "has 1 example"),
        (["--family", "sinusoid", "--agent", "random", "-o", "x.pdf"], "suffix '.pdf'; it must be .json, .md"),
        (["--family", "sinusoid", "--agent", "random", "-o", "/proc/x.md"], "/proc/x.md"),
        (["--family", "sinusoid", "--agent", "random", "--split", "tset"], "did you mean 'test'"),
        (["--family", "sinusoid", "--agent", "random", "--draws", "1"], "1 is too small"),
        (["--family", "sinusoid", "--agent", "random", "--checkpoint", "best"], "--agent and --checkpoint"),
    ],
)
def test_a_mistake_is_told_in_one_line(words: list[str], told: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["explain", *words, "--quiet"]) == 2
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 1 and told in lines[0]
