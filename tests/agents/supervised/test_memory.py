"""Estimates of memory of the agents that learn from right answers, against what a process takes."""

from __future__ import annotations

import contextlib
import json
import subprocess
from pathlib import Path
from typing import Any

import pytest

from metarl.base.errors import MetarlError
from metarl.families.family import TaskFamily
from metarl.families.load import load
from metarl.runs.config import TrainConfig
from metarl.training.memory import require_training_memory
from metarl.trials.agent import TrainableAgent
from metarl.trials.episodes import Trial
from metarl.trials.memory import trial_bytes
from metarl.trials.registered import make_agent
from metarl.trials.rollout import run_trial
from tests.places import ROOT
from tests.warm import warm_python

MEASURE = """
import json, sys
import numpy as np
from metarl.families.load import load
from metarl.trials.registered import make_agent
from tests.agents.supervised.test_memory import trial_of

def measured(key):
    return 1024 * int(open("/proc/self/status").read().split(key + ":")[1].split()[0])

name, settings, family, others, tasks = json.loads(sys.argv[1])
small, family = load(family, **{**others, "shots": 1, "queries": 1}), load(family, **others)
agent = make_agent(name, family, settings)
# Loads what every update needs, and leaves little memory behind that the next one could take again.
agent.update(trial_of(agent, small, 1), np.random.default_rng(0))
trial = trial_of(agent, family, tasks)
taken = []
for _ in range(2):  # a system that takes back pages which lie idle makes an update look smaller
    open("/proc/self/clear_refs", "w").write("5")  # the peak begins anew
    before = measured("VmRSS")
    agent.update(trial, np.random.default_rng(0))
    taken.append(measured("VmHWM") - before)
print(agent.memory_estimate(tasks, 1, 2) / max(taken))
"""
BLOCKS = {"encoder": "blocks", "hidden_sizes": []}
UPDATES: dict[str, tuple[str, dict[str, Any], str, dict[str, Any], int]] = {
    "maml": ("maml", {"hidden_sizes": [64, 64], "num_inner_steps": 2}, "sinusoid", {}, 600),
    "maml of images": ("maml", BLOCKS, "image-classes", {}, 6),
    "maml of the last layer": ("maml", {**BLOCKS, "adapts": "last-layer"}, "image-classes", {"shots": 5}, 6),
    "prototypes": ("prototypes", {}, "image-classes", {"shots": 5}, 10),
    "ridge": ("ridge", {}, "sinusoid", {"shots": 100}, 200),
    "leo": ("leo", {}, "sinusoid", {"shots": 40}, 60),
    "neural-process": ("neural-process", {}, "sinusoid", {"shots": 100, "queries": 100}, 100),
    "kernel-regression": ("kernel-regression", {}, "sinusoid", {"shots": 100, "queries": 100}, 100),
    "pretrained-classifier": ("pretrained-classifier", {}, "image-classes", {"shots": 5}, 6),
}
"""Agent, its settings, family, its settings, and tasks of an update."""


def trial_of(agent: TrainableAgent, family: TaskFamily, tasks: int) -> Trial:
    with contextlib.closing(family.make_vec(family.sample("train", tasks, seed=0))) as envs:
        return run_trial(agent, envs, 2, seed=0, training=True)


@pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="Linux alone forgets a process's peak")
@pytest.mark.parametrize("name", UPDATES)
def test_estimate_of_an_update_is_near_what_a_process_takes(name: str) -> None:
    command = [warm_python(), "-c", MEASURE, json.dumps(UPDATES[name])]
    done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=ROOT)
    # 0.8 to 1.6 where it was measured; allocators differ.
    assert 0.6 < float(done.stdout) < 2


@pytest.mark.parametrize("name", ["maml", "prototypes", "ridge", "leo", "neural-process", "pretrained-classifier"])
def test_a_meta_batch_that_no_memory_holds_is_refused_in_one_line(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    family = load("image-classes")
    agent = make_agent(name, family, {})
    config = TrainConfig(family="image-classes", agent={"name": name}, meta_batch_size=64)  # type: ignore[arg-type]
    needed = trial_bytes(family, tasks=64, replicas=config.replicas, rounds=config.rounds)
    monkeypatch.setattr("metarl.trials.memory.available_memory", lambda: 2 * needed)
    own = ", or agent.task_chunk_size" if name == "maml" else ""
    with pytest.raises(MetarlError, match=f"a meta-batch would .*; lower meta_batch_size, replicas or rounds{own}$"):
        require_training_memory(agent, family, config)
    few = config.model_copy(update={"meta_batch_size": 1})
    monkeypatch.setattr("metarl.trials.memory.available_memory", lambda: 2**30)
    require_training_memory(agent, family, few)


def test_comparing_with_examples_and_relating_pairs_take_memory_that_grows_faster_than_their_number() -> None:
    family, larger = (load("image-classes", ways=20, shots=shots) for shots in (1, 5))
    for name, settings in (("leo", {}), ("prototypes", {"compares": "examples"})):
        few, many = (make_agent(name, each, settings).memory_estimate(1000, 1, 2) for each in (family, larger))
        assert many > 2 * few
