"""Meta-training: tasks, a trial in them, an update from it, and now and then a look at validation tasks."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from ..base.errors import MetarlError
from ..base.files import sweep
from ..base.progress import Progress, progress_for, say, warn
from ..base.stopwatch import Stopwatch
from ..base.streams import generator
from ..base.versions import versions
from ..evaluation.evaluate import evaluate
from ..evaluation.record import AgentRecord, Evaluation
from ..evaluation.statistics import iqm
from ..runs import checkpoint as checkpoints
from ..runs.config import TrainConfig, resolve
from ..runs.record import (
    CONFIG,
    METRICS,
    PICTURE,
    PROVENANCE,
    minutes_by_update,
    read_metrics,
    read_sessions,
    require_measured,
)
from ..runs.run import (
    BEST,
    DEFINING,
    GOES_ON,
    LAST,
    checkpoint_path,
    family_and_agent,
    holds_run,
    require_same_networks,
    restore,
    run_config,
)
from ..trials.agent import NUM_UPDATES
from ..trials.episodes import Trial
from ..trials.plan import TrialPlan
from ..trials.shards import run_sharded_trial
from .log import Origin, RunLog

VALIDATION_SEED = 0
"""Names the validation tasks and their episodes in every run: the best checkpoints of two seeds pass the same test."""


def meta_train(config: TrainConfig, run_dir: str | Path, *, resume: bool = False, progress: bool = True) -> Path:
    """Train an agent and return the run folder, which holds config, metrics, checkpoints and W&B's files.

    With `resume`, a run that was killed goes on from its last checkpoint, bitwise as if it had not been (on CPU); of a
    finished one nothing changes. Raises MetarlError for a folder that holds a run already or cannot be written, an
    agent that does not learn, a metric that is not finite, a checkpoint that does not fit the config, and a run to start
    from that is not there or does not fit.
    """
    run_dir, config = Path(run_dir), TrainConfig.model_validate(resolve(config))
    if not resume and holds_run(run_dir):
        raise MetarlError(
            f"{run_dir} holds a run already; go on with `metarl train --resume {run_dir}`, or take another"
        )
    training = _Training(config, run_dir)
    if resume and (run_dir / LAST).exists():
        training.restore()
    elif resume:
        _require_no_checkpoint_lost(run_dir)
    if training.update == 0 and config.start_from is not None:
        training.start_from(config.start_from.replace("{seed}", str(config.seed)))
    if training.update < config.num_updates:
        title = f"{config.agent['name']} on {config.family['name']}"
        if progress:
            say(f"run folder: {run_dir}")
        with training.logged(), progress_for(title, shown=progress) as bar:
            training.run(bar)
    return run_dir


def _require_no_checkpoint_lost(run_dir: Path) -> None:
    """Refuse to begin again a run that had a last checkpoint, and say so where one was stopped before its first."""
    made = len(read_metrics(run_dir)) if (run_dir / METRICS).exists() else 0
    if made > run_config(run_dir).checkpoint_every:
        raise MetarlError(
            f"{run_dir} tells of {made} updates, but its {LAST} is gone; put it back from a copy, or begin a new run, which may "
            f"start from the best checkpoint: start_from={run_dir}"
        )
    if made:
        warn(f"{run_dir} was stopped before its first {LAST}: it begins again, the {made} updates made are dropped")


def _require_rounds(agent: Any, config: TrainConfig) -> None:
    least = agent.min_rounds
    if config.rounds < least:
        raise MetarlError(
            f"rounds is {config.rounds}: {config.agent['name']!r} needs at least {least}, {least - 1} to adapt on and one to measure"
        )


@contextlib.contextmanager
def _room(run_dir: Path) -> Iterator[None]:
    """Say in one line that the disk is full or the folder lost. Around writes only: environments have errors as well."""
    try:
        yield
    except OSError as error:
        raise MetarlError(
            f"{run_dir} cannot be written ({error.strerror}); what was saved stays loadable: make room, then "
            f"`metarl train --resume {run_dir}`"
        ) from None


def _times(stopwatch: Stopwatch, env_steps: int) -> dict[str, float]:
    """Return what share of an update's time each part took, and the environment steps per second of training."""
    seconds, total = stopwatch.seconds, stopwatch.total
    adaptation = seconds.get("adaptation", 0.0)
    parts = {
        "rollout": seconds["trial"] - adaptation,
        "adaptation": adaptation,
        "update": seconds["update"],
        "evaluation": seconds.get("evaluation", 0.0),
    }
    # Steps of training by its time: an evaluation adds to neither.
    rate = env_steps / (seconds["trial"] + seconds["update"])
    return {"time/steps_per_second": rate, **{f"time/{name}_share": spent / total for name, spent in parts.items()}}


class _Training:
    """A run under way. Everything random is named by the seed and the update, so that it can go on from any update."""

    def __init__(self, config: TrainConfig, run_dir: Path) -> None:
        self.config, self.run_dir = config, run_dir
        self.family, self.agent = family_and_agent(config)
        _require_rounds(self.agent, config)
        self.update = 0
        """Updates made."""
        self.env_steps = 0
        """Environment steps spent, over all tasks and replicas."""
        self.begun_at = 0
        """Environment steps that had been spent when the run began."""
        self.best: float | None = None
        """Best validation IQM so far, of what `evaluation.best_by` says."""
        self.origin: Origin | None = None
        """What the agent was when the run began, if not new."""
        self.log: RunLog

    def start_from(self, run_dir: str) -> None:
        """Begin as the best checkpoint of a run, with what was spent on it, in other tasks or with other settings."""
        try:
            self.origin = self._taken_over(run_dir)
        except MetarlError as error:
            raise MetarlError(f"start_from is {run_dir!r}: {error}") from None
        self.env_steps = self.begun_at = self.origin.env_steps

    def _taken_over(self, run_dir: str) -> Origin:
        mine, theirs = self.config.agent["name"], run_config(run_dir)
        if theirs.agent["name"] != mine:
            raise MetarlError(f"a run of {theirs.agent['name']!r}; {mine!r} starts from its own kind only")
        path = checkpoint_path(run_dir, BEST)
        require_same_networks(self.agent, self.config, theirs, "it")
        state, meta = checkpoints.load(path)
        if NUM_UPDATES in state:
            state[NUM_UPDATES].zero_()
        self.agent.load_state_dict(state)
        metrics = read_metrics(run_dir)
        require_measured(run_dir, metrics)
        lines = [line for line in metrics if line["update"] < meta.update]
        if len(lines) < meta.update:
            raise MetarlError(
                f"its {METRICS} tells of {len(lines)} of the {meta.update} updates that its {BEST} has seen; go back to a copy"
            )
        minutes = minutes_by_update(lines, read_sessions(run_dir))[-1:].sum()
        return Origin(run_dir, meta.update, meta.env_steps, float(minutes))

    def restore(self) -> None:
        """Go back to the last checkpoint."""
        meta = restore(self.agent, self.run_dir / LAST, self.config, DEFINING, GOES_ON)
        self.update, self.env_steps, self.begun_at = meta.update, meta.env_steps, meta.begun_at
        # Scores compare on the same tasks only.
        theirs = TrainConfig.model_validate(meta.config)
        same_plan = _validation_plan(theirs) == _validation_plan(self.config)
        same_score = theirs.evaluation.best_by == self.config.evaluation.best_by
        self.best = meta.best if same_plan and same_score else None

    @contextlib.contextmanager
    def logged(self) -> Iterator[None]:
        """Keep the run's log open."""
        with _room(self.run_dir):
            self.log = RunLog(self.run_dir, self.config, updates=self.update, origin=self.origin)
        done = False
        try:
            # Under the log's lock: no other process is writing these now.
            sweep(self.run_dir, (CONFIG, PROVENANCE, PICTURE, BEST, LAST))
            yield
            done = True
        finally:
            with _room(self.run_dir):
                self.log.close(completed=done)

    def run(self, progress: Progress) -> None:
        """Make the updates that are left."""
        progress.start(self.config.num_updates, self.update)
        while self.update < self.config.num_updates:
            metrics, evaluation = self._one_update()
            with _room(self.run_dir):
                self._record(metrics, evaluation)
            progress.report(metrics)

    def _record(self, metrics: Mapping[str, float], evaluation: Evaluation | None) -> None:
        """Write an update down. A checkpoint comes last: it says that all before it is there, and no more is made."""
        self.log.write(metrics)
        if evaluation is not None and self.update == self.config.num_updates:
            self.log.summarize(evaluation, self.env_steps)
        if self._due(self.config.checkpoint_every):
            self.log.sync()
            self._save(LAST)

    def _due(self, every: int) -> bool:
        return self.update % every == 0 or self.update == self.config.num_updates

    def _one_update(self) -> tuple[dict[str, float], Evaluation | None]:
        number, stopwatch = self.update, Stopwatch()
        with self._stopped_well():
            with stopwatch.part("trial"):
                trial = self._trial(stopwatch)
            with stopwatch.part("update"):
                learned = self.agent.update(trial, generator(self._seed, "update", number))
        env_steps = int(trial.env_steps[-1].sum())
        metrics = {**_returns(trial), **{f"agent/{name}": value for name, value in learned.items()}}
        _require_finite(metrics, number, self.run_dir)
        self.update += 1
        self.env_steps += env_steps
        evaluation = None
        if self._due(self.config.evaluation.every):
            with stopwatch.part("evaluation"):
                try:
                    evaluation = self._evaluate()
                except MetarlError as error:
                    raise MetarlError(
                        f"update {number}: evaluation: {error}; training stopped, {self.run_dir} keeps its last checkpoint"
                    ) from None
            metrics |= _validation(evaluation)
            _require_finite(metrics, number, self.run_dir)
            with _room(self.run_dir):
                self._keep_best(_score(evaluation, self.config.evaluation.best_by))
        spent = {"update": number, "env_steps": self.env_steps}
        return {**spent, **metrics, **_times(stopwatch, env_steps)}, evaluation

    @contextlib.contextmanager
    def _stopped_well(self) -> Iterator[None]:
        """Where the agent gives up, save it as it was before the update, and say so and in which update it was."""
        try:
            yield
        except MetarlError as error:
            if self.update > 0:
                with _room(self.run_dir):
                    self.log.sync()
                    self._save(LAST)
            kept = (
                f"{self.run_dir / LAST} holds the agent as it was before" if self.update else "nothing was learned yet"
            )
            raise MetarlError(f"update {self.update}: {error}; training stopped, {kept}") from None

    @property
    def _seed(self) -> int:
        """What names all that is random: a run that started from another one of its seed does not meet its tasks again."""
        seed = self.config.seed
        return int(generator(seed, "start_from", self.begun_at).integers(2**63)) if self.begun_at else seed

    def _trial(self, stopwatch: Stopwatch) -> Trial:
        config, start = self.config, self.update * self.config.meta_batch_size
        tasks = self.family.sample("train", config.meta_batch_size, seed=self._seed, start=start)
        seed = int(generator(self._seed, "trial", self.update).integers(2**63))
        return run_sharded_trial(self.agent, self.family, tasks, config, seed=seed, stopwatch=stopwatch)

    def _evaluate(self) -> Evaluation:
        plan, record = _validation_plan(self.config), AgentRecord(self.config.agent["name"])
        return evaluate(self.agent, self.family, plan, record=record, threads=self.config.threads)

    def _keep_best(self, score: float) -> None:
        if self.best is None or score > self.best:
            self.best = score
            self._save(BEST)

    def _save(self, name: str) -> None:
        meta = checkpoints.Meta(
            update=self.update,
            env_steps=self.env_steps,
            begun_at=self.begun_at,
            best=self.best,
            config=resolve(self.config),
            versions=versions(),
        )
        checkpoints.save(self.run_dir / name, self.agent.state_dict(), meta)


def _validation_plan(config: TrainConfig) -> TrialPlan:
    return TrialPlan(
        split="validation",
        num_tasks=config.evaluation.num_tasks,
        rounds=config.rounds,
        replicas=config.evaluation.replicas or config.replicas,
        seed=VALIDATION_SEED,
    )


def _score(evaluation: Evaluation, by: str) -> float:
    """Return what the best checkpoint has most of: the IQM of the last round's return, or of the trial's."""
    return float(iqm(evaluation.totals) if by == "trial" else evaluation.iqm[-1])


def _returns(trial: Trial) -> dict[str, float]:
    by_round = trial.returns.mean(axis=(1, 2))
    returns = {"return_before": float(by_round[0]), "return_after": float(by_round[-1])}
    returns |= {f"return_round/{number}": float(value) for number, value in enumerate(by_round, start=1)}
    # Named only where it can happen: families of arrays have no physics that break down.
    knows = trial.rounds[0].unstable is not None
    return {**returns, "unstable_episodes": float(trial.num_unstable)} if knows else returns


def _validation(evaluation: Evaluation) -> dict[str, float]:
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


def _require_finite(metrics: Mapping[str, float], update: int, run_dir: Path) -> None:
    for name, value in metrics.items():
        if not math.isfinite(value):
            raise MetarlError(
                f"update {update}: {name} is {np.float64(value)}; training stopped. Take a lower learning rate; "
                f"{run_dir} keeps its last checkpoint"
            )
