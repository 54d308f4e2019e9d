"""Names of settings: the keys in which runs of one agent differ from each other and from the agent's defaults."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from typing import Any

from ..base.errors import MetarlError
from ..base.settings import validate
from ..runs.config import TrainConfig, without_name
from ..runs.start import StartConfig
from ..runs.teacher import TeacherConfig, teacher_name
from ..trials.registered import AGENTS
from .runs import flatten


def name_settings(settings: Sequence[Mapping[str, Any]]) -> list[list[str]]:
    """Return the changes that tell each setting from the others of one agent, such as 'agent.outer.name=trpo'.

    A setting is the config of a run, without its seed. A change is a key in which the setting differs from another one
    and from its default; a key without a default is always written. Two choices of other names, such as trpo and ppo,
    differ in their name alone: the keys of a choice are compared only with those of the same choice.
    """
    flat = [flatten(_without_usual(setting)) for setting in settings]
    names = []
    for setting, mine in zip(settings, flat, strict=True):
        usual = _defaults(setting)
        names.append(
            [
                f"{key}={value}"
                for key, value in mine.items()
                if any(_differ(key, mine, other) for other in flat) and not (key in usual and usual[key] == value)
            ]
        )
    return names


def _without_usual(setting: Mapping[str, Any]) -> dict[str, Any]:
    """Return a setting whose teacher and start are told by their names, beside what is not usual of them."""
    found = dict(setting)
    if (teacher := found.pop("teacher", None)) is not None:
        usual = TeacherConfig(of=teacher["of"], preset=teacher["preset"]).model_dump(mode="json")
        named = {**teacher, "of": "+".join(map(_teacher_words, teacher["of"]))}
        found |= _unusual("teacher", named, {**usual, "preset": None}, "of")
    if (start := found.pop("start_from", None)) is not None:
        found |= _unusual("start_from", start, StartConfig(run=start["run"]).model_dump(mode="json"), "run")
    return found


def _teacher_words(teacher: Mapping[str, Any]) -> str:
    """Return a teacher's name, with those of its settings that are not its defaults."""
    settings = without_name(teacher) if "run" not in teacher else {}
    try:
        usual = validate(AGENTS[teacher["name"]].Config, {}, "teacher").model_dump(mode="json") if settings else {}
    except MetarlError:  # a setting is required: all are written
        usual = {}
    own = ",".join(f"{key}={value}" for key, value in settings.items() if usual.get(key, ...) != value)
    return f"{teacher_name(teacher)}({own})" if own else teacher_name(teacher)


def _unusual(section: str, settings: Mapping[str, Any], usual: Mapping[str, Any], main: str) -> dict[str, Any]:
    """Return a section's main setting under its own name, and those of the others that are not as usual."""
    others = {key: value for key, value in settings.items() if key != main and value != usual[key]}
    return {section: settings[main], **{f"{section}.{key}": value for key, value in others.items()}}


def _differ(key: str, mine: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    """Return whether two flat settings differ in `key`; False where it belongs to choices of other names."""
    sections = itertools.accumulate(key.split(".")[:-1], lambda outer, inner: f"{outer}.{inner}")
    choices = [name for section in sections if (name := f"{section}.name") in mine and name != key]
    if any(other.get(name) != mine[name] for name in choices):
        return False
    return key not in other or other[key] != mine[key]


def _defaults(setting: Mapping[str, Any]) -> dict[str, Any]:
    """Return the default of each key, by dotted key; of a key of a choice, that of the choice made.

    Keys of the family have none here, and no key of the agent has one where a setting of it is required.
    """
    agent = setting["agent"]["name"]
    usual, chosen = (_complete(agent, settings) for settings in ({}, _choices(without_name(setting["agent"]))))
    # The name of a choice is a default only where the agent chooses it without being asked to.
    return {**chosen, **{key: usual.get(key) for key in {*usual, *chosen} if key.endswith(".name")}}


def _complete(agent: str, settings: Mapping[str, Any]) -> dict[str, Any]:
    """Return a flat config of an agent with these settings, and defaults for all others that have one."""
    top = TrainConfig(family={}, agent={}).model_dump(mode="json")
    try:
        own = validate(AGENTS[agent].Config, settings, agent).model_dump(mode="json")
    except MetarlError:  # a setting is required: every difference is written
        own = {}
    return flatten({**top, "agent": own})


def _choices(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Return nested settings with nothing but the names of choices."""
    inner = {key: _choices(value) for key, value in settings.items() if isinstance(value, Mapping)}
    own = {"name": settings["name"]} if "name" in settings else {}
    return own | {key: value for key, value in inner.items() if value}
