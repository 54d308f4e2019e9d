"""What is measured and filmed of a run after its training, as W&B runs of their own beside the training's."""

from __future__ import annotations

import argparse
import contextlib
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from ..evaluation.figure import plot
from ..training.wandb import Job, WandbLog
from .playing import Played, result_suffix

if TYPE_CHECKING:
    from ..evaluation.record import Evaluation
    from ..runs.config import TrainConfig


def log_evaluation(
    arguments: argparse.Namespace,
    config: TrainConfig,
    played: Played,
    evaluation: Evaluation,
    picture: Path,
) -> None:
    """Log what `metarl evaluate` measured and drew, and the video of the same agent and split where there is one."""
    video = Path(arguments.run) / f"adaptation{result_suffix(arguments, played.agent_settings)}"
    with _logged(arguments, config, played, "evaluate") as log, tempfile.TemporaryDirectory() as folder:
        if picture.suffix.lower() != ".png":  # W&B shows pixels only
            picture = Path(folder) / "adaptation.png"
            plot([evaluation], picture)
        log.summarize(evaluation, _env_steps(played.trained), picture)
        for film in (video.with_suffix(".mp4"), video.with_suffix(".gif")):
            if film.exists():
                log.show(film, _env_steps(played.trained))
                break


def log_video(arguments: argparse.Namespace, config: TrainConfig, played: Played, video: Path) -> None:
    """Log what `metarl render` filmed."""
    with _logged(arguments, config, played, "render") as log:
        log.show(video, _env_steps(played.trained))


def _env_steps(trained: Mapping[str, Any] | None) -> int:
    """Return where on the x axis of the training the agent was; 0 for one that was not trained."""
    return 0 if trained is None else int(trained["training_env_steps"])


@contextlib.contextmanager
def _logged(
    arguments: argparse.Namespace, config: TrainConfig, played: Played, kind: Literal["evaluate", "render"]
) -> Iterator[WandbLog]:
    """Open a W&B run in the group of the agent that played; the training's own is left as it is, uploaded or not."""
    # Asked for by name, so a training without W&B does not forbid it; WANDB_MODE=disabled does.
    mode = None if config.wandb.mode == "disabled" else config.wandb.mode
    config = config.model_copy(update={"wandb": config.wandb.model_copy(update={"mode": mode})})
    about = {"split": arguments.split, "seed": arguments.seed, "checkpoint": arguments.checkpoint or "best"}
    if played.agent_settings:
        about["agent_settings"] = dict(played.agent_settings)
    if getattr(arguments, "deterministic", False):
        about["deterministic"] = True
    if arguments.agent is not None:
        about |= {"agent": arguments.agent, "checkpoint": None}
    suffix = result_suffix(arguments, played.agent_settings)
    log = WandbLog(Path(arguments.run), config, Job(kind, arguments.agent, suffix, {"played": about}))
    done = False
    try:
        yield log
        done = True
    finally:
        log.finish(completed=done)
