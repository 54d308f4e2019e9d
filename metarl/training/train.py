"""Meta-training: sample tasks, play a trial, update the agent, and evaluate it now and then on validation tasks."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ..base.errors import MetarlError, reword, user_code
from ..base.files import path_inside, sweep
from ..base.progress import Progress, progress_for, say
from ..base.ranks import numbers_of_all, ranks
from ..base.signals import held_back, with_remedy
from ..base.stopwatch import Stopwatch
from ..base.streams import generator
from ..base.terminal import shell_line
from ..base.text import with_noun
from ..base.versions import versions
from ..evaluation.evaluate import evaluate
from ..evaluation.record import AgentRecord, Evaluation
from ..runs import checkpoint as checkpoints
from ..runs.config import TrainConfig, family_title, resolve
from ..runs.record import CONFIG, PICTURE, PROVENANCE
from ..runs.run import (
    BEST,
    DEFINING,
    LAST,
    RESUME_REMEDY,
    default_run_dirs,
    family_and_agent,
    restore,
)
from ..runs.start import StartConfig
from ..trials.episodes import Trial
from ..trials.plan import TrialPlan
from ..trials.shards import run_sharded_trial
from .claim import Claim, claimed
from .distributed import RankLostError, dividing, leading, mean_metrics, require_alike, require_shareable
from .folder import require_new, require_no_checkpoint_lost, room
from .log import RunLog
from .memory import require_training_memory
from .metrics import require_finite, require_metrics, time_shares, trial_returns, validation_returns, validation_score
from .start import Start, frozen_names, start_from
from .teachers import Teachers

if TYPE_CHECKING:
    from torch import Tensor
    from torch.distributed.device_mesh import DeviceMesh

VALIDATION_SEED = 0
"""Seed of the validation tasks and episodes in every run, so that scores of two training seeds compare."""


def meta_train(
    config: TrainConfig,
    run_dir: str | Path | None = None,
    *,
    resume: bool = False,
    progress: bool = True,
) -> Path:
    """Train an agent and return the run folder, which holds the config, metrics, checkpoints and what loggers write.

    Without `run_dir` it is the first new folder of runs/<family>-<agent>-seed<seed>, then with -2, -3, ... appended.
    With `resume`, a killed run goes on from its last checkpoint, on a CPU bit for bit as if it had not been killed; a
    finished run stays as it is. `progress` prints how far the training is. `config.log` says where metrics go beside
    metrics.jsonl. An interrupt, such as KeyboardInterrupt, first saves the last finished update.

    Raises MetarlError for a folder that holds a run already or cannot be written, an agent that does not learn, a
    metric that is not finite, a checkpoint that does not fit the config, a `start_from` that is missing or does not
    fit, and a logger that is not installed.
    """
    config = TrainConfig.model_validate(resolve(config))
    if run_dir is not None and not resume and ranks().leads:
        require_new(Path(run_dir))
    require_alike(config)
    with dividing(config) as mesh:
        training = _Training(config, mesh)
        if not ranks().leads:
            return training.follow()
        with claimed([Path(run_dir)] if run_dir is not None else default_run_dirs(config)) as claim:
            # Only now nobody else changes the folder.
            with leading() as tell:
                training.open(claim, resume=resume)
                tell(training.packed() if ranks().size > 1 or mesh is not None else b"")
            training.divide()
            if training.update < config.num_updates:
                training.train(show=progress)
            return claim.run_dir


def _require_rounds(agent: Any, config: TrainConfig) -> None:
    least, name = agent.min_rounds, config.agent["name"]
    if config.rounds < least:
        raise MetarlError(
            f"rounds is {config.rounds}; {name!r} needs at least {least}: {least - 1} to adapt on and one to measure"
        )


class _Training:
    """The state of a run. Seed and update name all random numbers, so that the run can resume at any update."""

    def __init__(self, config: TrainConfig, mesh: DeviceMesh | None) -> None:
        self.config, self.mesh = config, mesh
        self.resolved = resolve(config)
        """The config as plain data, for the checkpoints."""
        self.family, self.agent = family_and_agent(config)
        _require_rounds(self.agent, config)
        require_shareable(self.agent, config)
        require_training_memory(self.agent, self.family, config)
        self.teachers = Teachers(config, self.family, self.agent)
        self.update = 0
        """Updates made."""
        self.env_steps = 0
        """Environment steps spent, over all tasks and replicas."""
        self.start_env_steps = 0
        """Environment steps spent before the run, by the run that it started from."""
        self.best: float | None = None
        """Best validation score so far; `evaluation.best_by` selects the score."""
        self.start: Start | None = None
        """What the run started from; None for a new agent, and for a run that goes on."""
        self.taken: tuple[str, ...] = ()
        """Tensors that were taken of the run it started from; () for the whole agent."""
        self.frozen: tuple[str, ...] = ()
        """Parts of the agent that are frozen now."""
        self.finished: tuple[dict[str, Tensor], checkpoints.Meta] | None = None
        """Agent and description after the last update of this session that is in the metrics."""
        self.saved = 0
        """Updates in the last checkpoint."""
        self._opened = False
        self.claim: Claim
        self.run_dir: Path
        self.log: RunLog

    def open(self, claim: Claim, *, resume: bool) -> None:
        """Take a folder for the run, and the state that the run goes on from. Nothing is written."""
        self.claim, self.run_dir = claim, claim.run_dir
        if not resume:
            require_new(self.run_dir)
        elif (self.run_dir / LAST).exists():
            self.restore()
        else:
            require_no_checkpoint_lost(self.run_dir)
        if self.update == 0 and self.config.start_from is not None:
            self.start_from(self.config.start_from)
        self.freeze()

    def packed(self) -> bytes:
        """Return what other ranks begin with: the run folder, then a checkpoint."""
        return os.fsencode(self.run_dir.absolute()) + b"\0" + checkpoints.to_bytes(*self._copy())

    def follow(self) -> Path:
        """Make the updates as a rank that writes nothing, and return the run folder of rank 0."""
        folder, _, data = ranks().broadcast(b"").partition(b"\0")
        if not data:
            raise RankLostError(f"rank {ranks().rank}: rank 0 did not begin")
        self.run_dir = Path(os.fsdecode(folder))
        state, meta = checkpoints.from_bytes(data, f"of {self.run_dir}")
        self.agent.load_state_dict(state)
        self.update, self.env_steps, self.start_env_steps = meta.update, meta.env_steps, meta.start_env_steps
        self.best, self.taken = meta.best, meta.taken
        self.divide()
        while self.update < self.config.num_updates:
            self._make_update()
            if self.mesh is not None and self._due(self.config.checkpoint_every):
                self._copy()
        return self.run_dir

    def divide(self) -> None:
        """Divide the agent over the processes of the mesh, if there is one."""
        if self.mesh is not None:
            with user_code(f"{self._title}, divide"):
                self.agent.divide(self.mesh)

    def train(self, *, show: bool) -> None:
        """Make the remaining updates, and show the progress. An interrupt says what is saved and how to go on."""
        title = f"{self.config.agent['name']} on {family_title(self.config)}"
        if show:
            say(f"run folder: {self.run_dir}")
            if self.start is not None and self.start.rows:
                say(f"of {self.start.origin.run}:\n{self.start.table()}")
        try:
            with self.open_log(), progress_for(title, measure=self.family.measure.name, shown=show) as bar:
                self.run(bar)
        except KeyboardInterrupt as interrupt:
            resume = shell_line(["metarl", "train", "--resume", self.run_dir])
            told = f"{with_noun(self.saved, 'update')} saved; resume with: {resume}"
            raise with_remedy(interrupt, told if self._opened else "") from None

    def start_from(self, start: StartConfig) -> None:
        """Start from the best checkpoint of another run, and count its cost."""
        self.start = start_from(self.agent, self.config, start)
        self.env_steps = self.start_env_steps = self.start.origin.env_steps
        self.taken = self.start.origin.taken

    def freeze(self) -> None:
        """Freeze what `start_from` wants frozen in the next update, and nothing else."""
        start = self.config.start_from
        parts = () if start is None else start.frozen_at(self.update)
        if parts != self.frozen:
            if self.mesh is not None:
                raise MetarlError("start_from.freeze is for a network that one process holds whole; leave out parallel")
            with user_code(f"{self._title}, freeze"):
                self.agent.freeze(frozen_names(self.agent, parts, self.taken))
            self.frozen = parts

    def restore(self) -> None:
        """Load the last checkpoint."""
        meta = restore(self.agent, path_inside(self.run_dir, LAST), self.config, DEFINING, RESUME_REMEDY)
        self.teachers.require_unchanged(meta.teachers)
        self.update, self.env_steps, self.start_env_steps = meta.update, meta.env_steps, meta.start_env_steps
        self.saved, self.taken = meta.update, meta.taken
        # Scores compare only on the same validation tasks.
        theirs = TrainConfig.model_validate(meta.config)
        same_plan = _validation_plan(theirs) == _validation_plan(self.config)
        same_score = theirs.evaluation.best_by == self.config.evaluation.best_by
        self.best = meta.best if same_plan and same_score else None

    @contextlib.contextmanager
    def open_log(self) -> Iterator[None]:
        """Keep the log open, and close it as completed or crashed."""
        with room(self.run_dir):
            self.log = RunLog(self.claim, self.config, updates=self.update, origin=self.start and self.start.origin)
        self._opened = True
        done = False
        try:
            # The log's lock keeps other processes from writing these files.
            sweep(self.run_dir, (CONFIG, PROVENANCE, PICTURE, BEST, LAST))
            yield
            done = True
        finally:
            with room(self.run_dir):
                self.log.close(completed=done)

    def run(self, progress: Progress) -> None:
        """Make the remaining updates. However they end, the last checkpoint then holds the last finished update."""
        try:
            progress.start(self.config.num_updates, self.update)
            while self.update < self.config.num_updates:
                metrics, evaluation = self._make_update()
                # A signal that arrives while an update is recorded is raised afterwards.
                with held_back(), room(self.run_dir):
                    self._record(metrics, evaluation)
                progress.report(metrics)
        except MetarlError as error:
            kept = (
                f"{self.run_dir / LAST} holds the agent from before" if self._save_finished() else "nothing was saved"
            )
            raise reword(error, f"{error}; training stopped, {kept}") from error.__cause__
        except BaseException:  # an error of ours, too little memory, a signal
            self._save_finished()
            raise

    def _record(self, metrics: Mapping[str, float], evaluation: Evaluation | None) -> None:
        """Log an update. The checkpoint comes last: it promises that everything before it is on disk."""
        # The copy of a divided agent is an exchange, so it is made only where the others know that it is due.
        due = self._due(self.config.checkpoint_every)
        state = self._copy() if self.mesh is None or due else self.finished
        self.log.write(metrics)
        if evaluation is not None and self.update == self.config.num_updates:
            self.log.summarize(evaluation, self.env_steps)
        self.finished = state
        if due:
            self._save_finished()
            if self.mesh is not None:  # a whole copy of what no process holds whole
                self.finished = None

    def _save_finished(self) -> int:
        """Save the agent of the last finished update, unless it is saved already, and return the updates saved."""
        if self.finished is None:
            return self.saved
        state, meta = self.finished
        if meta.update > self.saved:
            with held_back(), room(self.run_dir):
                self.log.sync()
                checkpoints.save(path_inside(self.run_dir, LAST), state, meta)
                self.saved = meta.update
        return self.saved

    def _due(self, every: int) -> bool:
        return self.update % every == 0 or self.update == self.config.num_updates

    def _make_update(self) -> tuple[dict[str, float], Evaluation | None]:
        number, stopwatch, before = self.update, Stopwatch(), ranks().exchanged
        self.freeze()
        with self._named(f"update {number}"):
            with stopwatch.part("trial"):
                trial = self._trial(stopwatch)
            with stopwatch.part("update"), user_code(f"{self._title}, update"):
                learned = require_metrics(self.agent.update(trial, generator(self._seed, "update", number)))
        env_steps = int(numbers_of_all([trial.env_steps[-1].sum()]).sum())
        returns = trial_returns(trial, self.family.measure, learned)
        metrics = mean_metrics(
            {**returns, **{f"agent/{name}": value for name, value in learned.items()}}, len(trial.tasks)
        )
        require_finite(metrics, number)
        self.update += 1
        self.env_steps += env_steps
        evaluation = None
        if self._due(self.config.evaluation.every):
            with stopwatch.part("evaluation"):
                evaluation = self._evaluate(number)
            metrics |= validation_returns(evaluation)
            require_finite(metrics, number)
            with room(self.run_dir) if ranks().leads else contextlib.nullcontext():
                self._keep_best(validation_score(evaluation, self.config.evaluation.best_by))
        spent = {"update": number, "env_steps": self.env_steps}
        return {**spent, **metrics, **time_shares(stopwatch, env_steps, before)}, evaluation

    @staticmethod
    @contextlib.contextmanager
    def _named(what: str) -> Iterator[None]:
        """Begin the message of an error with the work that raised it."""
        try:
            yield
        except MetarlError as error:
            raise reword(error, f"{what}: {error}") from error.__cause__

    @property
    def _title(self) -> str:
        return f"agent {type(self.agent).__name__} on family {self.family.name!r}"

    @property
    def _seed(self) -> int:
        """Seed of all random numbers. A run that starts from another run of the same seed gets other tasks."""
        seed = self.config.seed
        start = self.start_env_steps
        return int(generator(seed, "start_from", start).integers(2**63)) if start else seed

    def _trial(self, stopwatch: Stopwatch) -> Trial:
        config, start = self.config, self.update * self.config.meta_batch_size
        tasks = self.family.sample("train", config.meta_batch_size, seed=self._seed, start=start)
        seed = int(generator(self._seed, "trial", self.update).integers(2**63))
        own = tasks[np.array(ranks().share(len(tasks)))]
        if self.mesh is not None:  # processes exchange parts of a policy's answers in order: one part acts at a time
            config = config.model_copy(update={"rollout_shards": 1})
        teaching = self.teachers.after(self.update)
        return run_sharded_trial(
            self.agent, self.family, own, config, seed=seed, stopwatch=stopwatch, teaching=teaching
        )

    def _evaluate(self, number: int) -> Evaluation:
        """Return the validation of the agent after update `number`."""
        plan, record = _validation_plan(self.config), AgentRecord(self.config.agent["name"])
        with self._named(f"update {number}: evaluation"):
            return evaluate(self.agent, self.family, plan, record=record, threads=self.config.threads)

    def _keep_best(self, score: float) -> None:
        if self.best is None or score > self.best:
            self.best = score
            state = self._copy() if ranks().leads or self.mesh is not None else None
            if state is not None and ranks().leads:
                checkpoints.save(path_inside(self.run_dir, BEST), *state)

    def _copy(self) -> tuple[dict[str, Tensor], checkpoints.Meta]:
        """Return a copy of the agent's state, and its description."""
        meta = checkpoints.Meta(
            update=self.update,
            env_steps=self.env_steps,
            start_env_steps=self.start_env_steps,
            best=self.best,
            config=self.resolved,
            versions=versions(),
            teachers=self.teachers.digests,
            taken=self.taken,
        )
        with user_code(f"update {self.update - 1}: {self._title}, state_dict"):
            return checkpoints.copy_state(self.agent.state_dict(), meta), meta


def _validation_plan(config: TrainConfig) -> TrialPlan:
    return TrialPlan(
        split="validation",
        num_tasks=config.evaluation.num_tasks,
        rounds=config.rounds,
        replicas=config.evaluation.replicas or config.replicas,
        seed=VALIDATION_SEED,
    )
