"""The plan of a study: what it searches, by what, and the trainings of a trial."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from optuna.pruners import BasePruner

from ..base.bounds import LAST_SEED
from ..base.cores import available_threads
from ..base.errors import MetarlError
from ..base.settings import shorten
from ..runs.config import TrainConfig, make_family, resolve
from ..runs.run import differences
from .process import Job
from .pruners import PRUNERS
from .space import Label, Space, override, overrides

RULES = ("engine", "sampler", "sampler_seed", "pruner", "seeds")
"""Options that may not change while a study lasts."""
LOOSE = ("log", "threads", "device", "checkpoint_every", "rollout_shards")
"""Settings of the config that may change: no score depends on them but for rounding."""


@dataclass(frozen=True)
class Plan:
    """A study that is asked for."""

    folder: Path
    """Folder of the study."""
    words: tuple[str, ...]
    """The config and its overrides, as words of a command."""
    load: Callable[[Sequence[str]], TrainConfig]
    """Returns the config with more overrides."""
    base: TrainConfig
    """The config with none."""
    space: Space
    """The settings that are searched."""
    sampler: str
    """Name in `SAMPLERS`."""
    sampler_seed: int
    """Seed of the sampler."""
    pruner: str
    """Name in `PRUNERS`."""
    seeds: int
    """Training seeds of each trial, counted from the config's own."""
    trials: int
    """Trials in all."""
    workers: int
    """Trials side by side."""
    storage: str | None
    """URL or journal file of Optuna's storage; None for a file in the folder."""
    metarl: tuple[str, ...]
    """Words that start `metarl` in a process."""
    engine: str = "optuna"
    """What runs the trials."""

    @property
    def definition(self) -> dict[str, Any]:
        """What may not change while the study lasts, as plain data."""
        config = {key: value for key, value in resolve(self.base).items() if key not in LOOSE}
        space = {each.key: vars(each) for each in self.space}
        rules = {rule: getattr(self, rule) for rule in RULES}
        if self.engine == "ray":  # its tuner is restored as it was
            rules["trials"] = self.trials
        return dict(json.loads(json.dumps({"config": config, "space": space, **rules})))

    def require_same(self, theirs: Mapping[str, Any]) -> None:
        """Raise MetarlError, which names what differs, unless the study began with this plan."""
        ours = self.definition
        if added := ours["space"].keys() ^ theirs["space"].keys():
            raise self._another("space", f"{min(added)} is in one of both")
        for key in (*RULES, *({"trials"} & ours.keys()), "space", "config"):
            for name, mine, other in differences(key, ours[key], theirs[key]):
                told = name.partition(".")[2] or f"--{name.replace('_', '-')}"
                raise self._another(key, f"{told} is {shorten(mine)}, it was {shorten(other)}")

    def _another(self, key: str, told: str) -> MetarlError:
        return MetarlError(
            f"study {self.folder} began with another {key.replace('_', ' ')}: {told}; put it back, or begin a study in "
            "another folder by --study DIR"
        )

    def require_unchanged(self) -> None:
        """Raise MetarlError if the config's file has changed since this process began: trials would not compare."""
        if resolve(self.load([])) != resolve(self.base):
            raise MetarlError(f"{self.words[0]} has changed since the study began; put it back, and resume the study")

    def trial_dir(self, number: int) -> Path:
        """Return the folder of a trial's runs."""
        return self.folder / "trials" / f"{number:04}"

    def jobs(self, number: int, params: Mapping[str, Label]) -> list[Job]:
        """Return the trainings of a trial. Raises MetarlError for settings that the config refuses together."""
        return self.jobs_in(self.trial_dir(number), params)

    def jobs_in(self, folder: Path, params: Mapping[str, Label]) -> list[Job]:
        """Return the trainings of a trial, as `jobs` does, with runs in a folder."""
        words, first = overrides(self.space, params), self.base.seed
        self.load(words)
        seeds = range(first, first + self.seeds)
        return [self.job(folder / f"seed{seed}", words, seed) for seed in seeds]

    def job(self, run_dir: Path, words: Sequence[str], seed: int) -> Job:
        """Return a training with some overrides and a seed."""
        config = self.base
        if seed > LAST_SEED:
            raise MetarlError(f"seed is {config.seed}; a study needs seeds above it: take a lower one")
        own = [*words, override("seed", seed)]
        if config.log.to and config.log.wandb.group is None:
            own.append(override("log.wandb.group", self.name))
        environment = {}
        if self.workers > 1:
            cores = max(1, available_threads() // self.workers)
            environment = {name: str(cores) for name in ("OMP_NUM_THREADS",) if name not in os.environ}
            own += [] if config.threads is not None else [override("threads", cores)]
        begin = ("train", *self.words, *own, "--run-dir", str(run_dir), "--quiet")
        return Job(run_dir, begin, self.score, environment)

    @property
    def name(self) -> str:
        """Name of the study in a storage, and the group of its runs at W&B."""
        return self.folder.resolve().name[:128]

    @property
    def storage_title(self) -> str:
        """The storage as messages name it, without a password."""
        if self.storage is None:
            return str(self.folder)
        return without_password(self.storage)

    def make_pruner(self) -> BasePruner:
        """Return the pruner of the study."""
        return PRUNERS[self.pruner](self.budget)

    @property
    def by_trial(self) -> bool:
        """Whether all rounds are scored, not the last alone."""
        return self.base.evaluation.best_by == "trial" and self.base.rounds > 1

    @property
    def score(self) -> str:
        """Metric that a run keeps its best checkpoint by."""
        return "validation/return_trial" if self.by_trial else "validation/return_after"

    @property
    def budget(self) -> int:
        """Most environment steps of a trial by the config, which trials of other lengths may exceed."""
        config = self.base
        episodes = config.num_updates * config.meta_batch_size * config.replicas * config.rounds
        return self.seeds * episodes * make_family(config).horizon


def without_password(text: str) -> str:
    """Return text with the passwords of its URLs left out."""
    return re.sub(r"(://[^:/@\s]*):[^@\s]*@", r"\1:***@", text)
