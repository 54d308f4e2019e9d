"""Models that stable-baselines3 saved: measured as the library plays them, and read without running their code."""

from __future__ import annotations

import base64
import json
import pickle
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from metarl.agents.sb3.model import SB3Model, SB3ModelConfig
from stable_baselines3 import A2C, DQN, PPO, SAC, TD3
from stable_baselines3.common.torch_layers import FlattenExtractor
from stable_baselines3.common.vec_env import VecNormalize

from metarl import make_sb3_vec
from metarl.base.errors import MetarlError
from metarl.cli.main import main
from metarl.families.family import TaskFamily
from metarl.families.load import load
from metarl.trials.rollout import run_trial
from tests.small_runs import trained

FAMILY = load("navigation-2d", horizon=5)
GRID = load("gridnavi", horizon=5)
RELU: dict[str, Any] = {"net_arch": [8], "activation_fn": torch.nn.ReLU}


def saved(path: Path, cls: Any, family: TaskFamily, **settings: Any) -> Any:
    """Save an untrained model and return it."""
    model = cls("MlpPolicy", make_sb3_vec(family, num_envs=1, seed=0), device="cpu", seed=1, **settings)
    model.save(path)
    return model


@pytest.mark.parametrize(
    ("cls", "family", "settings"),
    [
        (PPO, FAMILY, {}),
        (PPO, GRID, {"policy_kwargs": RELU}),
        (A2C, FAMILY, {}),
        (SAC, FAMILY, {"policy_kwargs": {"net_arch": [8]}, "buffer_size": 10}),
        (TD3, FAMILY, {"policy_kwargs": {"net_arch": [8]}, "buffer_size": 10}),
        (DQN, GRID, {"policy_kwargs": {"net_arch": [8]}, "buffer_size": 10}),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_a_saved_model_acts_as_the_library_plays_it(
    cls: Any, family: TaskFamily, settings: dict[str, Any], tmp_path: Path
) -> None:
    model = saved(tmp_path / "model.zip", cls, family, **settings)
    agent = SB3Model(SB3ModelConfig(path=str(tmp_path / "model.zip")), family, seed=0, device="cpu")
    tasks = family.sample("test", 2, seed=0)
    (episodes,) = run_trial(agent, family.make_vec(tasks, 2, threads=0), 1, seed=0).rounds
    seen = episodes.observations.reshape(-1, *family.observation_space.shape)
    expected, _ = model.predict(seen, deterministic=True)
    np.testing.assert_allclose(episodes.actions.reshape(expected.shape), expected, atol=1e-6)


class OwnExtractor(FlattenExtractor):
    pass


class Trap:
    def __reduce__(self) -> Any:
        return Path.touch, (Path("trapped"),)


def rewrite(path: Path, **parts: bytes) -> None:
    """Replace parts of a saved model."""
    with zipfile.ZipFile(path) as file:
        held = {name: file.read(name) for name in file.namelist()}
    with zipfile.ZipFile(path, "w") as file:
        for name, content in {**held, **{name.replace("_pth", ".pth"): part for name, part in parts.items()}}.items():
            file.writestr(name, content)


def test_a_model_with_a_trap_in_it_runs_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "model.zip"
    saved(path, PPO, FAMILY, policy_kwargs=RELU)
    trap = base64.b64encode(pickle.dumps(Trap())).decode()
    with zipfile.ZipFile(path) as file:
        data = json.loads(file.read("data"))
    for value in data.values():
        if isinstance(value, dict) and ":serialized:" in value:
            value[":serialized:"] = trap
    rewrite(path, data=json.dumps(data).encode())
    SB3Model(SB3ModelConfig(path=str(path)), FAMILY, seed=0, device="cpu")
    rewrite(path, policy_pth=pickle.dumps(Trap()))
    with pytest.raises(MetarlError, match="is no model of stable-baselines3"):
        SB3Model(SB3ModelConfig(path=str(path)), FAMILY, seed=0, device="cpu")
    assert not Path("trapped").exists()


def test_models_that_cannot_be_measured_are_refused_in_one_line(tmp_path: Path) -> None:
    path = tmp_path / "model.zip"

    def told() -> str:
        with pytest.raises(MetarlError) as caught:
            SB3Model(SB3ModelConfig(path=str(path)), FAMILY, seed=0, device="cpu")
        return str(caught.value)

    assert "does not exist" in told()
    path.write_bytes(b"hello")
    assert "is no model of stable-baselines3" in told()
    saved(path, PPO, GRID)
    assert "does not fit family 'navigation-2d'" in told()
    saved(path, PPO, FAMILY, policy_kwargs={"features_extractor_class": OwnExtractor})
    assert "OwnExtractor'>, which is code" in told()
    model = PPO("MlpPolicy", VecNormalize(make_sb3_vec(FAMILY, 2)), n_steps=2, batch_size=4, n_epochs=1, device="cpu")
    model.learn(4).save(path)
    assert "was trained under VecNormalize, and the file does not hold its scale; train without it" in told()


def test_evaluate_takes_a_saved_model_with_a_run_and_without(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    saved(tmp_path / "model.zip", PPO, FAMILY)
    run = trained(tmp_path / "run", num_updates=1)
    words = ["--agent", "sb3:model.zip", "--tasks", "2"]
    assert main(["evaluate", str(run), *words]) == 0
    assert main(["evaluate", "--family", "navigation-2d", "family.horizon=5", *words]) == 0
    assert "sb3:model.zip on navigation-2d" in capsys.readouterr().out
    folders = (run, tmp_path / "references" / "navigation-2d")
    assert all((folder / "evaluation-sb3-model.zip.json").exists() for folder in folders)
    assert main(["evaluate", str(run), *words, "agent.lr=1"]) == 2
    assert "a saved model, which has no settings" in capsys.readouterr().err
