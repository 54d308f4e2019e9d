"""Samplers, which choose the settings of each trial: Optuna's own, a grid, and Hyperopt's behind the same interface."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping
from itertools import islice
from typing import TYPE_CHECKING, Any

import optuna
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.samplers import BaseSampler

from ..base.errors import MetarlError
from ..base.streams import generator
from .hyperopt import HyperoptSampler
from .space import Choices, Label, Parameter, Range, Space, count_points, grid

if TYPE_CHECKING:
    from optuna.study import Study
    from optuna.trial import FrozenTrial, Trial


class GridSampler(BaseSampler):
    """Takes the point of the grid that has the trial's number, so that each is visited once, whatever is killed.

    Optuna's own asks the storage which points were visited: two trials that begin together may take the same one.
    """

    def __init__(self, space: Space) -> None:
        self._space = space

    def infer_relative_search_space(self, study: Study, trial: FrozenTrial) -> dict[str, BaseDistribution]:
        """Return the whole space."""
        return {each.key: distribution(each) for each in self._space}

    def sample_relative(
        self, study: Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        """Return the trial's point."""
        return next(islice(grid(self._space), trial.number, None))

    def sample_independent(self, study: Study, trial: FrozenTrial, name: str, of: BaseDistribution) -> Any:
        """Return the trial's point in one setting."""
        return self.sample_relative(study, trial, {})[name]


def _cma_es(space: Space, seed: int) -> BaseSampler:
    return optuna.samplers.CmaEsSampler(
        seed=seed,
        warn_independent_sampling=False,
        independent_sampler=optuna.samplers.RandomSampler(seed=seed),
    )


def _gp(space: Space, seed: int) -> BaseSampler:
    # The trainings of a trial repeat, but the score of other seeds is what is looked for.
    return optuna.samplers.GPSampler(seed=seed, deterministic_objective=False, n_startup_trials=10)


SAMPLERS: Mapping[str, Callable[[Space, int], BaseSampler]] = {
    "grid": lambda space, seed: GridSampler(space),
    "random": lambda space, seed: optuna.samplers.RandomSampler(seed=seed),
    "tpe": lambda space, seed: optuna.samplers.TPESampler(seed=seed),
    "gp": _gp,
    "cma-es": _cma_es,
    "hyperopt": lambda space, seed: HyperoptSampler(seed=seed),
}
"""Makes each sampler for a space and a seed."""


def make_sampler(name: str, space: Space, seed: int, number: int) -> BaseSampler:
    """Return a sampler for one trial.

    Its random numbers come from the seed and the trial's number, so that a study that was killed goes on as it would
    have: all else that a sampler knows lies in the study's storage.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        return SAMPLERS[name](space, int(generator(seed, "sampler", number).integers(2**31)))


def check_sampler(name: str, space: Space, where: str) -> str:
    """Return what a user should know of a sampler on this space, '' if nothing.

    Raises MetarlError for a space that the sampler cannot search, and for a package that is missing.
    """
    ranges = [each for each in space if isinstance(each, Range)]
    chosen = [each.key for each in space if isinstance(each, Choices)]
    if name == "grid":
        try:
            count_points(space)
        except MetarlError as error:
            raise MetarlError(f"{where}: {error}") from None
    if name == "cma-es":
        if len(ranges) < 2:
            raise MetarlError(f"{where}: cma-es needs two ranges or more, this space has {len(ranges)}; take tpe or gp")
        _require_package("cmaes", "--sampler cma-es", "cmaes")
        return f"cma-es moves ranges alone; drawn at random: {', '.join(chosen)}" if chosen else ""
    if name == "hyperopt":
        _require_package("hyperopt", "--sampler hyperopt", "metarl-suite[hyperopt]")
    if name == "gp" and chosen:
        return f"gp takes choices as unordered, each as far from the other: {', '.join(chosen)}"
    return ""


def _require_package(module: str, option: str, install: str) -> None:
    try:
        __import__(module)
    except ImportError:
        raise MetarlError(f"{option} needs the package {module}; install it: pip install '{install}'") from None


def distribution(parameter: Parameter) -> BaseDistribution:
    """Return a setting's range or choices as Optuna has them."""
    if isinstance(parameter, Choices):
        return CategoricalDistribution(parameter.labels)
    low, high, step, log = parameter.low, parameter.high, parameter.step, parameter.log
    if parameter.is_whole:
        return IntDistribution(int(low), int(high), log=log, step=1 if step is None else int(step))
    return FloatDistribution(float(low), float(high), log=log, step=None if step is None else float(step))


def suggest(trial: Trial, space: Space) -> dict[str, Label]:
    """Return the settings of a trial; those that it has not yet are drawn and stored."""
    found: dict[str, Label] = {}
    for each in space:
        if isinstance(each, Choices):
            found[each.key] = trial.suggest_categorical(each.key, each.labels)
            continue
        low, high, step, log = each.low, each.high, each.step, each.log
        if each.is_whole:
            found[each.key] = trial.suggest_int(each.key, int(low), int(high), step=int(step or 1), log=log)
        else:
            found[each.key] = trial.suggest_float(each.key, low, high, step=step, log=log)
    return found
