"""Settings: frozen models of what a user writes, and one line for what is wrong with it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Annotated, Any, ClassVar, TypeVar, get_args

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator
from pydantic.fields import FieldInfo

from .errors import MetarlError, did_you_mean

Count = Annotated[int, Field(ge=1)]
"""A setting that counts: one or more."""

Positive = Annotated[float, Field(gt=0)]
"""A setting above zero."""

Fraction = Annotated[float, Field(ge=0, le=1)]
"""A setting from 0 to 1."""


class Settings(BaseModel):
    """Base of every configuration: frozen, unknown keys refused, a docstring under each field.

    Settings that belong to one of several choices are a class of their own with a `name: Literal[...]`, and the field
    that chooses is a union of such classes with `Field(discriminator="name")`. A user writes the bare name, or a
    mapping with it: `outer: trpo`, `outer: {name: trpo, max_kl: 0.02}`. Without a name it is the default's.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True, allow_inf_nan=False)

    moved: ClassVar[Mapping[str, str]] = {}
    """Keys that stood here once, with the dotted key to write now, seen from these settings."""

    @model_validator(mode="before")
    @classmethod
    def _name_choices(cls, data: Any) -> Any:
        return {key: _with_name(cls, key, value) for key, value in data.items()} if isinstance(data, Mapping) else data


def _with_name(cls: type[BaseModel], key: str, value: Any) -> Any:
    field = cls.model_fields.get(key)
    if field is None or field.discriminator != "name":
        return value
    if isinstance(value, str):
        return {"name": value}
    if isinstance(value, Mapping) and "name" not in value and isinstance(field.default, BaseModel):
        return {"name": dict(field.default)["name"], **value}
    return value


def choices(field: FieldInfo) -> dict[str, type[BaseModel]]:
    """Return the settings classes that a field chooses between, by name; none where it chooses nothing."""
    if field.discriminator != "name":
        return {}
    classes = get_args(field.annotation) or (field.annotation,)
    return {str(get_args(each.model_fields["name"].annotation)[0]): each for each in classes}


M = TypeVar("M", bound=BaseModel)

Origin = Callable[[str], str]
"""Where the value of a dotted key was given: a file's path, or an override on the command line."""


def validate(cls: type[M], data: Mapping[str, Any], where: str) -> M:
    """Return `data` as a model. Raises MetarlError with one line on the first mistake, which begins with `where`."""
    return validate_from(cls, data, lambda key: where)


def validate_from(cls: type[M], data: Mapping[str, Any], origin: Origin, section: str = "") -> M:
    """Return `data` as a model, as `validate` does; `origin` says where each key of `section` was written."""
    try:
        model = cls.model_validate(dict(data))
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        models, path = _way(cls, tuple(str(part) for part in first["loc"]))
        prefix = [section] if section else []
        if first["type"] == "union_tag_invalid":
            path = (*path, "name")
        key = ".".join([*prefix, *path])
        if first["type"] == "union_tag_invalid":
            tag, field = first["input"]["name"], models[-1].model_fields[path[-2]]
            complaint = f" is {shortened(tag)}: unknown; {did_you_mean(str(tag), choices(field))}"
        elif first["type"] == "extra_forbidden":
            complaint = f": {_remedy_for_unknown(models, path, prefix)}"
        else:
            complaint = _complaint(path, first["type"], first["msg"], first["input"])
        raise MetarlError(f"{origin(key)}: {key}{complaint}") from None
    refuse_booleans_for_numbers(model, data, origin, section)
    return model


_RULES = {
    "missing": "give it a value",
    "model_type": "it must be a mapping of keys to values",
    "dict_type": "it must be a mapping of keys to values, or a bare name",
    "model_attributes_type": "it must be a name, or a mapping with a name",
    "union_tag_not_found": "it must be a name, or a mapping with a name",
    "tuple_type": "it must be a list",
    "invalid_key": "keys must be words",
}


def _complaint(path: tuple[str, ...], kind: str, message: str, given: Any) -> str:
    """Return what is wrong with the value at `path`, to stand behind its key."""
    if kind == "missing":
        return f": missing; {_RULES[kind]}"
    rule = _RULES.get(kind, message.replace("Input should be", "it must be").removeprefix("Value error, "))
    if not path:
        return f": {rule}"  # of the whole: settings that do not go together
    return f" is {shortened(given)}: {rule}"


def _way(cls: type[BaseModel], location: tuple[str, ...]) -> tuple[list[type[BaseModel]], tuple[str, ...]]:
    """Return the models that lead to an error's location, and its keys without the names of choices between them."""
    models, keys, parts = [cls], [], list(location)
    while parts:
        keys.append(part := parts.pop(0))
        field = models[-1].model_fields.get(part)
        if field is None:
            continue
        inner = field.annotation
        if (among := choices(field)) and parts:
            inner = among[parts.pop(0)]
        if isinstance(inner, type) and issubclass(inner, BaseModel) and parts:
            models.append(inner)
    return models, tuple(keys)


def _remedy_for_unknown(models: list[type[BaseModel]], path: tuple[str, ...], prefix: list[str]) -> str:
    """Return what to write instead of the unknown key at the end of `path`."""
    key, model = path[-1], models[-1]
    place = [*prefix, *path[:-1]]
    moved = getattr(model, "moved", {})
    if key in moved:
        return f"unknown key; write {'.'.join([*place, moved[key]])}"
    if len(models) > 1:
        siblings = choices(models[-2].model_fields[path[-2]])
        for name, sibling in siblings.items():
            if key in sibling.model_fields:
                return f"unknown key; it is a setting of {name!r}: write {'.'.join(place)}={{name: {name}, {key}: ...}}"
    return f"unknown key; {did_you_mean(key, model.model_fields)}"


def shortened(value: Any) -> str:
    """Return the value as Python writes it, on one line of at most 80 characters."""
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:77]}..."


def refuse_booleans_for_numbers(value: Any, given: Any, origin: Origin, key: str) -> None:
    """Raise MetarlError where `given` has a truth value and `value`, which was read from it, a number."""
    # pydantic reads true as 1, which in a config is always a slip.
    if isinstance(given, bool) and not isinstance(value, bool):
        raise MetarlError(f"{origin(key)}: {key} is {given}: it must be a number")
    for part, inner, inner_given in _parts(value, given):
        refuse_booleans_for_numbers(inner, inner_given, origin, f"{key}.{part}" if key else part)


def _parts(value: Any, given: Any) -> Iterator[tuple[str, Any, Any]]:
    """Yield the name of each part of a section or a list, what it was read as, and as what it was given."""
    items = dict(value) if isinstance(value, BaseModel) else value
    if isinstance(items, Mapping) and isinstance(given, Mapping):
        yield from ((str(name), items[name], given[name]) for name in given if name in items)
    elif isinstance(items, (list, tuple)) and isinstance(given, (list, tuple)):
        yield from ((str(i), *pair) for i, pair in enumerate(zip(items, given, strict=False)))
