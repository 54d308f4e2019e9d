"""Pruners, which end a trial that others have left behind after as many environment steps."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from optuna.pruners import BasePruner, NopPruner, SuccessiveHalvingPruner
from optuna.trial import TrialState

if TYPE_CHECKING:
    from optuna.study import Study
    from optuna.trial import FrozenTrial

LEAST_TRIALS = 5
"""Finished trials without which the median pruner ends none."""
REDUCTION = 3
"""One of so many trials passes a rung of `asha`."""
RUNGS = 2
"""Rungs of `asha` before the whole budget: a ninth and a third of it."""


class MedianPruner(BasePruner):
    """Ends a trial whose score is below the median of the finished trials after as many environment steps.

    The median stopping rule of Golovin et al., "Google Vizier" (KDD 2017). Optuna's own compares scores at the same
    step alone, and trials with episodes or batches of other lengths share none; it also takes the best score so far,
    which a trial of several seeds has at the end of its first.
    """

    def prune(self, study: Study, trial: FrozenTrial) -> bool:
        """Return whether the trial should end."""
        step = trial.last_step
        if step is None:
            return False
        finished = study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
        others = [value for each in finished if (value := score_after(each.intermediate_values, step)) is not None]
        return len(others) >= LEAST_TRIALS and trial.intermediate_values[step] < statistics.median(others)


def score_after(scores: Mapping[int, float], step: int) -> float | None:
    """Return the last of scores by environment step that was known after `step` steps, None before the first."""
    known = [each for each in scores if each <= step]
    return scores[max(known)] if known else None


PRUNERS: Mapping[str, Callable[[int], BasePruner]] = {
    "median": lambda budget: MedianPruner(),
    "asha": lambda budget: SuccessiveHalvingPruner(
        min_resource=max(1, budget // REDUCTION**RUNGS), reduction_factor=REDUCTION
    ),
    "none": lambda budget: NopPruner(),
}
"""Makes each pruner for the most environment steps of a trial."""
