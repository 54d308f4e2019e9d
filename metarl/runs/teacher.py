"""The `teacher` section of a training's config: who teaches, who plays, and what the student makes of the advice."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import BeforeValidator, Field, model_validator

from ..base.schedule import Schedule, Scheduled, ScheduledFraction
from ..base.settings import Positive, Settings

PRESETS: Mapping[str, Mapping[str, Any]] = {
    "dagger": {"share": {"start": 1.0, "end": 0.0, "updates": 50}},
    "dpt": {"share": 1.0, "partner": "random"},
    "algorithm-distillation": {"share": 1.0, "learns": "sample"},
    "policy-distillation": {"share": 1.0},
    "kickstarting": {"loss": "kickstart", "weight": {"start": 1.0, "end": 0.0, "updates": 200}},
}
"""What the papers set, by preset; a setting that is given wins."""


def _listed(value: Any) -> Any:
    """Return teachers as a list of mappings: a bare name is an agent's."""
    one = isinstance(value, str | Mapping)
    return tuple({"name": each} if isinstance(each, str) else each for each in ((value,) if one else value or ()))


Teachers = Annotated[tuple[dict[str, Any], ...], BeforeValidator(_listed), Field(min_length=1)]


class TaughtByRun(Settings):
    """A trained run that teaches."""

    run: Annotated[str, Field(min_length=1)]
    """Its folder."""
    checkpoint: Literal["best", "last"] = "best"
    """The checkpoint that teaches."""


class TeacherConfig(Settings):
    """A teacher says at every step of training what it would do in the student's place.

    `teacher: gittins` is short for `teacher: {of: gittins}`.
    """

    moved: ClassVar[Mapping[str, str]] = {"samples": "learns: sample for true, distribution for false"}

    of: Teachers
    """Who teaches: an agent by its name or with its settings, such as a reference or an oracle, which is shown the
    task; a trained run, `{run: FOLDER}`, with `checkpoint: last` for its last checkpoint; or a list of them, which
    share the tasks. '{seed}' in a folder becomes this run's seed."""
    preset: Literal["dagger", "dpt", "algorithm-distillation", "policy-distillation", "kickstarting"] | None = None
    """Defaults by a paper's name. dagger: the teacher plays less and less (Ross et al., 2011). dpt: random actions are
    played, and the best ones learned (Lee et al., 2023). algorithm-distillation: the teacher plays and adapts, and its
    history is learned (Laskin et al., 2023). policy-distillation: the teacher plays (Rusu et al., 2016). kickstarting:
    rewards count too (Schmitt et al., 2018)."""
    loss: Literal["imitate", "kickstart"] = "imitate"
    """`imitate` learns from the teacher alone. `kickstart` adds its loss to PPO's, or to that of right answers."""
    weight: Scheduled = Schedule(start=1.0)
    """Weight of the teacher's loss; may go from `start` to `end` over a number of `updates`."""
    temperature: Positive = 1.0
    """What the logits of teacher and student are divided by before they are compared: above 1, what the teacher holds
    for less likely counts more (Hinton et al., 2015). The loss is multiplied by its square. For choices alone."""
    share: ScheduledFraction = Schedule(start=0.0)
    """Chance, at each step of training, that the student does not play itself; may go from `start` to `end` over a
    number of `updates`. With 0 the student learns in states that it gets into itself."""
    partner: Literal["teacher", "random"] = "teacher"
    """Who plays in its place."""
    learns: Literal["distribution", "mode", "sample"] = "distribution"
    """What is learned of the teacher: its distribution, or where it tells none its best action; that alone (`mode`),
    so that the student does not learn the noise of a teacher that explored; or a sample of its actions."""

    @model_validator(mode="before")
    @classmethod
    def _with_preset(cls, data: Any) -> Any:
        preset = PRESETS.get(str(data.get("preset")), {}) if isinstance(data, Mapping) else {}
        return {**preset, **data} if preset else data

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        if self.loss == "kickstart" and self.share != Schedule(start=0.0):
            raise ValueError(
                "share is above 0, but loss is 'kickstart', which learns from rewards of the student's own actions; "
                "leave share out, or take loss: imitate"
            )
        if self.learns != "distribution" and self.temperature != 1:
            raise ValueError(
                f"temperature is {self.temperature:g}, which softens distributions, but learns is {self.learns!r}, a "
                "single action; leave one out"
            )
        return self


def spelled_out(value: Any) -> Any:
    """Return what `teacher` says as a mapping: `teacher: gittins`, or a list of teachers."""
    return {"of": value} if isinstance(value, (str, list, tuple)) else value


def teacher_name(teacher: Mapping[str, Any]) -> str:
    """Return the name that results have of a teacher: an agent's, or a run's folder; `last` for its last checkpoint."""
    if "run" not in teacher:
        return str(teacher["name"])
    return f"{teacher['run']}{'' if teacher.get('checkpoint', 'best') == 'best' else ' (last)'}"
