"""Folders of runs with known returns, for the tests of reports."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from metarl.base.yaml_text import dump_yaml
from metarl.evaluation.record import AgentRecord, Evaluation
from metarl.families.load import load
from metarl.report.about import About
from metarl.report.groups import group_runs
from metarl.report.markdown import markdown
from metarl.report.runs import read_run
from metarl.runs.config import load_config, resolve
from metarl.trials.plan import TrialPlan
from tests.scripted import altered
from tests.small_runs import write_config

TASKS, ROUNDS = 8, 2


def run_folder(
    folder: Path,
    returns: np.ndarray,
    *,
    seed: int = 0,
    tasks_seed: int = 0,
    lines: int = 4,
    family: dict[str, Any] | None = None,
    more_words: Sequence[str] = (),
    torch: str = "2.0",
    **evaluated: Any,
) -> Path:
    """Write the folder of a run whose evaluation has `returns` [task, round]."""
    folder.mkdir(parents=True)
    changes = {} if family is None else {"family": family}
    config = resolve(load_config(write_config(folder, seed=seed, **changes)))
    (folder / "config.yaml").write_text(dump_yaml(config))
    _write_training(folder, seed, lines, more_words, torch)
    made = load(config["family"]["name"], **{k: v for k, v in config["family"].items() if k != "name"})
    plan = TrialPlan(num_tasks=len(returns), rounds=returns.shape[1], replicas=2, seed=tasks_seed)
    usual = Evaluation(
        family=made.name,
        settings=made.settings,
        agent=AgentRecord("maml-ppo"),
        plan=plan,
        tasks=plan.tasks(made),
        returns=returns,
        successes=None,
        env_steps_per_task=np.tile(10.0 * np.arange(1, plan.rounds + 1), (len(returns), 1)),
        unseen=True,
        versions={"mujoco": "3.3", "torch": torch},
        commit="fedcba9876543210",
    )
    altered(usual, **evaluated).save(folder / "evaluation.json")
    return folder


def _write_training(folder: Path, seed: int, lines: int, more_words: Sequence[str], torch: str) -> None:
    """Write the metrics of `lines` updates, and one session."""
    metrics = [
        {
            "update": i,
            "env_steps": 600 * (i + 1),
            "time/steps_per_second": 10.0,
            "validation/return_before": -2.0,
            "validation/return_after": float(i),
        }
        for i in range(lines)
    ]
    (folder / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in metrics))
    command = ["/somewhere/bin/metarl", "train", "configs/a.yaml", "--seed", str(seed), "--run-dir", str(folder)]
    session = {
        "command": [*command, *more_words],
        "git_commit": "0123456789abcdef",
        "versions": {"mujoco": "3.3", "torch": torch},
    }
    (folder / "run.json").write_text(json.dumps({"sessions": [session]}))


def scores(seed: int) -> np.ndarray:
    return np.random.default_rng(seed).normal(10 * np.arange(ROUNDS), 3.0, (TASKS, ROUNDS))


def three_seeds(tmp_path: Path) -> list[Path]:
    return [run_folder(tmp_path / f"s{seed}", scores(seed), seed=seed) for seed in (1, 2, 3)]


def skewed(seed: int, level: float = 0.0) -> np.ndarray:
    """Return scores whose mean and interquartile mean lie far apart. [task, round]"""
    return level + np.random.default_rng(seed).exponential(4.0, (TASKS, ROUNDS)) ** 2


def write_reference(run: Path, agent: str = "random", file: str | None = None, **changes: Any) -> Path:
    """Write a reference's evaluation into the folder of a run, in the run's tasks, and return its file."""
    path = run / (file or f"evaluation-{agent}.json")
    altered(Evaluation.load(run / "evaluation.json"), agent=agent, trained=None, **changes).save(path)
    return path


def write_variant(run: Path, returns: np.ndarray, **settings: Any) -> None:
    own = Evaluation.load(run / "evaluation.json")
    altered(own, returns=returns, agent_settings=settings).save(run / "evaluation-variant.json")


def write_other_split(run: Path, split: str, returns: np.ndarray, **changes: Any) -> None:
    """Write the evaluation of the run's agent in tasks of another split."""
    tasks = load("navigation-2d").sample(split, len(returns), seed=0)
    steps = np.tile(10.0 * np.arange(1, returns.shape[1] + 1), (len(returns), 1))
    about = {"split": split, "tasks": tasks, "returns": returns, "env_steps_per_task": steps, **changes}
    altered(Evaluation.load(run / "evaluation.json"), **about).save(run / f"evaluation-{split}.json")


def scaled_groups(folder: Path, returns: np.ndarray) -> list[Any]:
    """Return the groups of a run, of a random agent with return -10 in each round, and of an oracle with return 10."""
    run = run_folder(folder, returns)
    write_reference(run, "random", returns=np.full_like(returns, -10.0))
    write_reference(run, "oracle", returns=np.full_like(returns, 10.0))
    return group_runs([read_run(run)])


def page(paths: Sequence[Path]) -> str:
    groups = group_runs([read_run(path) for path in paths])
    return markdown(groups, About("metarl report", "Title", ["A note."]), {"what": "picture.png"})
