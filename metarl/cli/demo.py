"""The demonstration: train and measure each agent of a folder of configs, and show how they adapt."""

from __future__ import annotations

import shutil
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from ..base.errors import MetarlError
from ..base.progress import say
from ..evaluation.evaluate import evaluate
from ..evaluation.figure import plot
from ..evaluation.record import Evaluation
from ..evaluation.table import table
from ..runs.run import Run, free_folder, load_run
from ..training.train import meta_train

NUM_TASKS = 40
"""Unseen tasks that each agent is measured on."""


def main(argv: Sequence[str] = ()) -> int:
    """Run the demonstration and return the exit status. Raises MetarlError where the configs are not to be found."""
    from ..runs.config import load_config
    from .parser import Parser

    parser = Parser(prog="metarl demo", description="Train and measure two agents in minutes.")
    parser.add_argument("--configs", type=Path, default=Path("configs/demo"), metavar="DIR", help="one run a config")
    parser.add_argument("--runs", type=Path, default=Path("runs"), metavar="DIR", help="folder of the run folders")
    arguments = parser.parse_args(argv)
    paths = sorted(arguments.configs.glob("*.yaml"))
    if not paths:
        raise MetarlError(
            f"{arguments.configs} holds no config; run it at the top of the repository, or give --configs"
        )
    began, shown = time.monotonic(), []
    for number, path in enumerate(paths, start=1):
        run_dir = free_folder(arguments.runs / f"demo-{path.stem}")
        say(f"\n[{number}/{len(paths)}] metarl train {path} --run-dir {run_dir}")
        meta_train(load_config(path), run_dir)
        run = load_run(run_dir)
        say(f"      metarl evaluate {run_dir}")
        shown.append((run, measured(run)))
    picture = arguments.runs / "demo.png"
    plot([evaluation for _, evaluation in shown], picture)
    say(
        f"\n{summary(shown)}\n  {picture}: all in one\n\nAll this took {(time.monotonic() - began) / 60:.1f} minutes. {hints(shown)}"
    )
    return 0


def measured(run: Run) -> Evaluation:
    """Return how a run's agent does in unseen tasks; numbers and picture go to the run folder."""
    config = run.config
    evaluation = evaluate(
        run.agent,
        run.family,
        agent_name=config.agent["name"],
        num_tasks=NUM_TASKS,
        rounds=config.rounds,
        replicas=config.replicas,
        threads=config.threads,
        trained=run.provenance,
    )
    evaluation.save(run.path / "evaluation.json")
    plot([evaluation], run.path / "adaptation.png")
    return evaluation


def summary(shown: Sequence[tuple[Run, Evaluation]]) -> str:
    """Return the tables, what they say, and where the pictures are."""
    tables = table([evaluation for _, evaluation in shown])
    verdicts = "\n".join(verdict(evaluation) for _, evaluation in shown)
    pictures = "\n".join(f"  {run.path / 'adaptation.png'}" for run, _ in shown)
    return f"{tables}\n\n{verdicts}\n\nPictures of these curves:\n{pictures}"


def verdict(evaluation: Evaluation) -> str:
    """Return what the gain of an evaluation tells, in a sentence."""
    low, high = evaluation.gain.interval
    steps = evaluation.env_steps[-2] if evaluation.rounds > 1 else 0
    after = f"after {steps:,.0f} environment steps in a task it had never seen"
    if low > 0:
        return f"{evaluation.agent} adapts: {after}, its return is higher (95 % interval above zero)."
    if high < 0:
        return f"{evaluation.agent} gets worse: {after}, its return is lower (95 % interval below zero)."
    return f"{evaluation.agent}: no difference can be told {after} (the 95 % interval holds zero)."


def hints(shown: Sequence[tuple[Run, Evaluation]]) -> str:
    """Return the next commands to try."""
    metarl = "metarl" if shutil.which("metarl") else sys.argv[0]
    commands = [
        f"{metarl} evaluate {run.path} --split extrapolation   # tasks outside the training range"
        for run, _ in shown
        if "extrapolation" in run.family.splits
    ]
    run = shown[0][0]
    commands += [
        f"{metarl} train {run.path / 'config.yaml'} num_updates={2 * run.config.num_updates} seed=2   # longer, anew",
        f"{metarl} families {run.family.name}   # what its tasks are",
        f"{metarl} agents   # what can be trained",
    ]
    return "Try next:\n" + "\n".join(f"  {command}" for command in commands)
