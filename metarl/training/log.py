"""The log of a run: a folder with the config, the provenance and one line an update, and the loggers."""

from __future__ import annotations

import json
import os
import platform
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from ..base.errors import MetarlError
from ..base.files import keep_aside, path_inside, write_atomically
from ..base.progress import warn
from ..base.versions import git_commit, versions
from ..base.yaml_text import dump_yaml
from ..evaluation.figure import plot
from ..families.model_files import keep_models
from ..runs.code import record_code
from ..runs.config import TrainConfig, resolve
from ..runs.record import CONFIG, METRICS, PICTURE, PROVENANCE, read_sessions
from .claim import Claim, claim_folder
from .loggers import LOGGERS, Logger
from .repair import repair_metrics

if TYPE_CHECKING:
    from ..evaluation.record import Evaluation


class Origin(NamedTuple):
    """The checkpoint that a run starts from, and the cost of its training."""

    run: str
    """Folder of its run."""
    updates: int
    """Updates that it had made."""
    env_steps: int
    """Environment steps, with those of the runs that it started from."""
    minutes: float
    """Minutes of rollouts and updates, likewise."""
    taken: tuple[str, ...] = ()
    """Names of the tensors that were taken; none where the whole agent was."""


class RunLog:
    """Writes one run folder. Raises MetarlError while another process writes it."""

    def __init__(
        self,
        run_dir: str | Path | Claim,
        config: TrainConfig,
        *,
        updates: int = 0,
        origin: Origin | None = None,
    ) -> None:
        """Open the log of a run that has made `updates` updates; lines of later updates are dropped.

        The folder is claimed unless it is a claim already. `origin` is the checkpoint that a new run starts from.
        """
        self._claim = run_dir if isinstance(run_dir, Claim) else claim_folder([Path(run_dir)])
        self.run_dir = self._claim.run_dir
        self._metrics = self._claim.metrics
        try:
            self._loggers = self._begin(config, updates, origin)
        except BaseException:
            self._claim.release()
            raise

    def _begin(self, config: TrainConfig, updates: int, origin: Origin | None) -> list[Logger]:
        kept = repair_metrics(self._metrics, path_inside(self.run_dir, METRICS), updates)
        if len(kept) < updates:
            warn(f"{self.run_dir / METRICS} holds {len(kept)} of {updates} updates; the other lines are lost")
        keep_models(self.run_dir, config.family)
        imports = record_code(self.run_dir, config.family["name"], config.agent["name"])
        # With the modules that the run needs, so that a new training by this file is the same.
        content = {**({"imports": imports} if imports else {}), **resolve(config)}
        write_atomically(path_inside(self.run_dir, CONFIG), dump_yaml(content).encode())
        _add_session(self.run_dir, updates, origin)
        rows = [json.loads(line) for line in kept]
        made: list[Logger] = []
        try:
            for name in config.log.to:
                made.append(LOGGERS[name](self.run_dir, config, rows))
        except BaseException:
            for logger in made:
                logger.finish(False)
            raise
        return made

    def write(self, metrics: Mapping[str, float | int]) -> None:
        """Append one line, `update` and `env_steps` first, and send it to W&B. Raises OSError on a full disk."""
        first = {name: metrics[name] for name in ("update", "env_steps")}
        _write(self._metrics, json.dumps({**first, **metrics}, allow_nan=False).encode() + b"\n")
        for logger in self._loggers:
            logger.log(metrics)

    def sync(self) -> None:
        """Flush all lines to disk. A checkpoint relies on them, so it is written afterwards."""
        os.fsync(self._metrics)

    def summarize(self, evaluation: Evaluation, env_steps: int) -> None:
        """Write the adaptation curve to validation.png and send it to W&B with the final tables."""
        picture = path_inside(self.run_dir, PICTURE)
        plot([evaluation], picture)
        for logger in self._loggers:
            logger.summarize(evaluation, env_steps, picture)

    def close(self, *, completed: bool) -> None:
        """Close the file and the W&B run. Without `completed`, W&B marks the run as crashed."""
        for logger in self._loggers:
            logger.finish(completed)
        self._claim.release()


def _write(descriptor: int, data: bytes) -> None:
    # Unbuffered: a buffer that cannot be written would raise a second time when the file is closed.
    while data:
        data = data[os.write(descriptor, data) :]


def _add_session(run_dir: Path, updates: int, origin: Origin | None) -> None:
    """Add a session to the file: the versions, command and machine of this process. A resumed run has several."""
    path, sessions = path_inside(run_dir, PROVENANCE), []
    if path.exists() and updates:
        try:
            sessions = read_sessions(run_dir)
        except MetarlError:  # cut off by a full disk, say: the run goes on
            aside = keep_aside(path, "damaged")
            warn(f"{path} is damaged: its earlier sessions are lost; the file is kept as {aside.name}")
    session = {
        "first_update": updates,
        "versions": versions(),
        "git_commit": git_commit(),
        "command": sys.argv,
        "python": platform.python_version(),
        "platform": platform.platform(),
        "num_cores": os.cpu_count(),
        **({} if origin is None else {"started_from": origin._asdict()}),
    }
    write_atomically(path, (json.dumps({"sessions": [*sessions, session]}, indent=2) + "\n").encode())
