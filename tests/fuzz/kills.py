"""`python -m tests.fuzz.kills --count 40`: end trainings at random moments, and compare with undisturbed ones."""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import json
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from metarl.runs import checkpoint
from tests.small_runs import command, config
from tests.warm import WarmProcess, warm_python

AGENTS: dict[str, dict[str, Any]] = {
    "maml-ppo": {"name": "maml-ppo", "hidden_sizes": [8], "outer": {"num_epochs": 2}},
    "rl2": {"name": "rl2", "memory": {"name": "gru", "hidden_size": 8}, "ppo": {"num_epochs": 2, "num_minibatches": 2}},
    "maml-trpo": {"name": "maml-trpo", "hidden_sizes": [8]},
    "sb3-ppo": {"name": "sb3-ppo"},
}
"""Agents whose trainings are ended."""

UPDATES, EVERY = 40, 10
"""Updates of a training, and updates between its checkpoints: those in between are what a kill may cost."""

SIGNALS = {"INT": signal.SIGINT, "TERM": signal.SIGTERM, "KILL": signal.SIGKILL}


@dataclass
class Tally:
    """What the kills of one agent came to."""

    kills: Counter[str] = field(default_factory=Counter)
    """Kills by signal."""
    differing: int = 0
    """Files that differ, once the run is finished, from those of an undisturbed run."""
    lost: int = 0
    """Updates that were made and had to be made again, after INT and TERM."""
    failures: int = 0
    """Ends with another status than the signal's, and resumes that failed."""
    wrong: list[str] = field(default_factory=list)
    """What was wrong, in words."""

    def complain(self, text: str) -> None:
        """Count a failure."""
        self.failures += 1
        self.wrong.append(text)


def settings(agent: str) -> dict[str, Any]:
    """Return the config of a training of a few seconds."""
    changes = {"num_updates": UPDATES, "checkpoint_every": EVERY, "evaluation": {"every": 7, "num_tasks": 2}}
    return {**config(**changes), "agent": AGENTS[agent]}


def fingerprint(run_dir: Path) -> dict[str, str]:
    """Return hashes of what a run has learned, and its metrics without times."""
    found = {
        name: hashlib.sha256((run_dir / name).read_bytes()).hexdigest()
        for name in ("last.safetensors", "best.safetensors")
    }
    lines = [json.loads(line) for line in (run_dir / "metrics.jsonl").read_text().splitlines()]
    bare = [{key: value for key, value in line.items() if not key.startswith("time/")} for line in lines]
    return {**found, "metrics": json.dumps(bare, sort_keys=True)}


def progress_of(run_dir: Path) -> tuple[int, int]:
    """Return the updates in a run's metrics, and those in its last checkpoint."""
    metrics, last = run_dir / "metrics.jsonl", run_dir / "last.safetensors"
    logged = metrics.read_bytes().count(b"\n") if metrics.exists() else 0
    return logged, checkpoint.load(last)[1].update if last.exists() else 0


LIMITED = """
import resource, signal, sys
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv.pop(1)),) * 2)
from metarl.cli.main import main
sys.exit(main())
"""


def limit_files(argv: list[str], size: int) -> list[str]:
    """Return a command whose files cannot grow beyond `size` bytes: a full disk."""
    return [argv[0], "-c", LIMITED, str(size), *argv[3:]]


def end_by(argv: list[str], number: signal.Signals | None, seconds: float) -> tuple[int, str]:
    """Start a command, send it a signal after some seconds, and return its status and standard error."""
    process = WarmProcess([warm_python(), *argv[1:]], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(seconds)
    if process.poll() is None and number is not None:
        process.send_signal(number)
    errors = process.communicate(timeout=120)[1]
    return process.returncode, errors


def finish(run_dir: Path) -> int:
    """Resume a run to its end and return the status."""
    words = command("train", "--resume", run_dir, python=warm_python())
    return subprocess.run(words, capture_output=True, timeout=300, check=False).returncode


def torment(agent: str, count: int, rng: random.Random, folder: Path, *, bug: str = "") -> Tally:
    """End trainings of an agent `count` times, at random moments, and return the tally.

    `bug` is the name of a bug of `tests.fuzz.planted` to put into the trainings that are ended.
    """
    path = folder / f"{agent}.yaml"
    path.write_text(yaml.safe_dump(settings(agent)))
    began = time.monotonic()
    whole = folder / f"{agent}-whole"
    assert end_by(command("train", path, "--run-dir", whole), None, 300)[0] == 0
    length, right = time.monotonic() - began, fingerprint(whole)
    tally, number = Tally(), 0
    while sum(tally.kills.values()) < count:
        run_dir, number = folder / f"{agent}-{number}", number + 1
        _end_repeatedly(path, run_dir, lambda: rng.uniform(0, length), rng, tally, count, bug)
        if not (run_dir / "config.yaml").exists():
            continue
        if finish(run_dir):
            tally.complain(f"{agent}: the resume failed")
        elif (found := fingerprint(run_dir)) != right:
            differing = [key for key in right if found[key] != right[key]]
            tally.differing += len(differing)
            tally.wrong.append(f"{agent}: {differing} differ")
    return tally


def _end_repeatedly(
    path: Path, run_dir: Path, wait: Callable[[], float], rng: random.Random, tally: Tally, count: int, bug: str
) -> None:
    """Start a training and resume it, ended by a signal each time, until it is finished or the tally is full."""
    begin = command("train", path, "--run-dir", run_dir)
    argv = [sys.executable, "-m", "tests.fuzz.planted", bug, *begin[3:]] if bug else begin
    while sum(tally.kills.values()) < count:
        name, before = rng.choice(list(SIGNALS)), progress_of(run_dir)
        status, errors = end_by(argv, SIGNALS[name], wait())
        if status == 0:
            return
        tally.kills[name] += 1
        expected = -SIGNALS[name] if name == "KILL" else 128 + SIGNALS[name]
        # A signal that comes while Python still imports ends the process as the system does, and costs nothing.
        if status != expected and not (status == -SIGNALS[name] and not errors):
            tally.complain(f"{name}: status {status}, {errors[-300:]!r}")
        logged, saved = progress_of(run_dir)
        if name != "KILL" and (logged, saved) != before and logged > saved:
            tally.lost += logged - saved
            tally.wrong.append(f"{name}: {logged - saved} updates lost, {errors[-300:]!r}")
        argv = command("train", "--resume", run_dir) if (run_dir / "config.yaml").exists() else begin


def main() -> None:
    """Print a row for each agent."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=40, help="kills of each agent")
    parser.add_argument("--agent", choices=sorted(AGENTS), action="append")
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    print(
        f"{'agent':<12}{'INT':>6}{'TERM':>6}{'KILL':>6}{'differing files':>17}{'lost updates':>14}{'wrong ends':>12}",
        flush=True,
    )
    complaints: list[str] = []
    for agent in arguments.agent or AGENTS:
        with tempfile.TemporaryDirectory() as folder:
            tally = torment(agent, arguments.count, random.Random(arguments.seed), Path(folder))
        kills = "".join(f"{tally.kills[name]:>6}" for name in SIGNALS)
        print(f"{agent:<12}{kills}{tally.differing:>17}{tally.lost:>14}{tally.failures:>12}", flush=True)
        complaints += [f"{agent}: {each}" for each in tally.wrong]
    print("\n".join(complaints))


if __name__ == "__main__":
    main()
