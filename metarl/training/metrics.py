"""The metrics of an update: returns of a trial and of a validation, and where the time went."""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np

from ..base.errors import MetarlError
from ..base.ranks import Exchanged, ranks
from ..base.stopwatch import Stopwatch
from ..evaluation.record import Evaluation
from ..evaluation.statistics import iqm
from ..families.task import Measure
from ..trials.episodes import Trial


def time_shares(stopwatch: Stopwatch, env_steps: int, before: Exchanged) -> dict[str, float]:
    """Return the share of each part in the time of an update, and the environment steps per second of training.

    Of ranks also the exchanges since those `before`: their number, bytes and share, the wait for slower ranks included.
    """
    seconds, total = stopwatch.seconds, stopwatch.total
    adaptation = seconds.get("adaptation", 0.0)
    parts = {
        "rollout": seconds["trial"] - adaptation,
        "adaptation": adaptation,
        "update": seconds["update"],
        "evaluation": seconds.get("evaluation", 0.0),
    }
    # Without the steps and the time of evaluations.
    rate = env_steps / (seconds["trial"] + seconds["update"])
    exchanges: dict[str, float] = {}
    if ranks().size > 1:
        times, num_bytes, parts["exchange"] = (b - a for a, b in zip(before, ranks().exchanged, strict=True))
        exchanges = {"ranks/exchanges": times, "ranks/exchanged_bytes": num_bytes}
    shares = {f"time/{name}_share": spent / total for name, spent in parts.items()}
    return {"time/steps_per_second": rate, **shares, **exchanges}


def validation_score(evaluation: Evaluation, by: str) -> float:
    """Return the score that selects the best checkpoint: the IQM of the last round or of the whole trial."""
    return float(iqm(evaluation.totals) if by == "trial" else evaluation.iqm[-1])


UNSTABLE = "unstable_episodes"
"""Metric of the number of episodes in which the physics broke down."""
RETURNS = ("return_before", "return_after")
"""Metrics of the first and of the last round of a trial, which the progress shows."""


def trial_returns(trial: Trial, measure: Measure, learned: dict[str, float]) -> dict[str, float]:
    """Return the mean score of each round of a trial, of its first and its last.

    Of a trial without answers they are those that the update measured, which are taken out of `learned`. Raises
    MetarlError where it did not.
    """
    if not trial.answered:
        if missing := [name for name in RETURNS if name not in learned]:
            raise MetarlError(f"update logs no {missing[0]!r}; an agent without answers in training measures it")
        return {name: learned.pop(name) for name in RETURNS}
    by_round = trial.scores(measure).mean(axis=(1, 2))
    returns = dict(zip(RETURNS, (float(by_round[0]), float(by_round[-1])), strict=True))
    returns |= {f"return_round/{number}": float(value) for number, value in enumerate(by_round, start=1)}
    # Only for families with physics, which can break down.
    knows = trial.rounds[0].unstable is not None
    return {**returns, UNSTABLE: float(trial.num_unstable)} if knows else returns


def validation_returns(evaluation: Evaluation) -> dict[str, float]:
    """Return the metrics of a validation: returns before and after adaptation, their gain, the return of all rounds."""
    returns = {
        "validation/return_before": float(evaluation.iqm[0]),
        "validation/return_after": float(evaluation.iqm[-1]),
    }
    if evaluation.rounds == 1:
        return returns
    return {
        **returns,
        "validation/gain": evaluation.gain.iqm,
        "validation/return_trial": float(iqm(evaluation.totals)),
    }


def require_metrics(logged: object) -> dict[str, float]:
    """Return what an agent's `update` returned. Raises MetarlError unless it is a dict of numbers by name."""
    if not isinstance(logged, Mapping):
        raise MetarlError(f"update returned {type(logged).__name__}; it must return a dict of floats by name")
    for name, value in logged.items():
        if not isinstance(name, str) or not isinstance(value, (int, float, np.integer, np.floating)):
            raise MetarlError(
                f"update logs {name!r} of class {type(value).__name__}; it must log floats by name, such as float(loss)"
            )
    return {name: float(value) for name, value in logged.items()}


def require_finite(metrics: Mapping[str, float], update: int) -> None:
    """Raise MetarlError for a metric that is NaN or infinite."""
    for name, value in metrics.items():
        if not math.isfinite(value):
            raise MetarlError(f"update {update}: {name} is {np.float64(value)}; take a lower learning rate")
