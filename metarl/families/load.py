"""`load`: a family from its name or YAML file, a preset and settings."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..base.errors import MetarlError, did_you_mean
from .declaration import is_yaml, merge, read_family
from .declared import DeclaredFamily
from .family import FAMILIES, TaskFamily
from .mujoco.family import MujocoFamily
from .mujoco.varied import VariedFamily
from .switching import SwitchingFamily

OPTIONS: Mapping[str, str] = {
    "switch_at": "steps of a trial after which the task changes, such as [300]",
    "varies": "fields of the MuJoCo model that differ from task to task",
    "parameters": "other values of its task parameters, such as {gravity: 9.8}, or other ranges",
    "shows_task": "whether the observation may reveal the task",
    "title": "name in tables, pictures and folders",
}
"""Settings that `load` takes for every family, with their meanings."""


def load(name: str | Path, preset: str | None = None, **settings: Any) -> TaskFamily:
    """Return the family `name` in a preset (default: its first), with `settings` replacing those of the preset.

    `name` may also be `module:Name` or `path/to/file.py:Name`, a class that is not registered, or the path of a YAML
    file (see `metarl.families.declaration.read_family`). Every family takes `switch_at`, the steps of a trial after
    which its task changes; `parameters`, other values or ranges of its task parameters, such as `{"gravity": 9.8,
    "length": {"train": {"uniform": [0.3, 0.7]}}}`; `shows_task`, whether its observation may reveal the task; and
    `title`, its name in tables. Every MuJoCo family takes `varies`, the fields of its model that differ from task to
    task (see `metarl.families.variation.parse_variations`). Raises MetarlError for an unknown family, preset or
    setting, and for a setting of a wrong type or out of range.
    """
    if not isinstance(name, (str, Path)):
        raise MetarlError(f"family is {name!r}; give the name of a registered family, or the path of a YAML file")
    name = str(name)
    if is_yaml(name):
        declaration = read_family(name)
        try:
            return load(**{**merge(declaration, settings), **({} if preset is None else {"preset": preset})})
        except MetarlError as error:
            raise MetarlError(f"{name}: {error}") from None
    cls = FAMILIES[name]
    preset = next(iter(cls.presets), None) if preset is None else preset
    if preset is not None and (not isinstance(preset, str) or preset not in cls.presets):
        raise MetarlError(f"preset {preset!r} is unknown to family {name!r}; {did_you_mean(str(preset), cls.presets)}")
    own, options = split_options(cls, {**(cls.presets[preset] if preset is not None else {}), **settings})
    known = [field.name for field in dataclasses.fields(cls)]  # type: ignore[arg-type]
    for setting in own:
        if setting not in known:
            raise MetarlError(
                f"setting {setting!r} is unknown to family {name!r}; {did_you_mean(setting, [*known, *OPTIONS])}"
            )
    return add_options(_make(cls, own), **options)


def split_options(cls: type[TaskFamily], settings: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the settings of a class, and the options among them, such as the `switch_at` of a preset.

    An option that is None is left out.
    """
    known = {field.name for field in dataclasses.fields(cls)}  # type: ignore[arg-type]
    own = {name: value for name, value in settings.items() if name in known or name not in OPTIONS}
    return own, {name: value for name, value in settings.items() if name not in own and value is not None}


def add_options(
    family: TaskFamily, varies: Mapping[str, Any] | None = None, switch_at: Any = None, **declared: Any
) -> TaskFamily:
    """Return the family with options. Raises MetarlError for a value that an option does not take."""
    if varies is not None:
        if not isinstance(family, MujocoFamily):
            raise MetarlError(_refuse_varies(family))
        family = VariedFamily(family, varies)
    if declared:
        family = DeclaredFamily(family, **{f"{option}_given": value for option, value in declared.items()})
    if switch_at is not None:
        steps = switch_at if isinstance(switch_at, (list, tuple)) else [switch_at]
        if not all(isinstance(step, int) and not isinstance(step, bool) for step in steps):
            raise MetarlError(f"switch_at is {switch_at!r}; it must be ascending whole numbers of steps, such as [300]")
        family = SwitchingFamily(family, tuple(steps))
    return family


def _refuse_varies(family: TaskFamily) -> str:
    """Return the error of a family without a MuJoCo model, with what to write instead."""
    own = ", ".join(family.parameters)
    other = f"; or write `env: {family.gymnasium_id}` to vary others" if family.gymnasium_id else ""
    return (
        f"family {family.name!r} has no MuJoCo model, so it takes no `varies`; change the values of its parameters "
        f"({own}) under `parameters`{other}"
    )


def _make(cls: type[TaskFamily], settings: Mapping[str, Any]) -> TaskFamily:
    """Return the family with settings of checked type and range."""
    from pydantic import TypeAdapter, ValidationError

    from ..base.settings import rule_in

    try:
        return TypeAdapter(cls).validate_python(dict(settings))
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        given = "" if first["type"] == "missing" else f" is {first['input']!r}"
        raise MetarlError(f"setting {where!r} of family {cls.name!r}{given}: {rule_in(first['msg'])}") from None
