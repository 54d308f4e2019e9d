"""Two trainings in one process, on a thread each, give what each gives alone."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np

from metarl.runs.checkpoint import load
from metarl.runs.config import TrainConfig, resolve
from metarl.training.train import meta_train
from tests.small_runs import config

SB3 = {"name": "sb3-ppo", "hidden_sizes": [8], "n_epochs": 2, "batch_size": 7}

SAC = {"name": "sb3-sac", "hidden_sizes": [8], "gradient_steps": 4}


def weights(run_dir: Path) -> dict[str, np.ndarray]:
    state, _ = load(run_dir / "last.safetensors")
    return {name: value.numpy() for name, value in state.items()}


def test_trainings_on_two_threads_give_the_bits_of_each_alone(tmp_path: Path) -> None:
    runs = [(SB3, 0), (SB3, 1), (SAC, 0)]
    alone = [train(tmp_path / f"alone-{i}", *run) for i, run in enumerate(runs)]
    with ThreadPoolExecutor(len(runs)) as pool:
        together = list(pool.map(lambda i: train(tmp_path / f"together-{i}", *runs[i]), range(len(runs))))
    for run, other in zip(alone, together, strict=True):
        ours, theirs = weights(run), weights(other)
        assert [name for name in ours if ours[name].tobytes() != theirs[name].tobytes()] == []


def train(run_dir: Path, agent: dict[str, Any], seed: int) -> Path:
    changes = {"agent": agent, "seed": seed, "num_updates": 3, "rollout_shards": 2, "threads": 2}
    return meta_train(
        TrainConfig.model_validate(resolve(TrainConfig(**{**config(), **changes}))), run_dir, progress=False
    )
