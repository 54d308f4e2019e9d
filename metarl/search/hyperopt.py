"""Hyperopt's TPE behind Optuna's interface of samplers."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.samplers import BaseSampler
from optuna.trial import TrialState

if TYPE_CHECKING:
    from optuna.study import Study
    from optuna.trial import FrozenTrial

STARTUP_TRIALS = 10
"""Trials that are drawn at random first, as many as by Optuna's TPE."""


class HyperoptSampler(BaseSampler):
    """Chooses all settings of a trial by `hyperopt.tpe.suggest`, from the scores in the study.

    Bergstra et al., "Algorithms for Hyper-Parameter Optimization" (NeurIPS 2011).
    """

    def __init__(self, seed: int) -> None:
        self._seed = seed

    def infer_relative_search_space(self, study: Study, trial: FrozenTrial) -> dict[str, BaseDistribution]:
        """Return no space: `sample_independent` is told the settings."""
        return {}

    def sample_relative(
        self, study: Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        """Return nothing."""
        return {}

    def sample_independent(self, study: Study, trial: FrozenTrial, name: str, of: BaseDistribution) -> Any:
        """Return the value of one setting. Hyperopt's TPE models each setting by itself, so nothing is lost."""
        scored = [
            (place_of(each.params[name], of), -each.value)
            for each in study.get_trials(deepcopy=False, states=(TrialState.COMPLETE, TrialState.PRUNED))
            if name in each.params and each.value is not None
        ]
        # Settings of one trial must not be the same draw.
        return value_at(_suggest(name, of, scored, (self._seed + sum(name.encode()) * 7919) % 2**31), of)


def _suggest(name: str, of: BaseDistribution, scored: Sequence[tuple[float, float]], seed: int) -> float:
    """Return a place on Hyperopt's scale of a setting, from places and losses of earlier trials."""
    from hyperopt import tpe
    from hyperopt.base import JOB_STATE_DONE, STATUS_OK, Domain, Trials

    trials = Trials()
    for number, (place, loss) in enumerate(scored):
        misc = {"tid": number, "cmd": None, "idxs": {name: [number]}, "vals": {name: [place]}}
        result = {"status": STATUS_OK, "loss": loss}
        (document,) = trials.new_trial_docs([number], [None], [result], [misc])
        trials.insert_trial_doc({**document, "state": JOB_STATE_DONE})
    trials.refresh()
    domain = Domain(lambda point: 0.0, {name: scale(name, of)})
    (chosen,) = tpe.suggest([len(scored)], domain, trials, seed, n_startup_jobs=STARTUP_TRIALS, verbose=False)
    return float(chosen["misc"]["vals"][name][0])


def scale(name: str, of: BaseDistribution) -> Any:
    """Return a setting as Hyperopt has it."""
    from hyperopt import hp

    match of:
        case CategoricalDistribution():
            return hp.choice(name, list(range(len(of.choices))))
        case FloatDistribution(log=True):
            return hp.loguniform(name, math.log(of.low), math.log(of.high))
        case IntDistribution(log=True):
            return hp.qloguniform(name, math.log(of.low), math.log(of.high), 1)
        case FloatDistribution(step=None):
            return hp.uniform(name, of.low, of.high)
    assert isinstance(of, (FloatDistribution, IntDistribution)) and of.step is not None
    # Half a step more on both sides, or both ends would be drawn half as often.
    return hp.quniform(name, -0.5, round((of.high - of.low) / of.step) + 0.5, 1)


def _has_steps(of: BaseDistribution) -> bool:
    return (isinstance(of, IntDistribution) and not of.log) or (isinstance(of, FloatDistribution) and bool(of.step))


def place_of(value: Any, of: BaseDistribution) -> float:
    """Return where a value stands on Hyperopt's scale: the number of its choice or its step, else the value."""
    if isinstance(of, CategoricalDistribution):
        return int(of.to_internal_repr(value))
    return float(round((value - of.low) / of.step)) if _has_steps(of) else float(value)  # type: ignore[attr-defined]


def value_at(place: float, of: BaseDistribution) -> Any:
    """Return the value at a place on Hyperopt's scale."""
    if isinstance(of, CategoricalDistribution):
        return of.choices[int(place)]
    assert isinstance(of, (FloatDistribution, IntDistribution))
    value = of.low + place * of.step if _has_steps(of) and of.step else place
    value = min(max(value, of.low), of.high)
    return round(value) if isinstance(of, IntDistribution) else float(value)
