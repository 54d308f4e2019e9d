"""The teachers of a training: made from its config once, asked in every trial."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from gymnasium import spaces

from ..base.errors import MetarlError
from ..base.schedule import Schedule
from ..families.family import TaskFamily
from ..runs.config import TrainConfig, without_name
from ..runs.run import BEST, LAST, checkpoint_path, load_run
from ..runs.teacher import TeacherConfig
from ..trials.agent import Agent, TrainableAgent
from ..trials.episodes import Imitation
from ..trials.registered import make_agent
from ..trials.teaching import Teaching


class Teachers:
    """Who teaches in a run, and how much after each update."""

    def __init__(self, config: TrainConfig, family: TaskFamily, student: TrainableAgent) -> None:
        """Make them. Raises MetarlError for a student that cannot be taught, and a teacher that cannot teach it."""
        self.config, self.teacher = config, config.teacher
        self.agents: tuple[Agent, ...] = ()
        self.digests: dict[str, str] = {}
        """SHA-256 of the checkpoint of each run that teaches, by its folder."""
        if self.teacher is None:
            return
        name = config.agent["name"]
        if not student.can_be_taught:
            raise MetarlError(
                f"teacher is given, but agent {name!r} cannot learn from one with these settings; take one that can, "
                "such as rl2, or leave teacher out"
            )
        if config.parallel is not None:
            raise MetarlError("teacher and parallel are both given, and a divided agent has no teacher; leave one out")
        _require_choices(family, self.teacher.temperature)
        if not student.answers_in_training:
            _require_of_answers(self.teacher, name)
        self.agents = tuple(self._make(each, family) for each in self.teacher.of)

    def _make(self, teacher: Mapping[str, Any], family: TaskFamily) -> Agent:
        config = self.config
        if "run" not in teacher:
            seed, settings = config.seed, without_name(teacher)
            return make_agent(teacher["name"], family, settings, seed=seed, device=config.device)
        folder = str(teacher["run"]).replace("{seed}", str(config.seed))
        try:
            run = load_run(folder, teacher["checkpoint"], device=config.device)
            _require_same_world(run.family, family)
        except MetarlError as error:
            raise MetarlError(f"teacher.of.run is {folder!r}: {error}") from None
        path = checkpoint_path(folder, BEST if teacher["checkpoint"] == "best" else LAST)
        self.digests[folder] = hashlib.sha256(Path(path).read_bytes()).hexdigest()
        return run.agent

    def require_unchanged(self, digests: Mapping[str, str]) -> None:
        """Raise MetarlError unless the runs that teach are those that taught before, by their digests."""
        for folder, digest in self.digests.items():
            if digests.get(folder, digest) != digest:
                raise MetarlError(
                    f"teacher.of.run is {folder!r}: its checkpoint has changed since this run began; restore it from a "
                    "copy, or begin a new run"
                )

    def after(self, updates: int) -> Teaching | None:
        """Return who teaches, and how much, in the trial after a number of updates; None without a teacher."""
        if self.teacher is None:
            return None
        return Teaching(
            self.agents,
            Imitation(self.teacher.loss, self.teacher.weight.at(updates), self.teacher.temperature),
            share=self.teacher.share.at(updates),
            random=self.teacher.partner == "random",
            learns=self.teacher.learns,
        )


def _require_choices(family: TaskFamily, temperature: float) -> None:
    """Raise MetarlError for a temperature where answers are no choices."""
    if temperature != 1 and isinstance(family.action_space, spaces.Box):
        raise MetarlError(
            f"teacher.temperature is {temperature:g}, which softens choices, and actions of family {family.name!r} are "
            "numbers; leave it out"
        )


def _require_of_answers(teacher: TeacherConfig, name: str) -> None:
    """Raise MetarlError for settings that mean nothing to a student that learns from right answers."""
    if teacher.share != Schedule(start=0.0):
        raise MetarlError(
            f"teacher.share is above 0, but {name!r} learns from right answers: who plays changes nothing of what is "
            "asked; leave out share, and presets that set it"
        )
    if teacher.learns == "sample":
        raise MetarlError(
            f"teacher.learns is 'sample', but the teachers of {name!r} answer with what they hold for best; take "
            "distribution or mode"
        )


def _require_same_world(theirs: TaskFamily, ours: TaskFamily) -> None:
    """Raise MetarlError unless a teacher's family has the name and the spaces of the student's."""
    if theirs.name != ours.name:
        raise MetarlError(f"it is trained on family {theirs.name!r}, and this run on {ours.name!r}; take a run of that")
    for name in ("observation_space", "action_space"):
        mine, other = getattr(ours, name), getattr(theirs, name)
        if mine != other:
            raise MetarlError(f"its {name.replace('_', ' ')} is {other}, and this run's is {mine}; take equal settings")
