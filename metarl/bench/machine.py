"""The machine that a benchmark runs on, and the file of its figures."""

from __future__ import annotations

import contextlib
import dataclasses
import importlib.util
import json
import platform
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path

from ..base.cores import available_threads
from ..base.versions import git_commit, versions
from .simulation import Comparison


def figures_json(comparisons: Sequence[Comparison]) -> bytes:
    """Return all figures with the hardware, versions and commit, as JSON."""
    rows = [{**dataclasses.asdict(row), "ratio": row.ratio, "met": row.met} for row in comparisons]
    about = {"cpu": _cpu(), "cores": available_threads(), "commit": git_commit(), "versions": _versions()}
    return (json.dumps({**about, "comparisons": rows}, indent=1) + "\n").encode()


def _versions() -> dict[str, str]:
    rivals = ("stable_baselines3", "envpool")
    installed = {name: version(name) for name in rivals if importlib.util.find_spec(name)}
    return {"python": platform.python_version(), **versions(), **installed}


def _cpu() -> str:
    with contextlib.suppress(OSError, StopIteration):
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        return next(line for line in lines if line.startswith("model name")).split(":", 1)[1].strip()
    return platform.processor() or platform.machine()


def describe_machine() -> str:
    """Return one line on the hardware and one on the versions."""
    packages = ", ".join(f"{name} {version}" for name, version in _versions().items())
    return f"{_cpu()}, {available_threads()} cores to use\n{packages}"
