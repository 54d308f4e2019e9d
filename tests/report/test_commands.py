"""The commands and versions that repeat a page."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.report.run_folders import (
    page,
    run_folder,
    scores,
    write_reference,
    write_variant,
)


def test_page_names_every_version_and_every_commit(tmp_path: Path) -> None:
    runs = [
        run_folder(tmp_path / f"s{n}", scores(n), seed=n, torch=version) for n, version in enumerate(("2.0", "2.1"))
    ]
    assert page(runs).endswith("mujoco 3.3, torch 2.0 and 2.1. Evaluated at commit fedcba9876 of metarl.\n")


def test_page_holds_no_path_of_this_machine_wherever_it_stands_in_a_word(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    words = (f"--run-dir={tmp_path}/run", f"family={tmp_path}/heavy cheetah.yaml", "agent.inner_lr=0.2")
    run = run_folder(tmp_path / "run", scores(0), more_words=words)
    monkeypatch.chdir(tmp_path)
    text = page([run])
    assert str(tmp_path) not in text
    assert "--run-dir=run 'family=heavy cheetah.yaml' agent.inner_lr=0.2\n" in text


def test_evaluate_command_repeats_the_evaluation(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    how: dict[str, Any] = {"tasks_seed": 5, "split": "extrapolation", "trained": {"checkpoint": "last", "updates": 4}}
    run = run_folder(tmp_path / "my run", scores(0), **how)
    monkeypatch.chdir(tmp_path)
    expected = (
        "metarl evaluate 'my run' --rounds 2 --replicas 2 --tasks 8 --seed 5 --checkpoint last --split extrapolation "
        "--json 'my run/evaluation.json'\n"
    )
    assert expected in page([run])


def test_command_of_other_settings_takes_the_checkpoint_that_was_measured(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = run_folder(tmp_path / "run", scores(1), trained={"checkpoint": "last"})
    write_variant(run, scores(2), adapts=True)
    monkeypatch.chdir(tmp_path)
    expected = "metarl evaluate run agent.adapts=true --rounds 2 --replicas 2 --tasks 8 --checkpoint last\n"
    assert expected in page([run])


def test_command_of_an_untrained_reference_names_its_agent_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = run_folder(tmp_path / "run", scores(1))
    write_reference(run, "maml-ppo (untrained)", "evaluation-maml-ppo.json")
    monkeypatch.chdir(tmp_path)
    assert "metarl evaluate run --agent maml-ppo --rounds 2 --replicas 2 --tasks 8\n" in page([run])
