"""What evaluations tell of rounds beside the family's measure: its `outcomes`, collected over tasks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from ..base.errors import MetarlError
from ..families.family import TaskFamily
from ..families.task import Tasks
from ..trials.episodes import Episodes
from .statistics import mean_margin

Parts = Mapping[str, np.ndarray]
"""Outcomes by name: [task], or counts [task, kind] of those that are pooled."""


@dataclass(frozen=True, eq=False)
class Told:
    """One outcome of an evaluation. Raises MetarlError for numbers that are infinite."""

    meaning: str
    """What it is, and which way is better."""
    percent: bool
    """Whether it is a share, which tables tell in percent."""
    values: np.ndarray
    """[task, round], NaN where it means nothing; [round] where it is a statistic of all tasks together."""
    objective: bool = False
    """Whether it is one of several objectives, of which more is better."""

    def __post_init__(self) -> None:
        if self.values.ndim not in (1, 2) or np.isinf(self.values).any():
            raise MetarlError("an outcome must be finite numbers or NaN, [task, round] or [round]")

    @property
    def pooled(self) -> bool:
        """Whether it is a statistic of all tasks together."""
        return self.values.ndim == 1

    @property
    def told(self) -> np.ndarray:
        """The values in the unit in which they are told: percent of shares."""
        return 100.0 * self.values if self.percent else self.values

    def mean(self, number: int) -> tuple[float, float]:
        """Return the mean over the tasks that have a value in a round, and 1.96 standard errors, as it is told.

        NaN for a round without a value, and for the error of a single task or a pooled outcome.
        """
        column = self.told[..., number]
        if self.pooled:
            return float(column), np.nan
        known = column[~np.isnan(column)]
        return (float(known.mean()), float(mean_margin(known))) if len(known) else (np.nan, np.nan)


def measure_outcomes(family: TaskFamily, tasks: Tasks, number: int, episodes: Episodes) -> Parts:
    """Return the outcomes of a round. Raises MetarlError where a family gives other names or shapes than it says."""
    asked = family.outcomes
    found = family.measure_round(tasks.values, number, episodes) if asked else {}
    if set(found) != set(asked):
        raise MetarlError(
            f"family {family.name!r}: measure_round gives {sorted(found)}; outcomes name {sorted(asked)}: give these"
        )
    for name, array in found.items():
        least = 2 if asked[name].pool else 1
        if np.ndim(array) != least or len(array) != len(tasks):
            shape = "[task, kind]" if least == 2 else "[task]"
            raise MetarlError(
                f"family {family.name!r}: outcome {name!r} has shape {np.shape(array)}; it must be {shape} of "
                f"{len(tasks)} tasks"
            )
    return found


def stack_rounds(family: TaskFamily, rounds: Sequence[Parts]) -> Parts:
    """Return the outcomes of one chunk of tasks: [task, round], or sums over its tasks [1, round, kind] of pooled."""
    joined: dict[str, np.ndarray] = {}
    for name, outcome in family.outcomes.items():
        each = [np.asarray(parts[name], dtype=np.float64) for parts in rounds]
        # Counts are summed chunk by chunk: a catalogue times all tasks would not fit into memory.
        joined[name] = np.stack([a.sum(axis=0) for a in each])[None] if outcome.pool else np.stack(each, axis=1)
    return joined


def tell_outcomes(family: TaskFamily, chunks: Sequence[Parts]) -> dict[str, Told]:
    """Return the outcomes of all tasks from those of each chunk."""
    told = {}
    for name, outcome in family.outcomes.items():
        values = np.ascontiguousarray(np.concatenate([chunk[name] for chunk in chunks]))
        if outcome.pool is not None:
            values = np.array([outcome.pool(counts) for counts in values.sum(axis=0)])
        told[name] = Told(outcome.meaning, outcome.percent, values, outcome.objective)
    return told
