"""Weights & Biases, kept at arm's length: it never asks, never blocks for long, and never stops a training run."""

from __future__ import annotations

import netrc
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import urlsplit

from .config import TrainConfig, WandbConfig, resolved

if TYPE_CHECKING:
    from wandb import Run

INIT_TIMEOUT = 20.0
"""Seconds that the server may take to answer at the beginning."""
FINISH_TIMEOUT = 60.0
"""Seconds that the last uploads may take."""

T = TypeVar("T")


class WandbLog:
    """Mirrors a run's metrics to W&B. After the first error it says so in one line and falls silent."""

    def __init__(self, run_dir: Path, config: TrainConfig) -> None:
        self._run: Run | None = None
        self._lent: dict[str, str] = {}
        mode = chosen_mode(config.wandb)
        if mode == "disabled":
            return
        self._borrow_environment(run_dir)
        self._run = self._begun(run_dir, config, mode)

    def _borrow_environment(self, run_dir: Path) -> None:
        # Without these W&B stages files in the home directory. Given back in `finish`, for the next run's own folder.
        for name in ("DATA", "CACHE"):
            variable, folder = f"WANDB_{name}_DIR", str((run_dir / "wandb" / name.lower()).resolve())
            if variable not in os.environ:
                os.environ[variable] = self._lent[variable] = folder

    def _begun(self, run_dir: Path, config: TrainConfig, mode: str) -> Run | None:
        try:
            return _init(run_dir, config, mode)
        except Exception as error:  # whatever W&B raises, training goes on
            if mode == "offline":
                _warn(f"W&B is off: {_line(error)}; metrics go to metrics.jsonl alone")
                return None
            _warn(f"W&B cannot be reached: {_line(error)}; logging offline, to be uploaded with `wandb sync`")
            return self._begun(run_dir, config, "offline")

    def log(self, metrics: Mapping[str, Any]) -> None:
        """Log the numbers of one update; `env_steps` among them is the x axis."""
        self._attempt(lambda run: run.log(dict(metrics)))

    def summarize(self, env_steps: int, picture: Path, columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> None:
        """Log the adaptation curve as a picture and the final table."""

        def send(run: Run) -> None:
            import wandb

            table = wandb.Table(columns=list(columns), data=[list(row) for row in rows])
            run.log({"env_steps": env_steps, "adaptation_curve": wandb.Image(str(picture)), "adaptation": table})

        self._attempt(send)

    def finish(self, completed: bool) -> None:
        """End the W&B run; one that is not `completed` is marked as crashed."""
        self._attempt(lambda run: run.finish(exit_code=0 if completed else 1))
        self._run = None
        for variable in self._lent:
            os.environ.pop(variable, None)
        self._lent.clear()

    def _attempt(self, action: Callable[[Run], T]) -> None:
        if self._run is None:
            return
        try:
            action(self._run)
        except Exception as error:  # an outage, a full disk, a crashed W&B service: training goes on
            self._run = None
            _warn(f"W&B stopped: {_line(error)}; metrics go to metrics.jsonl alone")


def chosen_mode(config: WandbConfig) -> str:
    """Return 'online', 'offline' or 'disabled': what the config says, else WANDB_MODE, else online where a key is set.

    Online without a key becomes offline, with a warning: W&B would ask for one and wait.
    """
    key = _has_key()
    mode = config.mode or os.environ.get("WANDB_MODE") or ("online" if key else "offline")
    if mode == "online" and not key:
        _warn("W&B has no key (WANDB_API_KEY or `wandb login`); logging offline, to be uploaded with `wandb sync`")
        return "offline"
    return mode


def _has_key() -> bool:
    if os.environ.get("WANDB_API_KEY"):
        return True
    path = Path(os.environ.get("NETRC") or Path.home() / ".netrc")
    try:
        return not _hosts().isdisjoint(netrc.netrc(path).hosts) if path.exists() else False
    except (OSError, netrc.NetrcParseError):
        return False


def _hosts() -> set[str]:
    """Return the names under which the key may stand; W&B's own server has gone by more than one."""
    import wandb

    own = os.environ.get("WANDB_BASE_URL")
    return {urlsplit(url).netloc for url in ([own] if own else [wandb.Settings().base_url, "https://api.wandb.ai"])}


def _init(run_dir: Path, config: TrainConfig, mode: str) -> Run:
    import wandb

    settings = wandb.Settings(
        init_timeout=INIT_TIMEOUT,
        login_timeout=INIT_TIMEOUT,
        finish_timeout=FINISH_TIMEOUT,
        silent=True,
        console="off",
        disable_code=True,
    )
    run = wandb.init(
        mode=mode,  # type: ignore[arg-type]  # WANDB_MODE may hold anything; wandb says what is wrong
        dir=run_dir,
        name=run_dir.resolve().name,
        config=resolved(config),
        project=config.wandb.project,
        entity=config.wandb.entity,
        group=config.wandb.group,
        tags=config.wandb.tags,
        settings=settings,
    )
    run.define_metric("*", step_metric="env_steps")
    return run


def _line(error: Exception) -> str:
    return f"{type(error).__name__}: {error}".split("\n", 1)[0]


def _warn(message: str) -> None:
    sys.stderr.write(f"metarl: warning: {message}\n")
