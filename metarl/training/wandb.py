"""Weights & Biases behind a guard: it never prompts, never blocks for long, and never stops a training run."""

from __future__ import annotations

import importlib
import netrc
import os
import re
import secrets
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal
from urllib.parse import urlsplit

import numpy as np

from ..base.errors import MetarlError
from ..base.files import folder_inside, path_inside, write_atomically
from ..base.progress import warn
from ..base.settings import shorten
from ..runs.config import TrainConfig, family_title, resolve
from ..runs.log_config import WandbConfig
from ..runs.record import PROVENANCE, URLS
from .guard import Guard, abandon_wandb

if TYPE_CHECKING:
    from wandb import Run

    from ..evaluation.record import Evaluation

INIT_TIMEOUT = 10.0
"""Longest wait for the server at the start, in seconds."""
CALL_TIMEOUT = 10.0
"""Longest wait for W&B's service on this machine, in seconds."""
CLOSE_TIMEOUT = 20.0
"""Longest wait for the service to write the files of an offline run that is complete, in seconds."""
FINISH_TIMEOUT = 60.0
"""Longest wait for the last uploads of a run that is complete, in seconds."""

Mode = Literal["online", "offline", "disabled"]

RUN_ID = "run-id.txt"
"""File in a run's W&B folder with the id of its W&B run."""
SERVICE_LOG = "*/logs/debug-core.log"
"""Link that W&B makes in each session, to the log of its service: in another run, another cache or a former place."""
Table = tuple[list[str | int], list[list[Any]]]
"""Names of the columns, and the rows."""


@dataclass(frozen=True)
class Job:
    """The purpose of a W&B run. A training and its later evaluations are W&B runs of one group."""

    kind: Literal["train", "evaluate", "render"] = "train"
    """W&B's `job_type`."""
    agent: str | None = None
    """Name of the agent; None for the agent of the run."""
    suffix: str = ""
    """Suffix that tells its name from other jobs of the kind."""
    about: Mapping[str, Any] = field(default_factory=dict)
    """More entries of W&B's config."""


class WandbLog:
    """Mirrors a run's metrics to W&B. After the first error it warns in one line and does nothing more."""

    def __init__(self, run_dir: Path, config: TrainConfig, job: Job = Job()) -> None:
        self._run: Run | None = None
        self._guard: Guard | None = None
        self._stopping = threading.Lock()
        self._job = job
        self._instead = "metrics go to metrics.jsonl only" if job.kind == "train" else f"the result is in {run_dir}"
        self._lent: dict[str, str | None] = {}
        try:
            mode = choose_mode(config.log.wandb)
            if mode == "disabled":
                return
        except Exception as error:  # a broken installation can raise anything
            self._warn_off(error)
            return
        require_own_folder(run_dir)
        try:
            self._borrow_environment(run_dir, mode)
            importlib.import_module("wandb")
        except Exception as error:  # a broken installation can raise anything
            self._warn_off(error)
            return
        self._guard = guard = Guard("metarl-wandb")
        self._run = self._start(guard, run_dir, config, mode)
        self._attempt(lambda run: _record_address(run, run_dir), CALL_TIMEOUT)

    def _borrow_environment(self, run_dir: Path, mode: Mode) -> None:
        # Without these folders W&B stages files in the home directory, and it fails on an unknown WANDB_MODE whatever
        # `init` says. `finish` restores the variables for the next run.
        wanted = {f"WANDB_{name}_DIR": str((run_dir / "wandb" / name.lower()).resolve()) for name in ("DATA", "CACHE")}
        wanted = {variable: value for variable, value in wanted.items() if variable not in os.environ}
        for variable, value in {**wanted, "WANDB_MODE": mode, "WANDB_SILENT": "true"}.items():
            self._lent[variable] = os.environ.get(variable)
            os.environ[variable] = value
        if "WANDB_RUN_ID" in os.environ and "WANDB_SWEEP_ID" not in os.environ:
            warn("WANDB_RUN_ID is set, but every run has an id of its own; unset it")
        for variable in ("WANDB_RUN_ID", "WANDB_RESUME", "WANDB_NAME", "WANDB_RUN_GROUP", "WANDB_JOB_TYPE"):
            if variable in os.environ and "WANDB_SWEEP_ID" not in os.environ:
                self._lent[variable] = os.environ.pop(variable)

    def _start(self, guard: Guard, run_dir: Path, config: TrainConfig, mode: Mode) -> Run | None:
        try:
            # W&B's own time-outs count only while its service answers.
            return guard.wait(lambda: _init(run_dir, config, mode, self._job), INIT_TIMEOUT + 5)
        except TimeoutError:
            self._warn_off(TimeoutError(f"it did not start in {INIT_TIMEOUT + 5:g} s"))
            abandon_wandb()
            return None
        except Exception as error:  # whatever W&B raises, training goes on
            if mode == "offline":
                self._warn_off(error)
                return None
            warn(f"W&B cannot be reached: {_line(error)}; logging offline; upload with `wandb sync`")
            abandon_wandb()  # the service still holds the id of the run
            return self._start(guard, run_dir, config, "offline")

    def log(self, metrics: Mapping[str, Any]) -> None:
        """Log the metrics of one update, without waiting for W&B. `env_steps` is the x axis."""
        row = dict(metrics)
        # A step that W&B has already, from before a run was resumed, is not logged again.
        self._attempt(lambda run: run.log(row, step=int(row["update"]), commit=True))

    def summarize(self, evaluation: Evaluation, env_steps: int, picture: Path) -> None:
        """Log an evaluation: its picture (.png), a table of rounds and a table of tasks."""

        def send(run: Run) -> None:
            import wandb

            parts = {"adaptation": rounds_table(evaluation), "tasks": tasks_table(evaluation)}
            tables = {name: wandb.Table(columns=columns, data=rows) for name, (columns, rows) in parts.items()}
            run.log({"env_steps": env_steps, "adaptation_curve": wandb.Image(str(picture)), **tables})

        self._attempt(send, CALL_TIMEOUT)

    def show(self, video: Path, env_steps: int) -> None:
        """Log a video (.mp4 or .gif)."""

        def send(run: Run) -> None:
            import wandb

            film = wandb.Video(str(video), format="gif" if video.suffix.lower() == ".gif" else "mp4")
            run.log({"env_steps": env_steps, "adaptation_video": film})

        self._attempt(send, CALL_TIMEOUT)

    def finish(self, completed: bool) -> None:
        """End the W&B run. Without `completed`, W&B marks it as crashed, and its last uploads get less time."""
        offline = self._run is None or self._run.offline
        complete = CLOSE_TIMEOUT if offline else FINISH_TIMEOUT + CALL_TIMEOUT
        wait = complete if completed else CALL_TIMEOUT
        self._attempt(lambda run: run.finish(exit_code=0 if completed else 1), wait)
        self._run = None
        if self._guard is not None:
            self._guard.close()
        for variable, value in self._lent.items():
            os.environ.pop(variable, None)
            if value is not None:
                os.environ[variable] = value
        self._lent.clear()

    def _attempt(self, action: Callable[[Run], object], wait: float | None = None) -> None:
        """Let W&B do something, and wait so many seconds for it; None does not wait. Whatever happens, we go on."""
        run = self._run
        if run is None or self._guard is None:
            return
        try:
            if self._guard.busy > CALL_TIMEOUT:
                raise TimeoutError
            done = self._guard.send(lambda: self._try(action, run))
            if wait is not None:
                done.result(wait)
        except TimeoutError:
            self._stop(TimeoutError(f"its service did not answer for {CALL_TIMEOUT:g} s"))

    def _try(self, action: Callable[[Run], object], run: Run) -> None:
        if self._run is None:
            return
        try:
            action(run)
        except Exception as error:  # an outage, a full disk, a crashed W&B service: training goes on
            self._stop(error)

    def _stop(self, error: Exception) -> None:
        with self._stopping:
            if self._run is None:
                return
            self._run = None
        warn(f"W&B stopped: {_line(error)}; {self._instead}")
        if isinstance(error, OSError):  # the service is gone, or does not answer; a TimeoutError is one too
            abandon_wandb()

    def _warn_off(self, error: Exception) -> None:
        warn(f"W&B is off: {_line(error)}; {self._instead}")


def rounds_table(evaluation: Evaluation) -> Table:
    """Return a row for each round: environment steps, return and its interval."""
    columns: list[str | int] = ["round", "env_steps_in_task", "return_iqm", "interval_low", "interval_high"]
    rows = [
        [i + 1, float(evaluation.env_steps[i]), float(evaluation.iqm[i]), *map(float, evaluation.interval[i])]
        for i in range(evaluation.rounds)
    ]
    return columns, rows


def tasks_table(evaluation: Evaluation) -> Table:
    """Return a row for each task: number, parameters, return of each round, and success if the family defines it."""
    measured = {"return": evaluation.returns}
    if evaluation.successes is not None:
        measured["success"] = evaluation.successes
    rounds = range(1, evaluation.rounds + 1)
    columns: list[str | int] = [
        "task",
        *evaluation.tasks.values,
        *(f"{name}_round_{k}" for name in measured for k in rounds),
    ]
    rows = [
        # W&B has no cell for arrays.
        [
            i,
            *(str(v) if isinstance(v, list) else v for v in task.values()),
            *np.hstack([m[i] for m in measured.values()]).tolist(),
        ]
        for i, task in enumerate(evaluation.tasks)
    ]
    return columns, rows


def choose_mode(config: WandbConfig) -> Mode:
    """Return the mode of the config, else of WANDB_MODE, else 'online' with a key and 'offline' without one.

    An unknown WANDB_MODE, and 'online' without a key, become 'offline' with a warning: W&B would prompt for a key.
    """
    asked = config.mode or os.environ.get("WANDB_MODE")
    if asked == "disabled":
        return "disabled"
    if asked == "offline":
        return "offline"
    if asked and asked != "online":
        warn(f"WANDB_MODE is {shorten(asked)}; it must be 'online', 'offline' or 'disabled': logging offline")
        return "offline"
    if _has_key():
        return "online"
    if asked:
        warn("W&B has no key (WANDB_API_KEY or `wandb login`); logging offline; upload with `wandb sync`")
    return "offline"


def _has_key() -> bool:
    if os.environ.get("WANDB_API_KEY"):
        return True
    path = Path(os.environ.get("NETRC") or Path.home() / ".netrc")
    try:
        return not _hosts().isdisjoint(netrc.netrc(path).hosts) if path.exists() else False
    except (OSError, netrc.NetrcParseError):
        return False


def _hosts() -> set[str]:
    """Return the host names under which .netrc may hold the key; W&B's own server has had more than one."""
    import wandb

    own = os.environ.get("WANDB_BASE_URL")
    return {urlsplit(url).netloc for url in ([own] if own else [wandb.Settings().base_url, "https://api.wandb.ai"])}


def require_own_folder(run_dir: Path) -> None:
    """Raise MetarlError if W&B would write outside the run folder, or would take its server from a file in a run.

    W&B reads `wandb/settings` of the current folder: in a stranger's run it could send the user's key anywhere.
    """
    found = [folder_inside(run_dir, name, SERVICE_LOG) / "settings" for name in ("wandb", ".wandb")]
    here = Path.cwd()
    above = [here, *here.parents]
    if run_dir.resolve() in above or any((folder / PROVENANCE).is_file() for folder in above):
        found += [here / name / "settings" for name in ("wandb", ".wandb")]
    for file in found:
        if os.path.lexists(file):
            raise MetarlError(
                f"{file} lies in a run folder and would change W&B's server or account; remove it, and set "
                "WANDB_BASE_URL instead"
            )


def _init(run_dir: Path, config: TrainConfig, mode: Mode, job: Job) -> Run:
    import wandb

    name = run_dir.resolve().name if job.kind == "train" else f"{run_dir.resolve().name} {job.kind}{job.suffix}"

    settings = wandb.Settings(
        init_timeout=INIT_TIMEOUT,
        login_timeout=INIT_TIMEOUT,
        finish_timeout=FINISH_TIMEOUT,
        silent=True,
        console="off",
        disable_code=True,
        disable_git=os.path.lexists(run_dir / ".git"),  # git runs commands that a repository's config names
        use_dot_wandb=False,
    )
    run = wandb.init(
        mode=mode,
        dir=run_dir,
        id=_run_id(run_dir, job),
        resume="allow" if job.kind == "train" else "never",
        name=name[:128],
        config={**resolve(config), **job.about},
        project=config.log.wandb.project,
        entity=config.log.wandb.entity,
        group=config.log.wandb.group or f"{family_title(config)}-{job.agent or config.agent['name']}"[:128],
        job_type=job.kind,
        tags=[*config.log.wandb.tags, f"seed-{config.seed}"],
        settings=settings,
    )
    run.define_metric("*", step_metric="env_steps")
    return run


def _run_id(run_dir: Path, job: Job) -> str:
    """Return the id of the training's W&B run, kept in the run folder for when it is resumed, or a new one."""
    new = secrets.token_hex(5)  # of the system: the random numbers of a run are its own
    if job.kind != "train":
        return new
    file = path_inside(run_dir, Path("wandb") / RUN_ID)
    known = file.read_text(encoding="utf-8").strip() if file.exists() else ""
    # In a sweep, W&B's own agent names the run that it waits for.
    asked = os.environ.get("WANDB_RUN_ID", "") if "WANDB_SWEEP_ID" in os.environ else ""
    number = asked or (known if re.fullmatch(r"[a-z0-9]{4,64}", known) else new)
    write_atomically(file, f"{number}\n".encode())
    return number


def _record_address(run: Run, run_dir: Path) -> None:
    """Append the address of an online W&B run to a file in the run folder, once. Reports link to it."""
    if run.offline or not run.url:  # an offline run warns when its address is read
        return
    file = path_inside(run_dir, Path("wandb") / URLS)
    known = file.read_text(encoding="utf-8").split() if file.exists() else []
    if run.url not in known:
        write_atomically(file, "".join(f"{url}\n" for url in [*known, run.url]).encode())


def _line(error: Exception) -> str:
    return f"{type(error).__name__}: {error}".split("\n", 1)[0]
