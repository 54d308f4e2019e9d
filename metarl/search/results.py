"""The results of a study: a line for each trial, a table, and the best config."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from optuna.study import Study
from optuna.trial import FrozenTrial, TrialState

from ..base.files import write_atomically
from ..base.yaml_text import dump_yaml, read_yaml
from ..runs.config import resolve
from ..runs.record import CONFIG
from .plan import Plan
from .space import Label, Space, overrides

TABLE, BEST = "trials.csv", "best.yaml"
"""Files in a study's folder."""
STATES = {
    TrialState.COMPLETE: "finished",
    TrialState.PRUNED: "pruned",
    TrialState.FAIL: "failed",
    TrialState.RUNNING: "cut short",
    TrialState.WAITING: "waiting",
}
"""Words for the states of a trial."""


@dataclass(frozen=True)
class Best:
    """The best trial of a study."""

    number: int
    """Its number."""
    score: float
    """Its score."""
    labels: dict[str, Label]
    """Its settings, as the study has them."""
    words: tuple[str, ...]
    """Its settings, as words of a command."""


def best_of(plan: Plan, study: Study) -> Best | None:
    """Return the finished trial of the highest score, None if none is finished."""
    trial = best_trial(study)
    if trial is None or trial.value is None:
        return None
    return Best(trial.number, trial.value, trial.params, tuple(overrides(plan.space, trial.params)))


def best_trial(study: Study) -> FrozenTrial | None:
    """Return the finished trial of the highest score, of several the first; None if none is finished."""
    finished = study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
    return max(finished, key=lambda each: (each.value, -each.number), default=None)


def settings_text(space: Space, params: Mapping[str, Label]) -> str:
    """Return the settings of a trial as words, with four digits of every number."""
    return "  ".join(f"{each.key}={short_text(params[each.key])}" for each in space if each.key in params)


def short_text(label: Label) -> str:
    """Return a setting's value with four digits."""
    return f"{label:.4g}" if isinstance(label, float) else str(label)


def trial_line(plan: Plan, study: Study, number: int) -> str:
    """Return the line of a trial that has ended."""
    trial, best = study.get_trials(deepcopy=False)[number], best_trial(study)
    state = STATES[trial.state]
    told = f" {trial.value:.4g}" if trial.value is not None else ""
    record = "" if best is None else f"  best {best.value:.4g} (trial {best.number})"
    error = f"  {trial.user_attrs['error']}" if "error" in trial.user_attrs else ""
    settings = settings_text(plan.space, trial.params)
    return f"trial {number} of {plan.trials}: {state}{told}{record}  {settings}{error}"


def write_results(plan: Plan, study: Study) -> None:
    """Write the table of all trials, and the best config if a trial is finished."""
    write_atomically(plan.folder / TABLE, _table(plan, study).encode())
    if (best := best_trial(study)) is not None and (content := _best_config(plan, best)) is not None:
        write_atomically(plan.folder / BEST, dump_yaml(content).encode())


def _table(plan: Plan, study: Study) -> str:
    """Return a row for each trial: its state, its score and that of each seed, its cost, settings and error."""
    seeds = [f"score_seed{plan.base.seed + place}" for place in range(plan.seeds)]
    keys = [each.key for each in plan.space]
    text = io.StringIO(newline="")
    writer = csv.writer(text)
    writer.writerow(["trial", "state", "score", *seeds, "env_steps", "seconds", *keys, "error"])
    for each in study.get_trials(deepcopy=False):
        scores = [*each.user_attrs.get("scores", ()), *[""] * plan.seeds][: plan.seeds]
        score = "" if each.value is None else each.value
        clock = None if each.duration is None else each.duration.total_seconds()
        seconds = each.user_attrs.get("seconds", clock)
        spent = sum(each.user_attrs.get("env_steps", ()))
        labels = [each.params.get(key, "") for key in keys]
        error = each.user_attrs.get("error", "")
        writer.writerow([each.number, STATES[each.state], score, *scores, spent, _rounded(seconds), *labels, error])
    return text.getvalue()


def _rounded(seconds: float | None) -> float | str:
    return "" if seconds is None else round(seconds, 1)


def _best_config(plan: Plan, best: FrozenTrial) -> dict[str, Any] | None:
    """Return the config of the best trial's runs with the study's own seed and logging; None if they are elsewhere."""
    path = _run_of(plan, best) / CONFIG
    if not path.is_file():
        return None
    base = resolve(plan.base)
    loose = {key: base[key] for key in ("seed", "log", "threads")}
    return {**read_yaml(path, "the config of a run"), **loose}


def _run_of(plan: Plan, trial: FrozenTrial) -> Path:
    folder = plan.trial_dir(trial.number)
    return folder.with_name(trial.user_attrs.get("folder", folder.name)) / f"seed{plan.base.seed}"
