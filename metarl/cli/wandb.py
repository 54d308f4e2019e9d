"""Evaluations and videos as W&B runs, in one group with the run's training."""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from ..evaluation.figure import plot
from ..training.wandb import Job, WandbLog

if TYPE_CHECKING:
    from ..evaluation.record import Evaluation
    from ..runs.config import TrainConfig
    from ..trials.plan import TrialPlan
    from .resolve import ResolvedAgent


def log_evaluation(resolved: ResolvedAgent, config: TrainConfig, evaluation: Evaluation, picture: Path) -> None:
    """Log an evaluation and its picture, and the video of the same agent and trials if the run folder has one."""
    plan = evaluation.plan
    films = [resolved.result("adaptation", plan, ending) for ending in (".mp4", ".gif")]
    with _open_log(resolved, config, plan, "evaluate") as log, tempfile.TemporaryDirectory() as folder:
        if picture.suffix.lower() != ".png":  # W&B shows pixels only
            picture = Path(folder) / "adaptation.png"
            plot([evaluation], picture)
        log.summarize(evaluation, _env_steps(resolved), picture)
        for film in films:
            if film.exists():
                log.show(film, _env_steps(resolved))
                break


def log_video(resolved: ResolvedAgent, config: TrainConfig, plan: TrialPlan, video: Path) -> None:
    """Log a video."""
    with _open_log(resolved, config, plan, "render") as log:
        log.show(video, _env_steps(resolved))


def _env_steps(resolved: ResolvedAgent) -> int:
    """Return the environment steps that the agent was trained for, which place it on W&B's x axis."""
    trained = resolved.record.trained
    return 0 if trained is None else int(trained["training_env_steps"])


@contextlib.contextmanager
def _open_log(
    resolved: ResolvedAgent, config: TrainConfig, plan: TrialPlan, kind: Literal["evaluate", "render"]
) -> Iterator[WandbLog]:
    """Open a W&B run in the group of the agent. The W&B run of the training is not touched."""
    # The user asked for this log, so a training without W&B does not forbid it; WANDB_MODE=disabled does.
    wandb = config.log.wandb
    wandb = wandb.model_copy(update={"mode": None if wandb.mode == "disabled" else wandb.mode})
    config = config.model_copy(update={"log": config.log.model_copy(update={"wandb": wandb})})
    name = resolved.choice.name
    job = Job(kind, name, resolved.suffix(plan), {"played": _description(resolved, plan)})
    log = WandbLog(resolved.choice.run_dir, config, job)
    done = False
    try:
        yield log
        done = True
    finally:
        log.finish(completed=done)


def _description(resolved: ResolvedAgent, plan: TrialPlan) -> dict[str, Any]:
    choice = resolved.choice
    about: dict[str, Any] = {"split": plan.split, "seed": plan.seed, "checkpoint": choice.checkpoint or "best"}
    if resolved.record.settings:
        about["agent_settings"] = dict(resolved.record.settings)
    if plan.deterministic:
        about["deterministic"] = True
    return about if choice.name is None else {**about, "agent": choice.name, "checkpoint": None}
