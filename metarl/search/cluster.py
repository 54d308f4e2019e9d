"""A study on Ray: Ray Tune plays the trials of the same space by the same score, here or on a cluster."""

from __future__ import annotations

import contextlib
import functools
import logging
import os
import secrets
import signal
import sys
import threading
import warnings
from collections.abc import Iterator
from pathlib import Path
from types import FrameType
from typing import Any

from optuna.study import Study
from optuna.trial import TrialState, create_trial

from ..base.errors import MetarlError, first_line
from ..base.signals import ENDING, Interrupted
from .hyperopt import STARTUP_TRIALS, scale
from .plan import Plan
from .pruners import LEAST_TRIALS, REDUCTION, RUNGS
from .remote import SCORE, STEPS, Remote, load_remote, run_remote
from .results import settings_text, trial_line, write_results
from .samplers import SAMPLERS, distribution
from .storage import open_study
from .study import Tell

FOLDER = "ray"
"""Folder of Ray's own files, in the study's folder."""
VARIABLES = {
    "RAY_AIR_NEW_OUTPUT": "0",
    "RAY_CHDIR_TO_TRIAL_DIR": "0",
    "RAY_USAGE_STATS_ENABLED": "0",
    "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",
    "TUNE_DISABLE_SIGINT_HANDLER": "1",  # Ctrl-C is ours
    "TUNE_GLOBAL_CHECKPOINT_S": "1",
}
"""Variables that Ray reads, where the user has not set them."""
SECONDS_BETWEEN_LOOKS = 2.0
"""Time between two looks at the trials in progress."""
OBJECT_STORE = 100 * 2**20
"""Bytes of Ray's object store on this machine: trials hand over numbers alone."""


def run_on_ray(plan: Plan, tell: Tell) -> Study:
    """Play the trials that a study lacks by Ray Tune, write its results, and return it.

    RAY_ADDRESS names a cluster; without it there is one on this machine. Raises MetarlError where Ray fails.
    """
    study = open_study(plan)
    try:
        with _ray(plan), _quiet(), _telling(plan, tell):
            grid = _tuner(plan).fit()
        if grid.num_terminated + grid.num_errors < plan.trials:
            raise Interrupted(signal.SIGUSR1)  # Ray heeds it, and returns
    finally:
        write_results(plan, study)
    for number in record(plan, study):
        tell(trial_line(plan, study, number))
    write_results(plan, study)
    return study


@contextlib.contextmanager
def _ray(plan: Plan) -> Iterator[None]:
    """Connect to Ray, and leave it. Its handlers of signals give way to ours."""
    for name, value in {**VARIABLES, **_authentication()}.items():
        os.environ.setdefault(name, value)
    import ray

    handlers = {number: signal.getsignal(number) for number in ENDING}
    here: dict[str, Any] = {"address": "local", "num_cpus": plan.workers, "object_store_memory": OBJECT_STORE}
    try:
        ray.init(
            **({} if "RAY_ADDRESS" in os.environ else here),
            include_dashboard=False,
            log_to_driver=False,
            logging_level=logging.ERROR,
        )
    except Exception as error:  # whatever a cluster that cannot be reached raises
        raise MetarlError(
            f"Ray does not start: {first_line(error)}; see RAY_ADDRESS, or take --engine optuna"
        ) from None
    received: list[int] = []

    def note(number: int, frame: FrameType | None) -> None:
        received.append(number)
        ours[number](number, frame)

    ours = {number: handler for number, handler in handlers.items() if callable(handler)}
    for number, handler in handlers.items():
        signal.signal(number, note if number in ours else handler)
    try:
        yield
    except KeyboardInterrupt:
        # Ray raises one of its own, which has forgotten the signal.
        raise Interrupted(received[0] if received else signal.SIGINT) from None
    finally:
        ray.shutdown()
        for number, handler in handlers.items():
            signal.signal(number, handler)


def _authentication() -> dict[str, str]:
    """Return variables that close a Ray of our own to other users, and keep its token out of the home directory."""
    # Ray reads its token when it is imported.
    if "RAY_ADDRESS" in os.environ or "RAY_AUTH_MODE" in os.environ or "ray" in sys.modules:
        return {"RAY_AUTH_MODE": "disabled"}  # where the user has not said otherwise
    return {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": secrets.token_hex(32)}


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Keep Ray's warnings to itself: what fails is an error of a trial, or ours."""
    logger = logging.getLogger("ray")
    level = logger.level
    logger.setLevel(logging.CRITICAL)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(level)


@contextlib.contextmanager
def _telling(plan: Plan, tell: Tell) -> Iterator[None]:
    """Tell of trials as they end by themselves; those that Ray ends early are known at the end of all."""
    closed = threading.Event()
    told = {name for name, remote in _remotes(plan).items() if remote.state != TrialState.PRUNED.name}

    def watch() -> None:
        while not closed.wait(SECONDS_BETWEEN_LOOKS):
            for name, remote in _remotes(plan).items():
                if name not in told and remote.state != TrialState.PRUNED.name:
                    told.add(name)
                    outcome = remote.error or f"finished {remote.score:.4g}"
                    tell(f"{name}: {outcome}  {settings_text(plan.space, remote.params)}")

    thread = threading.Thread(target=watch, daemon=True)
    thread.start()
    try:
        yield
    finally:
        closed.set()
        thread.join()


def _remotes(plan: Plan) -> dict[str, Remote]:
    """Return what the trials have so far, by the names of their folders."""
    found = {path.name: load_remote(path) for path in (plan.folder / "trials").glob("*")}
    return {name: remote for name, remote in found.items() if remote is not None}


def _tuner(plan: Plan) -> Any:
    """Return Ray's tuner of a study: the one that was killed, or a new one."""
    from ray import tune

    play = functools.partial(run_remote, plan=plan, home=str(Path.cwd()))
    trainable = tune.with_resources(play, {"cpu": 1, "gpu": _gpus(plan)})
    path = str(plan.folder.absolute() / FOLDER)
    if tune.Tuner.can_restore(path):
        return tune.Tuner.restore(path, trainable)
    return tune.Tuner(
        trainable,
        tune_config=tune.TuneConfig(
            metric=SCORE,
            mode="max",
            search_alg=_searcher(plan),
            scheduler=_scheduler(plan),
            num_samples=plan.trials,
            max_concurrent_trials=plan.workers,
        ),
        run_config=tune.RunConfig(name=FOLDER, storage_path=str(plan.folder.absolute()), verbose=0),
    )


def _gpus(plan: Plan) -> float:
    """Return the share of a GPU that a trial asks for: Ray hides the GPUs from those that ask for none."""
    import torch

    count = torch.cuda.device_count() if plan.base.device != "cpu" else 0
    return min(1.0, count / plan.workers)


def _searcher(plan: Plan) -> Any:
    if plan.sampler == "hyperopt":
        from ray.tune.search.hyperopt import HyperOptSearch

        space = {each.key: scale(each.key, distribution(each)) for each in plan.space}
        return HyperOptSearch(
            space, metric=SCORE, mode="max", n_initial_points=STARTUP_TRIALS, random_state_seed=plan.sampler_seed
        )
    from ray.tune.search.optuna import OptunaSearch

    sampler = SAMPLERS[plan.sampler](plan.space, plan.sampler_seed)
    return OptunaSearch({each.key: distribution(each) for each in plan.space}, SCORE, "max", sampler=sampler)


def _scheduler(plan: Plan) -> Any:
    from ray.tune.schedulers import AsyncHyperBandScheduler, FIFOScheduler, MedianStoppingRule

    if plan.pruner == "asha":
        least = max(1, plan.budget // REDUCTION**RUNGS)
        # No trial reaches the most: it ends by itself.
        return AsyncHyperBandScheduler(STEPS, max_t=2**62, grace_period=least, reduction_factor=REDUCTION)
    if plan.pruner == "median":
        return MedianStoppingRule(STEPS, grace_period=0, min_samples_required=LEAST_TRIALS)
    return FIFOScheduler()


def record(plan: Plan, study: Study) -> Iterator[int]:
    """Add the trials of Ray to the study, in the order in which they began, and yield their numbers."""
    known = {each.user_attrs.get("folder") for each in study.get_trials(deepcopy=False)}
    remotes = {name: remote for name, remote in _remotes(plan).items() if name not in known}
    for name, remote in sorted(remotes.items(), key=lambda item: item[1].began):
        state, attrs = TrialState[remote.state], {"folder": name, **remote.attributes}
        trial = create_trial(
            state=state,
            value=remote.score if state == TrialState.COMPLETE else None,
            params=remote.params,
            distributions={each.key: distribution(each) for each in plan.space},
            user_attrs=attrs,
            intermediate_values={int(steps): value for steps, value in remote.curve.items()},
        )
        study.add_trial(trial)
        yield len(study.get_trials(deepcopy=False)) - 1
