"""Tiny training runs, and the command line as users call it."""

from __future__ import annotations

import contextlib
import functools
import io
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any
from unittest.mock import patch

import yaml
from PIL import Image

from metarl.base.files import write_atomically
from metarl.evaluation.record import Evaluation
from metarl.runs.checkpoint import Meta, load
from metarl.runs.config import TrainConfig, resolve
from metarl.training.train import meta_train
from tests.warm import WarmProcess, warm_python

AGENTS = {
    "maml-ppo": {"name": "maml-ppo", "hidden_sizes": [8], "outer": {"num_epochs": 2}},
    "rl2": {
        "name": "rl2",
        "memory": {"name": "gru", "hidden_size": 8},
        "ppo": {"num_epochs": 2, "num_minibatches": 2},
        "exploring_starts": {"share": 0.5, "steps": 2},
    },
}
"""Both agents, as small as they get."""


def config(agent: str | dict[str, Any] = "maml-ppo", **changes: Any) -> dict[str, Any]:
    """Return a config that trains in a second, without W&B, of one of `AGENTS` or of settings."""
    return {
        "family": {"name": "navigation-2d", "horizon": 5},
        "agent": AGENTS[agent] if isinstance(agent, str) else agent,
        "device": "cpu",
        "num_updates": 4,
        "meta_batch_size": 3,
        "replicas": 2,
        "threads": 0,
        "checkpoint_every": 2,
        "evaluation": {"every": 2, "num_tasks": 3},
        "wandb": {"mode": "disabled"},
        **changes,
    }


def configured(agent: str | dict[str, Any] = "maml-ppo", **changes: Any) -> TrainConfig:
    """Return such a config, checked."""
    return TrainConfig.model_validate(resolve(TrainConfig(**config(agent, **changes))))


def trained(run_dir: Path, agent: str | dict[str, Any] = "maml-ppo", *, resume: bool = False, **changes: Any) -> Path:
    """Train in a folder and return it. To draw the picture would take as long as the training: it is white."""
    with patch("metarl.training.log.plot", write_white):
        return meta_train(configured(agent, **changes), run_dir, resume=resume, progress=False)


@functools.cache
def _white() -> bytes:
    picture = io.BytesIO()
    Image.new("L", (8, 8), 255).save(picture, "png")
    return picture.getvalue()


def write_white(evaluations: Sequence[Evaluation], path: str | Path) -> None:
    """Write a white picture in the place of the curves of evaluations."""
    write_atomically(path, _white())


def write_config(folder: Path, agent: str | dict[str, Any] = "maml-ppo", **changes: Any) -> Path:
    """Write such a config and return its path."""
    path = folder / f"{agent if isinstance(agent, str) else agent['name']}.yaml"
    path.write_text(yaml.safe_dump(config(agent, **changes)))
    return path


def command(*arguments: str | Path, python: str = sys.executable) -> list[str]:
    """Return the words that start the command line in a process of its own."""
    return [python, "-m", "metarl", *map(str, arguments)]


def metarl(*arguments: str | Path, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run a command to its end in a process of its own, warm unless it sets a variable of Python."""
    for_python = any(name.startswith(("PYTHON", "LC_", "LANG")) for name in environment)
    python = sys.executable if for_python else warm_python()
    return subprocess.run(
        command(*arguments, python=python),
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
        env={**os.environ, **environment},
    )


@contextlib.contextmanager
def started(
    *arguments: str | Path, metrics: Path | None = None, lines: int = 1, warm: bool = True, **options: Any
) -> Iterator[subprocess.Popen[str]]:
    """Start a command in a process that does not outlive the block, which begins once `metrics` has so many lines.

    Give it more work than it can do: on a busy machine the block begins much later than the last of these lines. One
    that needs the process itself as its child, or in a session of its own, is not `warm`.
    """
    process: subprocess.Popen[str]
    if warm:
        process = WarmProcess(command(*arguments, python=warm_python()), **options)
    else:
        process = subprocess.Popen(command(*arguments), text=True, **options)
    try:
        deadline = time.monotonic() + 60
        while metrics is not None and not (metrics.exists() and metrics.read_bytes().count(b"\n") >= lines):
            assert time.monotonic() < deadline and process.poll() is None
            time.sleep(0.002)
        yield process
    finally:
        process.kill()
        process.wait()


def children_of(pid: int) -> set[int]:
    """Return the processes that a process has started, as Linux lists them."""
    found: set[int] = set()
    for task in Path(f"/proc/{pid}/task").iterdir():
        with contextlib.suppress(OSError):  # a thread may end meanwhile
            found |= {int(child) for child in (task / "children").read_text().split()}
    return found


def saved(path: Path) -> tuple[dict[str, bytes], Meta]:
    """Return a checkpoint but for its config, which says how many updates its training was to make."""
    state, meta = load(path)
    return {name: tensor.numpy().tobytes() for name, tensor in state.items()}, meta.model_copy(update={"config": {}})


def read_metrics(run_dir: Path) -> list[dict[str, Any]]:
    """Return the lines of a run's metrics file, of which each must be whole."""
    return [json.loads(line) for line in (run_dir / "metrics.jsonl").read_text().splitlines()]
