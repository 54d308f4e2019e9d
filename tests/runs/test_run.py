"""Runs in their folders, and what comes back from them."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import torch

from metarl.base.errors import MetarlError
from metarl.runs.checkpoint import load, save
from metarl.runs.config import TrainConfig
from metarl.runs.run import count_updates, default_run_dirs, load_run
from metarl.trials.registered import make_agent
from tests.small_runs import config, configured, trained


def test_training_changes_the_agent_and_load_run_gives_it_back(run: Path) -> None:
    loaded = load_run(run, "last")
    state, _ = load(run / "last.safetensors")
    settings = {key: value for key, value in loaded.config.agent.items() if key != "name"}
    fresh = make_agent(loaded.config.agent["name"], loaded.family, settings, seed=0, device="cpu").state_dict()  # type: ignore[attr-defined]
    again = loaded.agent.state_dict()  # type: ignore[attr-defined]
    assert all(torch.equal(again[name], tensor) for name, tensor in state.items())
    assert any(not torch.equal(fresh[name], tensor) for name, tensor in state.items())


def test_the_default_folder_is_one_that_is_free(tmp_path: Path) -> None:
    names = []
    for _ in range(3):
        run_dir = next(path for path in default_run_dirs(configured(), tmp_path) if not path.exists())
        run_dir.mkdir()
        names.append(run_dir.name)
    assert names == [f"navigation-2d-maml-ppo-seed0{end}" for end in ("", "-2", "-3")]


def test_a_checkpoint_of_other_shapes_or_another_family_is_refused(copy: Path, tmp_path: Path) -> None:
    name = load_run(copy).config.agent["name"]
    other = trained(tmp_path / "other", name, family={"name": "point-sparse", "horizon": 5}, num_updates=1)
    shutil.copy(other / "best.safetensors", copy / "best.safetensors")
    with pytest.raises(MetarlError, match=r"family.name is .*, the run started with .*; put back"):
        load_run(copy)
    # Even one that lies about where it is from.
    state, _ = load(other / "best.safetensors")
    _, meta = load(copy / "last.safetensors")
    key = next(key for key in state if state[key].ndim == 2)
    save(copy / "best.safetensors", {**state, key: torch.zeros(3, 3)}, meta)
    with pytest.raises(MetarlError, match=r"best.safetensors: the saved agent does not fit: .* has shape \(3, 3\)"):
        load_run(copy)


@pytest.mark.parametrize(
    ("outer", "told"),
    [
        ({"num_epochs": 2, "clip_range": 0.2}, "agent.outer.clip_range is 0.2, the run started with 0.3"),
        ("trpo", "agent.outer.name is 'trpo', the run started with 'ppo'"),
    ],
)
def test_a_nested_setting_that_differs_is_named_by_its_dotted_key(tmp_path: Path, outer: object, told: str) -> None:
    run = trained(tmp_path / "run", num_updates=1)
    changed = TrainConfig(**{**config(), "agent": {"name": "maml-ppo", "hidden_sizes": [8], "outer": outer}})
    with pytest.raises(MetarlError) as caught:
        count_updates(run, changed)
    assert f"does not fit: {told}; leave it out" in str(caught.value)


def test_a_folder_with_metrics_alone_holds_a_run(tmp_path: Path) -> None:
    (tmp_path / "metrics.jsonl").write_text('{"update": 0}\n')
    with pytest.raises(MetarlError, match="holds a run already"):
        trained(tmp_path)


def test_a_run_says_how_its_agent_was_trained(run: Path) -> None:
    provenance = load_run(run, "last").provenance
    settings = {key: value for key, value in load_run(run).config.agent.items() if key != "name"}
    assert provenance == {
        "agent_settings": settings,
        "training_seed": 0,
        "updates": 4,
        "training_env_steps": 240,
        "checkpoint": "last",
    }
    best = load_run(run).provenance
    assert (best["checkpoint"], best["updates"]) == ("best", load(run / "best.safetensors")[1].update)
    assert json.loads(json.dumps(provenance)) == provenance
