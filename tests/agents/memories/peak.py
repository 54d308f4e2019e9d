"""Peak memory of updates of a memory that processes divide: `python -m tests.agents.memories.peak MEMORY DATA TENSOR`.

It prints one line of JSON. Started by itself, it is one process; by torchrun, one of DATA x TENSOR.
"""

from __future__ import annotations

import ctypes
import gc
import importlib
import json
import sys
from contextlib import closing, nullcontext
from pathlib import Path

import numpy as np
from metarl.agents.rl2.agent import RL2

import metarl
from metarl.base.ranks import is_launched, ranks
from metarl.base.streams import generator
from metarl.runs.config import TrainConfig
from metarl.training.distributed import dividing, joined
from metarl.trials.rollout import run_trial

SIZE, LAYERS, TASKS = 512, 6, 4
LOADED = ("torch._dynamo", "torch.distributed.fsdp", "torch.distributed.tensor.parallel")
"""Modules that an update loads. They are loaded before anything is measured."""


def status(key: str) -> float:
    """Return a line of the process's status, in MiB."""
    return int(Path("/proc/self/status").read_text().split(f"{key}:")[1].split()[0]) / 1024


def trim() -> None:
    """Give free memory back to the machine."""
    gc.collect()
    ctypes.CDLL("libc.so.6").malloc_trim(0)


def measure(memory: str, data: int, tensor: int) -> None:
    """Make two updates and print the peak of the second, above what the process held without the agent."""
    for module in LOADED:
        importlib.import_module(module)
    family = metarl.load("navigation-2d", horizon=8)
    settings = {"name": memory, "hidden_size": SIZE, "num_layers": LAYERS}
    config = RL2.Config.model_validate(
        {"memory": settings, "ppo": {"num_epochs": 2, "num_minibatches": 2, "num_shards": 1}}
    )
    named = {"name": "rl2"}
    run = TrainConfig(
        family={"name": "navigation-2d"}, agent=named, device="cpu", parallel={"data": data, "tensor": tensor}
    )
    with dividing(run) as mesh:
        before = status("VmRSS")
        agent = RL2(config, family, seed=0, device="cpu")
        parameters = sum(each.numel() * each.element_size() for each in agent.network.parameters()) / 2**20
        if mesh is not None:
            agent.divide(mesh)
        tasks = family.sample("train", TASKS, seed=0)[np.array(ranks().share(TASKS))]
        for number in range(2):
            trim()
            Path("/proc/self/clear_refs").write_text("5")  # the peak begins anew
            with closing(family.make_vec(tasks, 2)) as envs:
                trial = run_trial(agent, envs, 2, seed=number, training=True)
            agent.update(trial, generator(number))
        if ranks().leads:
            print(json.dumps({"parameters": parameters, "peak": status("VmHWM") - before}))


if __name__ == "__main__":
    with joined() if is_launched() else nullcontext():
        measure(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]))
