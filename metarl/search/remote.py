"""A trial in a process of Ray: it keeps what it has in its folder, from where it goes on and the study reads it."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from ..base.errors import MetarlError
from ..base.files import write_atomically
from .hyperopt import value_at
from .plan import Plan
from .samplers import distribution
from .space import Label
from .trial import POLL_SECONDS, Done, play

STATE = "trial.json"
"""File in a trial's folder."""
SCORE, STEPS = "score", "env_steps"
"""What a trial reports to Ray."""


@dataclass
class Remote:
    """What a trial has so far."""

    params: dict[str, Label]
    """Its settings."""
    began: float = field(default_factory=time.time)
    """Seconds of the clock when it began, by which trials are ordered."""
    scores: list[float] = field(default_factory=list)
    """Score of each seed that is finished."""
    env_steps: list[int] = field(default_factory=list)
    """Environment steps of each seed."""
    curve: dict[str, float] = field(default_factory=dict)
    """Running mean of the scores by environment steps."""
    state: str = "PRUNED"
    """Name of Optuna's state. Whom Ray ends early can say nothing more, so this is what a trial begins with."""
    error: str = ""
    """Line of the error of a trial that failed."""
    seconds: float = 0.0
    """Seconds since it began."""

    @property
    def score(self) -> float:
        """Mean over the seeds that are finished."""
        return sum(self.scores) / len(self.scores)

    @property
    def attributes(self) -> dict[str, Any]:
        """Attributes of the trial in a study."""
        # Of a trial that Ray ended, the steps of the seed in progress are known by its curve.
        rest = max(map(int, self.curve), default=0) - sum(self.env_steps)
        steps = [*self.env_steps, rest] if rest > 0 else self.env_steps
        told = {"error": self.error} if self.error else {}
        return {"scores": self.scores, "env_steps": steps, "seconds": self.seconds, **told}

    def save(self, folder: Path) -> None:
        """Write it into the trial's folder."""
        self.seconds = time.time() - self.began
        write_atomically(folder / STATE, json.dumps(asdict(self)).encode())


def load_remote(folder: Path) -> Remote | None:
    """Return what the trial in a folder has, None if it has not begun."""
    path = folder / STATE
    return Remote(**json.loads(path.read_text(encoding="utf-8"))) if path.is_file() else None


def labels_of(plan: Plan, point: Mapping[str, Any]) -> dict[str, Label]:
    """Return the settings of a point that Ray's searchers chose; Hyperopt's has places on its scale."""
    labels = {each.key: point[each.key] for each in plan.space}
    if plan.sampler == "hyperopt":
        labels = {each.key: value_at(labels[each.key], distribution(each)) for each in plan.space}
    return labels


def folder_of(plan: Plan, name: str, params: Mapping[str, Label]) -> Path:
    """Return the folder of a trial. Ray may give a name again to another trial, after a kill before it was noted."""
    while (found := load_remote(plan.folder / "trials" / name)) is not None and found.params != params:
        name += "-again"
    return plan.folder / "trials" / name


def run_remote(point: dict[str, Any], *, plan: Plan, home: str) -> None:
    """Play a trial as Ray Tune's function: report the running mean of the scores, and return when it is finished.

    `home` is the folder that the study was begun in. Raises MetarlError for a trial that fails.
    """
    from ray import tune

    os.chdir(home)
    labels = labels_of(plan, point)
    folder = folder_of(plan, tune.get_context().get_trial_id(), labels)
    remote = load_remote(folder) or Remote(labels)
    done = Done(remote.scores, remote.env_steps)

    def report(env_steps: int, score: float) -> bool:
        remote.curve[str(env_steps)] = score
        remote.save(folder)
        tune.report({SCORE: score, STEPS: env_steps})
        return False  # Ray ends the process

    def finished(done: Done) -> None:
        remote.save(folder)

    remote.save(folder)
    try:
        jobs = plan.jobs_in(folder, labels)
        for _ in play(jobs, done, report, finished, plan.metarl):
            time.sleep(POLL_SECONDS)
    except MetarlError as error:
        remote.state, remote.error = "FAIL", str(error)
        remote.save(folder)
        raise
    remote.state = "COMPLETE"
    remote.save(folder)
    tune.report({SCORE: done.score, STEPS: sum(done.env_steps)})
