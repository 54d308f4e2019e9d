"""A run with a teacher in the loop: killed and resumed, or refused in one line."""

from __future__ import annotations

import shutil
import signal
import subprocess
from pathlib import Path
from typing import Any

import pytest
import torch

from metarl.base.errors import MetarlError
from metarl.cli.main import main
from metarl.runs.checkpoint import load
from metarl.runs.run import count_updates
from tests.small_runs import configured, metarl, saved, started, trained, write_config

KINDS: dict[str, Any] = {
    "an oracle that plays less and less": {"of": "beeline", "preset": "dagger"},
    "kickstarting": {"of": "beeline", "preset": "kickstarting"},
}


@pytest.mark.parametrize("kind", sorted(KINDS))
def test_a_killed_run_with_a_teacher_resumes_bitwise_equal(tmp_path: Path, kind: str) -> None:
    changes = {"teacher": KINDS[kind], "checkpoint_every": 4, "evaluation": {"every": 5, "num_tasks": 2}}
    killed, path = tmp_path / "killed", write_config(tmp_path, "rl2", num_updates=100_000, **changes)
    metrics, quiet = killed / "metrics.jsonl", {"stdout": subprocess.DEVNULL}
    with started("train", path, "--run-dir", killed, metrics=metrics, lines=7, **quiet) as process:
        process.kill()
    assert process.returncode == -signal.SIGKILL
    last = count_updates(killed, configured("rl2", **changes)) + 7
    assert main(["train", "--resume", str(killed), f"num_updates={last}"]) == 0
    whole = trained(tmp_path / "whole", "rl2", num_updates=last, **changes)
    assert saved(killed / "last.safetensors") == saved(whole / "last.safetensors")


CURVES: dict[str, Any] = {"family": {"name": "sinusoid"}, "rounds": 2, "replicas": 1, "checkpoint_every": 4}


def test_a_killed_student_that_learns_from_right_answers_resumes_bitwise_equal(tmp_path: Path) -> None:
    small = {"name": "maml", "hidden_sizes": [8]}
    master = trained(tmp_path / "master", {**small, "hidden_sizes": [12]}, **CURVES)
    teacher = {"of": {"run": str(master)}, "loss": "kickstart", "weight": {"start": 1.0, "end": 0.0, "updates": 20}}
    changes = {**CURVES, "agent": small, "teacher": teacher}
    killed, path = tmp_path / "killed", write_config(tmp_path, num_updates=100_000, **changes)
    metrics, quiet = killed / "metrics.jsonl", {"stdout": subprocess.DEVNULL}
    with started("train", path, "--run-dir", killed, metrics=metrics, lines=7, **quiet) as process:
        process.kill()
    assert process.returncode == -signal.SIGKILL
    last = count_updates(killed, configured(**changes)) + 7
    assert main(["train", "--resume", str(killed), f"num_updates={last}"]) == 0
    whole = trained(tmp_path / "whole", **{**changes, "num_updates": last})
    assert saved(killed / "last.safetensors") == saved(whole / "last.safetensors")
    alone = trained(tmp_path / "alone", **{**changes, "num_updates": last, "teacher": None})
    assert saved(alone / "last.safetensors")[0] != saved(whole / "last.safetensors")[0]  # the teacher was heard


@pytest.mark.parametrize("parts", [1, 3])
def test_threads_change_nothing_of_what_is_taught(tmp_path: Path, parts: int) -> None:
    changes = {"teacher": ["beeline", "random"], "rollout_shards": parts, "num_updates": 2}
    runs = [trained(tmp_path / str(threads), "rl2", threads=threads, **changes) for threads in (0, 2)]
    assert saved(runs[0] / "last.safetensors")[0] == saved(runs[1] / "last.safetensors")[0]


@pytest.mark.parametrize("order", [1, -1])
def test_parts_whose_teachers_tell_their_distribution_or_not_change_nothing(tmp_path: Path, order: int) -> None:
    master = trained(tmp_path / "master", "rl2")
    teachers = [{"run": str(master)}, "beeline"][::order]
    changes = {"teacher": {"of": teachers}, "meta_batch_size": 2, "num_updates": 2, "threads": 0}
    runs = [trained(tmp_path / str(parts), "rl2", rollout_shards=parts, **changes) for parts in (1, 2)]
    whole, halves = (load(run / "last.safetensors")[0] for run in runs)
    for name, value in whole.items():
        torch.testing.assert_close(halves[name], value, rtol=1e-4, atol=1e-6)


def test_a_trained_run_teaches_and_one_that_changed_since_is_refused(tmp_path: Path) -> None:
    master = trained(tmp_path / "master", "maml-ppo")
    changes = {"teacher": {"of": {"run": str(master)}}}
    student = trained(tmp_path / "student", "rl2", **changes)
    again = trained(tmp_path / "again", "rl2", **changes)
    assert saved(student / "last.safetensors") == saved(again / "last.safetensors")
    other = trained(tmp_path / "other", "maml-ppo", seed=1)
    shutil.copy(other / "best.safetensors", master / "best.safetensors")
    shutil.copy(other / "config.yaml", master / "config.yaml")
    told = metarl("train", "--resume", student, "num_updates=6")
    assert told.returncode == 2
    assert told.stderr.count("\n") == 1
    assert "its checkpoint has changed since this run began" in told.stderr


@pytest.mark.parametrize(
    ("agent", "changes", "told"),
    [
        ("rl2", {"teacher": {"of": {"run": "nowhere"}}}, "teacher.of.run is 'nowhere': run nowhere does not exist"),
        ("rl2", {"teacher": "best-arm"}, "BestArm cannot play family 'navigation-2d'; take bernoulli-bandit"),
        ("maml-ppo", {"teacher": "beeline"}, "agent 'maml-ppo' cannot learn from one"),
        ("rl2", {"teacher": {"of": "beeline", "temperature": 2}}, "teacher.temperature is 2, which softens choices"),
        (
            {"name": "maml"},
            {**CURVES, "teacher": {"of": "random", "share": 0.5}},
            "teacher.share is above 0, but 'maml'",
        ),
        ({"name": "maml"}, {**CURVES, "teacher": {"of": "random", "learns": "sample"}}, "teacher.learns is 'sample'"),
        ({"name": "maml", "outer": "reptile"}, {**CURVES, "teacher": "random"}, "'maml' cannot learn from one"),
    ],
)
def test_a_teacher_that_cannot_teach_is_one_line(
    tmp_path: Path, agent: str | dict[str, Any], changes: dict[str, Any], told: str
) -> None:
    with pytest.raises(MetarlError) as caught:
        trained(tmp_path / "run", agent, **changes)
    assert told in str(caught.value)
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "run" / "metrics.jsonl").exists()


def test_a_run_of_another_family_is_one_line(tmp_path: Path) -> None:
    master = trained(tmp_path / "master", "rl2", family={"name": "point-dense", "horizon": 5})
    with pytest.raises(MetarlError, match="is trained on family 'point-dense', and this run on 'navigation-2d'"):
        trained(tmp_path / "run", "rl2", teacher={"of": {"run": str(master)}})
