"""The reference of settings, generated from the classes that read them."""

from __future__ import annotations

import re
import sys
import types
from collections import Counter
from collections.abc import Iterator
from typing import Annotated, Any, Literal, Union, get_args, get_origin

import annotated_types
import pydantic
import yaml
from pydantic.fields import FieldInfo
from registry_pages import agent_page, agents_by_kind, first_line

from metarl.base.descriptions import description_of
from metarl.base.settings import Settings
from metarl.runs.config import TrainConfig
from metarl.runs.log_config import LogConfig
from metarl.runs.teacher import TeacherConfig
from metarl.trials.registered import AGENTS

CHOICE = "name"
"""Field by which settings that belong to one choice are told apart."""
WORDS = {int: "integer", float: "number", str: "text", bool: "`true` or `false`", type(None): "`null`"}

BARE = {LogConfig: "list", TeacherConfig: "name, or list,"}
"""What stands in short for settings, where it is not a number."""


def training_settings() -> str:
    """Return every setting of a training config, with the sections inside it."""
    return "\n\n".join(_Reference(TrainConfig, "config", heading="##").entries(TrainConfig, ""))


def agent_settings() -> str:
    """Return a section for each agent; one that has another's settings with other defaults lists these only."""
    return "\n\n".join(part for kind, names in agents_by_kind().items() for part in _kind(kind, names))


def _kind(kind: str, names: list[str]) -> Iterator[str]:
    """Yield the sections of one kind of agents. The agent whose settings others build on comes first."""
    yield f"## {kind}"
    shown: dict[str, type[Settings]] = {}
    for name in sorted(names, key=_place):
        config = AGENTS[name].Config
        yield f"### {name} {{ #{name} }}"
        yield f"{first_line(AGENTS[name])} [More](../agents/{agent_page(AGENTS[name])})."
        relative = next((other for other, cls in shown.items() if issubclass(config, _root(cls))), None)
        if not config.model_fields:
            yield "It has no settings."
        elif relative is None:
            shown[name] = config
            yield from _Reference(config, name, heading="####").entries(config, "agent")
        else:
            yield from _differences(config, shown[relative], relative)


def _place(name: str) -> tuple[int, int, str]:
    config = AGENTS[name].Config
    return len(config.__mro__), len(_changes(config, _root(config))), name


def _root(config: type[Settings]) -> type[Settings]:
    """Return the class in a module that declares an agent's settings. Presets make their classes from it."""
    return next(cls for cls in config.__mro__ if cls.__qualname__ in vars(sys.modules[cls.__module__]))


def _changes(config: type[Settings], base: type[Settings]) -> dict[str, Any]:
    """Return the defaults of a class that differ from those of another, by setting."""
    return {
        name: default(field)
        for name, field in config.model_fields.items()
        if name in base.model_fields and default(field) != default(base.model_fields[name])
    }


def _differences(config: type[Settings], base: type[Settings], whose: str) -> Iterator[str]:
    """Yield what an agent's settings have that those of an agent above have not."""
    changes = _changes(config, base)
    yield f"It has the settings of [{whose}](#{whose}){', with these defaults:' if changes else '.'}"
    if changes:
        yield "\n".join(f"- `agent.{name}`: `{_yaml(value)}`" for name, value in changes.items())
    new = [name for name in config.model_fields if name not in base.model_fields]
    if new:
        yield "And these of its own:"
    reference = _Reference(config, whose, heading="####")
    for name in new:
        yield reference.entry(f"agent.{name}", config, name)


class _Reference:
    """Writes the entries of a class of settings. A class that several fields take is written once, at the end."""

    def __init__(self, root: type[pydantic.BaseModel], anchor: str, *, heading: str) -> None:
        self.root, self.anchor, self.heading = root, anchor, heading
        found = Counter(_models(root))
        self.shared = sorted(
            (cls for cls, count in found.items() if count > 1 and not _choice(cls)), key=lambda cls: cls.__name__
        )

    def entries(self, cls: type[pydantic.BaseModel], prefix: str) -> Iterator[str]:
        """Yield an entry for each setting, then a section for each class nested in it."""
        sections = []
        for name, field in cls.model_fields.items():
            key = f"{prefix}.{name}" if prefix else name
            if name == CHOICE and _choice(cls):
                continue
            yield self.entry(key, cls, name)
            sections += [(key, model) for model in _inside(field.annotation) if model not in self.shared]
        for key, model in sections:
            yield from self._section(f"{key}: {_choice(model)}" if _choice(model) else key, model, key)
        if cls is self.root:
            for model in self.shared:
                yield from self._section(model.__name__, model, "")

    def _section(self, title: str, model: type[pydantic.BaseModel], prefix: str) -> Iterator[str]:
        yield f"{self.heading} {title} {{ #{self._anchor(title)} }}"
        yield " ".join((model.__doc__ or "").split("\n\n")[0].split())
        yield from self.entries(model, prefix)

    def _anchor(self, title: str) -> str:
        return f"{self.anchor}-{re.sub(r'[^A-Za-z0-9_]+', '-', title)}"

    def entry(self, key: str, cls: type[pydantic.BaseModel], name: str) -> str:
        """Return a setting as an entry of a definition list: name, type, default, meaning."""
        field, meaning = cls.model_fields[name], description_of(cls, name)
        return f"`{key}`\n:   *{self._kind(key, field)}{_given(field)}.* {meaning}"

    def _kind(self, key: str, field: FieldInfo) -> str:
        words = in_words(field.annotation, field.metadata)
        for model in _inside(field.annotation):
            name = _choice(model) or model.__name__
            title = model.__name__ if model in self.shared else f"{key}: {name}" if _choice(model) else key
            anchor = f"(#{self._anchor(title)})"
            if _choice(model) or model in self.shared:
                words = words.replace(f"`{name}`", f"[`{name}`]{anchor}")
            else:  # the section has the key for its heading, and the class's name says nothing to a reader
                words = words.replace(f"settings of `{name}`", f"[settings, listed below]{anchor}")
        return words


def _given(field: FieldInfo) -> str:
    """Return the words on a setting's default; none where the defaults of nested settings, listed below, are all."""
    value = default(field)
    if value == {}:
        return ""
    return ", required" if field.is_required() else f", default `{_yaml(value)}`"


def _models(cls: type[pydantic.BaseModel]) -> Iterator[type[pydantic.BaseModel]]:
    """Yield every class nested in a class of settings, as often as it is taken."""
    seen = set()
    for field in cls.model_fields.values():
        for model in _inside(field.annotation):
            yield model
            if model not in seen:
                seen.add(model)
                yield from _models(model)


def _inside(annotation: Any) -> list[type[pydantic.BaseModel]]:
    """Return the classes of settings that an annotation allows."""
    if isinstance(annotation, type) and issubclass(annotation, pydantic.BaseModel):
        return [annotation]
    return [model for part in get_args(annotation) for model in _inside(part)]


def _choice(model: type[pydantic.BaseModel]) -> str:
    """Return which choice a class's settings belong to; '' where it is no choice."""
    field = model.model_fields.get(CHOICE)
    values = get_args(field.annotation) if field and get_origin(field.annotation) is Literal else ()
    return str(values[0]) if len(values) == 1 else ""


def in_words(annotation: Any, metadata: Any = ()) -> str:
    """Return a type in words, such as 'integer, at least 1'."""
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        return in_words(arguments[0], arguments[1:])
    if origin is Literal:
        return " or ".join(f"`{_yaml(value)}`" for value in arguments)
    if origin in (Union, types.UnionType):
        return _joined([in_words(part) for part in arguments])
    if origin in (tuple, list):
        return f"list ({in_words(arguments[0])})" if arguments else "list"
    if isinstance(annotation, type) and issubclass(annotation, pydantic.BaseModel):
        choice = _choice(annotation)
        # A validator before the type's own turns a bare value into a mapping.
        bare = any(isinstance(mark, pydantic.BeforeValidator) for mark in metadata)
        short = f"{BARE.get(annotation, 'number')} or " if bare else ""
        return f"`{choice}`" if choice else f"{short}settings of `{annotation.__name__}`"
    if origin is dict or annotation is dict:
        bare = any(isinstance(mark, pydantic.BeforeValidator) for mark in metadata)
        return "name, or mapping with `name` and settings" if bare else "mapping"
    return WORDS.get(annotation, "any value") + "".join(_bounds(metadata))


def _joined(words: list[str]) -> str:
    return " or ".join(dict.fromkeys(words))


def _bounds(metadata: Any) -> Iterator[str]:
    for mark in metadata:
        if isinstance(mark, FieldInfo):
            yield from _bounds(mark.metadata)
        elif isinstance(mark, annotated_types.Ge):
            yield f", at least {_yaml(mark.ge)}"
        elif isinstance(mark, annotated_types.Gt):
            yield f", above {_yaml(mark.gt)}"
        elif isinstance(mark, annotated_types.Le):
            yield f", at most {_yaml(mark.le)}"
        elif isinstance(mark, annotated_types.Lt):
            yield f", below {_power(mark.lt)}"


def _power(value: Any) -> str:
    return "2^63" if value == 2**63 else _yaml(value)


def default(field: FieldInfo) -> Any:
    """Return a setting's default as a config file would have it."""
    return "required" if field.is_required() else plain(field.get_default(call_default_factory=True))


def plain(value: Any) -> Any:
    """Return a value as a config file would have it: of nested settings, only those that differ from their defaults."""
    if isinstance(value, pydantic.BaseModel):
        changed = {
            name: plain(getattr(value, name))
            for name, field in type(value).model_fields.items()
            if name != CHOICE and (field.is_required() or getattr(value, name) != field.get_default())
        }
        if name := _choice(type(value)):
            return {CHOICE: name, **changed} if changed else name
        return changed["start"] if set(changed) == {"start"} else changed
    return [plain(item) for item in value] if isinstance(value, (list, tuple)) else value


def _yaml(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:g}"
    return yaml.safe_dump(value, default_flow_style=True, width=10_000).removesuffix("\n...\n").strip()
