"""`python -m tests.fuzz.memory`: memory, file descriptors and threads of one process over updates and evaluations."""

from __future__ import annotations

import argparse
import contextlib
import csv
import gc
import os
import tempfile
import threading
from pathlib import Path

import numpy as np

from metarl.evaluation.evaluate import evaluate
from metarl.runs.run import load_run
from metarl.training.train import meta_train
from tests.fuzz.planted import IN_A_PROCESS, planted
from tests.small_runs import configured

COLUMNS = ("call", "resident_mib", "descriptors", "threads")


def usage() -> tuple[float, int, int]:
    """Return the resident memory of this process in MiB, its open file descriptors and its threads."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20, len(os.listdir("/proc/self/fd")), threading.active_count()  # noqa: PTH208


def watch(updates: int, evaluations: int, agent: str, step: int) -> list[tuple[int, float, int, int]]:
    """Train `updates` updates in runs of `step`, evaluate `evaluations` times, and return the usage after each part."""
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        run = Path(folder, "run")
        for made in range(step, updates + 1, step):
            meta_train(
                configured(agent, num_updates=made, evaluation={"every": 10, "num_tasks": 2}),
                run,
                resume=made > step,
                progress=False,
            )
            gc.collect()
            rows.append((made, *usage()))
        loaded = load_run(run)
        for made in range(1, evaluations + 1):
            evaluate(loaded.agent, loaded.family, num_tasks=2, rounds=2, replicas=2)
            if made % step == 0:
                gc.collect()
                rows.append((updates + made, *usage()))
    return rows


def growth(rows: list[tuple[int, float, int, int]]) -> tuple[float, int, int]:
    """Return by how much the last fifth exceeds the second: MiB of the median, and the most descriptors and threads."""
    fifth = len(rows) // 5
    early, late = np.array(rows[fifth : 2 * fifth]), np.array(rows[-fifth:])
    return (
        float(np.median(late[:, 1]) - np.median(early[:, 1])),
        int(late[:, 2].max() - early[:, 2].max()),
        int(late[:, 3].max() - early[:, 3].max()),
    )


def main() -> None:
    """Write memory.csv and memory.png to a folder, and print the growth."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--updates", type=int, default=1000)
    parser.add_argument("--evaluations", type=int, default=500)
    parser.add_argument("--agent", default="rl2", choices=("rl2", "maml-ppo"))
    parser.add_argument("--out", type=Path, default=Path(), help="folder of memory.csv and memory.png")
    parser.add_argument("--bug", choices=sorted(IN_A_PROCESS), help="put this bug in")
    arguments = parser.parse_args()
    step = max(arguments.updates // 50, 2)
    with planted(IN_A_PROCESS[arguments.bug]) if arguments.bug else contextlib.nullcontext():
        rows = watch(arguments.updates, arguments.evaluations, arguments.agent, step)
    with (arguments.out / "memory.csv").open("w", newline="") as file:
        csv.writer(file).writerows([COLUMNS, *rows])
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(3, sharex=True, figsize=(7, 6), layout="constrained")
    for axis, name, column in zip(axes, COLUMNS[1:], np.array(rows).T[1:], strict=True):
        axis.plot([row[0] for row in rows], column)
        axis.set(ylabel=name, ylim=(0, None))
        axis.axvline(arguments.updates, color="grey", lw=0.5)
    axes[-1].set_xlabel(f"updates, then evaluations after {arguments.updates}")
    figure.savefig(arguments.out / "memory.png", dpi=100)
    print("growth: {:+.1f} MiB, {:+d} descriptors, {:+d} threads".format(*growth(rows)))


if __name__ == "__main__":
    main()
