"""A study on Optuna: it asks for trials, plays them side by side, and goes on after whatever ended it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from optuna.study import Study
from optuna.trial import FrozenTrial, Trial, TrialState

from ..base.errors import MetarlError
from ..base.signals import held_back
from .plan import Plan
from .results import trial_line, write_results
from .samplers import make_sampler, suggest
from .storage import open_study, owner_of
from .trial import Done, Work, play, side_by_side

Tell = Callable[[str], None]
"""Shows a line."""


def run_study(plan: Plan, tell: Tell) -> Study:
    """Play the trials that a study lacks, write its results, and return it.

    The folder must be locked. An interrupt stops the trainings in progress, which save, and is raised.
    """
    search = _Search(plan, tell)
    try:
        side_by_side(search.works(), plan.workers)
    finally:
        with held_back():
            write_results(plan, search.study)
    return search.study


class _Search:
    """A study in progress."""

    def __init__(self, plan: Plan, tell: Tell) -> None:
        self.plan, self.tell = plan, tell
        self.study = open_study(plan)
        self.owner = owner_of(plan.folder)

    def works(self) -> Iterator[Work]:
        """Yield the trials: first those that were cut short, then new ones."""
        states = (TrialState.RUNNING,)
        # Of a storage that several folders share, the trials in progress elsewhere stay untouched.
        for each in self.study.get_trials(deepcopy=False, states=states):
            if self.plan.storage is None or each.user_attrs.get("owner") == self.owner:
                yield self._play(self._again(each))
        while len(self.study.get_trials(deepcopy=False)) < self.plan.trials:
            self.plan.require_unchanged()
            with held_back():
                trial = self.study.ask()
                trial.set_user_attr("owner", self.owner)
            yield self._play(trial)

    def _again(self, frozen: FrozenTrial) -> Trial:
        return Trial(self.study, frozen._trial_id)

    def _play(self, trial: Trial) -> Work:
        scores, env_steps = (list(trial.user_attrs.get(name, ())) for name in ("scores", "env_steps"))
        # Steps are stored first, so that a kill between the two leaves one too many.
        done = Done(scores, env_steps[: len(scores)])
        reported = set(self.study.get_trials(deepcopy=False)[trial.number].intermediate_values)

        def report(env_steps: int, score: float) -> bool:
            if env_steps in reported:
                return False  # before the trial was cut short
            reported.add(env_steps)
            with held_back():
                trial.report(score, env_steps)
                return trial.should_prune()

        def finished(done: Done) -> None:
            with held_back():
                trial.set_user_attr("env_steps", done.env_steps)
                trial.set_user_attr("scores", done.scores)

        try:
            self.study.sampler = make_sampler(self.plan.sampler, self.plan.space, self.plan.sampler_seed, trial.number)
            jobs = self.plan.jobs(trial.number, suggest(trial, self.plan.space))
            if reported and trial.should_prune():  # it was cut short before it could be ended
                done.pruned = True
            else:
                yield from play(jobs, done, report, finished, self.plan.metarl)
        except MetarlError as error:
            self._end(trial, done, str(error))
        else:
            self._end(trial, done)

    def _end(self, trial: Trial, done: Done, error: str = "") -> None:
        with held_back():
            trial.set_user_attr("env_steps", done.env_steps)
            if error:
                trial.set_user_attr("error", error)
            state = TrialState.FAIL if error else TrialState.PRUNED if done.pruned else TrialState.COMPLETE
            values: Any = done.score if state == TrialState.COMPLETE else None
            self.study.tell(trial, values, state)
        self.tell(trial_line(self.plan, self.study, trial.number))
