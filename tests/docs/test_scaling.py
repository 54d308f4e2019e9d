"""What the page on several machines shows is what they run."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from tests.docs.pages import blocks
from tests.training.test_distributed import write_config

SRUN = """#!/bin/sh
"$@" & first=$!
"$@" & second=$!
wait $first && wait $second
"""
"""Stands for SLURM's `srun` with two nodes, both of them this machine."""


def titled(name: str) -> str:
    """Return the text of the block with a title."""
    (text,) = (block.text for kind in ("bash", "yaml") for block in blocks(kind) if block.title == name)
    return text


@pytest.mark.slow
def test_the_script_for_slurm_trains_on_two_nodes_and_goes_on_when_it_is_requeued(tmp_path: Path) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    (tmp_path / "train.sbatch").write_text(titled("train.sbatch").replace("29500", str(port)))
    for name, text in {"srun": SRUN, "scontrol": "#!/bin/sh\necho localhost\n"}.items():
        (tmp_path / name).write_text(text)
        (tmp_path / name).chmod(0o755)
    run, path = tmp_path / "run", f"{tmp_path}:{Path(sys.executable).parent}:{os.environ['PATH']}"
    slurm = {"SLURM_JOB_NODELIST": "nodes", "SLURM_JOB_NUM_NODES": "2", "SLURM_CPUS_PER_TASK": "1", "SLURM_JOB_ID": "7"}
    for updates in (2, 4):
        config = write_config(tmp_path, num_updates=updates)
        words = ["bash", str(tmp_path / "train.sbatch"), str(config), str(run)]
        subprocess.run(words, env={**os.environ, **slurm, "PATH": path}, check=True, timeout=300)
        assert len((run / "metrics.jsonl").read_text().splitlines()) == updates


def test_the_job_for_kubernetes_starts_a_launcher_in_each_pod_that_finds_the_first() -> None:
    service, job = yaml.safe_load_all(titled("train.yaml"))
    spec = job["spec"]
    pod = spec["template"]["spec"]
    (container,) = pod["containers"]
    command = container["command"]
    assert spec["completions"] == spec["parallelism"] == int(command[command.index("--nnodes") + 1])
    first = f"{job['metadata']['name']}-0.{pod['subdomain']}"
    assert command[command.index("--rdzv-endpoint") + 1].startswith(f"{first}:")
    assert pod["subdomain"] == service["metadata"]["name"]
    assert service["spec"]["selector"] == {"job-name": job["metadata"]["name"]}
