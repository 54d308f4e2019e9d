"""The demonstration runs whole, twice, and says only what the numbers say."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from metarl.cli import demo
from metarl.cli.main import main
from metarl.evaluation.record import AgentRecord
from tests.small_runs import write_config


def test_demo_trains_measures_and_draws_every_config(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(demo, "NUM_TASKS", 4)
    configs, runs = tmp_path / "configs", tmp_path / "runs"
    configs.mkdir()
    for agent in ("maml-ppo", "rl2"):
        write_config(configs, agent, num_updates=1)
    for folders in (["demo-maml-ppo", "demo-rl2"], ["demo-maml-ppo-2", "demo-rl2-2"]):
        assert main(["demo", "--configs", str(configs), "--runs", str(runs)]) == 0
        told = capsys.readouterr().out
        for folder in folders:
            assert f"--run-dir {runs / folder}\n" in told
            assert str(runs / folder / "adaptation.png") in told
            for name in ("config.yaml", "metrics.jsonl", "best.safetensors", "evaluation.json", "adaptation.png"):
                assert (runs / folder / name).is_file(), name
            trained = json.loads((runs / folder / "evaluation.json").read_text())["agent"]["trained"]
            assert (trained["updates"], trained["checkpoint"]) == (1, "best")
        assert "maml-ppo on navigation-2d, test split: 4 tasks" in told
        assert "--split extrapolation" in told


def test_demo_without_configs_names_the_remedy(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["demo", "--configs", str(tmp_path)]) == 2
    assert f"{tmp_path} holds no config" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("interval", "words"), [((0.1, 2.0), "adapts"), ((-1.0, 2.0), "no difference"), ((-2.0, -1.0), "gets worse")]
)
def test_verdict_follows_the_interval(interval: tuple[float, float], words: str) -> None:
    evaluation: Any = SimpleNamespace(
        agent=AgentRecord("rl2"),
        rounds=2,
        env_steps=np.array([20.0, 40.0]),
        gain=SimpleNamespace(interval=interval),
    )
    assert words in demo.verdict(evaluation)
    assert "20 environment steps" in demo.verdict(evaluation)
