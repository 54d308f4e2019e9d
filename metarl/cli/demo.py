"""`metarl demo`: train and evaluate every config of a folder, and show how the agents adapt."""

from __future__ import annotations

import argparse
import shutil
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..base.errors import MetarlError
from ..base.terminal import shell_line
from .parser import add_command

if TYPE_CHECKING:
    from ..evaluation.record import Evaluation
    from ..runs.run import Run

CONFIGS = Path(__file__).with_name("demo_configs")
"""Configs of the demonstration. They are installed with the package, so that it runs in any folder."""
NUM_TASKS = 40
"""Unseen tasks in which each agent is evaluated."""


def add_parser(commands: Any) -> None:
    """Add the command."""
    parser = add_command(commands, "demo", run, "train and evaluate two agents in minutes")
    parser.add_argument(
        "--configs", type=Path, default=CONFIGS, metavar="DIR", help="folder of configs, one run each (default: two)"
    )
    parser.add_argument("--runs", type=Path, default=Path("runs"), metavar="DIR", help="folder for the run folders")


def run(arguments: argparse.Namespace) -> None:
    """Run the demonstration. Raises MetarlError if there are no configs."""
    from ..base.progress import say
    from ..evaluation.figure import plot
    from ..runs.config import load_config
    from ..runs.run import free_folder, load_run
    from ..training.train import meta_train

    paths = sorted(arguments.configs.glob("*.yaml"))
    if not paths:
        raise MetarlError(f"{arguments.configs} holds no config; give --configs a folder of configs, or leave it out")
    start, results = time.monotonic(), []
    for number, path in enumerate(paths, start=1):
        run_dir = free_folder(arguments.runs / f"demo-{path.stem}")
        command = shell_line(["metarl", "train", path, "--run-dir", run_dir])
        say(f"\n[{number}/{len(paths)}] {command}")
        meta_train(load_config(path), run_dir)
        trained = load_run(run_dir)
        say(f"      {shell_line(['metarl', 'evaluate', run_dir])}")
        results.append((trained, evaluate_run(trained)))
    picture = arguments.runs / "demo.png"
    plot([evaluation for _, evaluation in results], picture)
    minutes = (time.monotonic() - start) / 60
    took = f"The demonstration took {minutes:.1f} minutes."
    say(f"\n{summary(results)}\n  {picture}: all agents\n\n{took} {hints(results)}")


def evaluate_run(run: Run) -> Evaluation:
    """Return the evaluation of a run's agent in unseen tasks; write numbers and picture to the run folder."""
    from ..evaluation.evaluate import evaluate
    from ..evaluation.figure import plot
    from ..evaluation.record import AgentRecord
    from ..trials.plan import TrialPlan

    config = run.config
    plan = TrialPlan(num_tasks=NUM_TASKS, rounds=config.rounds, replicas=config.replicas)
    record = AgentRecord(config.agent["name"], trained=run.provenance)
    evaluation = evaluate(run.agent, run.family, plan, record=record, threads=config.threads)
    evaluation.save(run.path / "evaluation.json")
    plot([evaluation], run.path / "adaptation.png")
    return evaluation


def summary(results: Sequence[tuple[Run, Evaluation]]) -> str:
    """Return the tables, a verdict on each agent, and the paths of the pictures."""
    from ..evaluation.table import table

    tables = table([evaluation for _, evaluation in results])
    verdicts = "\n".join(verdict(evaluation) for _, evaluation in results)
    pictures = "\n".join(f"  {run.path / 'adaptation.png'}" for run, _ in results)
    return f"{tables}\n\n{verdicts}\n\nPictures of these curves:\n{pictures}"


def verdict(evaluation: Evaluation) -> str:
    """Return in a sentence whether the agent adapts."""
    low, high = evaluation.gain.interval
    steps = evaluation.env_steps[-2] if evaluation.rounds > 1 else 0
    after, name = f"after {steps:,.0f} environment steps in an unseen task", evaluation.agent.name
    if low > 0:
        return f"{name} adapts: {after}, its return is higher (95 % interval above zero)."
    if high < 0:
        return f"{name} gets worse: {after}, its return is lower (95 % interval below zero)."
    return f"{name} shows no difference {after} (the 95 % interval holds zero)."


def hints(results: Sequence[tuple[Run, Evaluation]]) -> str:
    """Return the next commands to try."""
    metarl = "metarl" if shutil.which("metarl") else Path(sys.argv[0])
    commands: list[tuple[list[object], str]] = [
        ([metarl, "evaluate", run.path, "--split", "extrapolation"], "tasks outside the training range")
        for run, _ in results
        if "extrapolation" in run.family.splits
    ]
    run = results[0][0]
    longer = f"num_updates={2 * run.config.num_updates}"
    commands += [
        ([metarl, "train", run.path / "config.yaml", longer, "seed=2"], "train longer"),
        ([metarl, "families", run.family.name], "the tasks of this family"),
        ([metarl, "agents"], "all agents"),
    ]
    return "Try next:\n" + "\n".join(f"  {shell_line(words)}   # {why}" for words, why in commands)
