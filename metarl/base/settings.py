"""Settings: frozen, validated models of what a user writes; a mistake gets an error of one line."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Annotated, Any, ClassVar, TypeVar, get_args

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from .bounds import MOST
from .descriptions import description_of
from .errors import MetarlError, did_you_mean

Count = Annotated[int, Field(ge=1, le=MOST)]
"""A setting that counts: one or more."""

Width = Annotated[int, Field(ge=1, le=2**14)]
"""A size inside a network, such as the units of a layer."""

Depth = Annotated[int, Field(ge=1, le=256)]
"""A number of layers."""

Widths = Annotated[tuple[Width, ...], Field(max_length=256)]
"""Units of each layer."""

Positive = Annotated[float, Field(gt=0)]
"""A setting above zero."""

Fraction = Annotated[float, Field(ge=0, le=1)]
"""A setting from 0 to 1."""


class Settings(BaseModel):
    """Base of every configuration: frozen, unknown keys refused, a docstring under each field.

    A field may choose between classes of settings. Each class has a `name: Literal[...] = ...`, and the field is their
    union with `Field(discriminator="name")`. A user writes the bare name or a mapping: `outer: trpo`,
    `outer: {name: trpo, max_kl: 0.02}`. A mapping without a name changes the field's default, and so does one with the
    default's name: `outer: {clip_range: 0.2}` keeps every other setting of the default.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    moved: ClassVar[Mapping[str, str]] = {}
    """Former keys of these settings, each with the dotted key to write now, relative to these settings."""

    removed: ClassVar[Mapping[str, str]] = {}
    """Keys that stood here once and are not needed now, with the reason."""

    @model_validator(mode="before")
    @classmethod
    def _complete_choices(cls, data: Any) -> Any:
        return {key: _complete(cls, key, value) for key, value in data.items()} if isinstance(data, Mapping) else data


def _complete(cls: type[BaseModel], key: str, value: Any) -> Any:
    """Return the value of a choosing field as a mapping; of the default's choice, with the default's settings."""
    field = cls.model_fields.get(key)
    if field is None or field.discriminator != "name":
        return value
    if isinstance(value, str):
        value = {"name": value}
    if isinstance(value, Mapping) and isinstance(field.default, BaseModel):
        default = dict(field.default)
        if value.get("name", default["name"]) == default["name"]:
            return {**default, **value}
    return value


def choices(field: FieldInfo) -> dict[str, type[BaseModel]]:
    """Return the settings classes that a field chooses between, by name; none where it chooses nothing."""
    if field.discriminator != "name":
        return {}
    classes = get_args(field.annotation) or (field.annotation,)
    return {str(get_args(each.model_fields["name"].annotation)[0]): each for each in classes}


def list_settings(
    cls: type[BaseModel], default: BaseModel | None = None, prefix: str = ""
) -> Iterator[tuple[str, str]]:
    """Yield the dotted key and the description of every setting, nested ones included.

    The description of a choice's setting begins with the choice: `outer.max_kl`, "trpo: Largest KL (default 0.01)".
    `default` is the default of the whole class; None takes the defaults of its fields.
    """
    for name, field in cls.model_fields.items():
        key, meaning, among = f"{prefix}{name}", description_of(cls, name), choices(field)
        value = field.default if default is None else getattr(default, name)
        section = isinstance(value, BaseModel) and type(value).__str__ is BaseModel.__str__
        given = "required" if value is PydanticUndefined else f"default {dict(value)['name'] if among else value}"
        yield key, meaning if section and not among else f"{meaning} ({given})".strip()
        if section and not among:
            yield from list_settings(type(value), value, f"{key}.")
        whose: dict[tuple[str, str], list[str]] = {}
        for choice, other in among.items():
            for row in list_settings(other, value if isinstance(value, other) else None, f"{key}."):
                if row[0] != f"{key}.name":
                    whose.setdefault(row, []).append(choice)
        yield from ((inner, f"{', '.join(names)}: {text}") for (inner, text), names in whose.items())


M = TypeVar("M", bound=BaseModel)

Origin = Callable[[str], str]
"""Returns where the value of a dotted key was written: a file's path, or an override on the command line."""


def validate(cls: type[M], data: Mapping[str, Any], where: str) -> M:
    """Return `data` as a model. Raises MetarlError with one line on the first mistake; the line begins with `where`."""
    return validate_from(cls, data, lambda key: where)


def validate_from(cls: type[M], data: Mapping[str, Any], origin: Origin, section: str = "") -> M:
    """Return `data` as a model, like `validate`; `origin` returns where a key of `section` was written."""
    try:
        model = cls.model_validate(dict(data))
    except ValidationError as error:
        errors = error.errors(include_url=False)
        # A misspelt key is often the one that is missing.
        unknown = [each for each in errors if each["type"] == "extra_forbidden"]
        first = (unknown or errors)[0] if errors[0]["type"] == "missing" else errors[0]
        models, path = _trace(cls, tuple(str(part) for part in first["loc"]))
        prefix = [section] if section else []
        if first["type"] == "union_tag_invalid":
            path = (*path, "name")
        key = ".".join([*prefix, *path])
        if first["type"] == "union_tag_invalid":
            tag, field = first["input"]["name"], models[-1].model_fields[path[-2]]
            complaint = f" is {shorten(tag)}: unknown; {did_you_mean(str(tag), choices(field))}"
        elif first["type"] == "extra_forbidden":
            complaint = f": {_remedy_for_unknown(models, path, prefix)}"
        elif first["type"] in ("model_attributes_type", "union_tag_not_found"):
            names = ", ".join(choices(models[-1].model_fields[path[-1]]))
            complaint = f" is {shorten(first['input'])}: it must be one of {names}, or a mapping with such a name"
        else:
            complaint = _complaint(path, first["type"], first["msg"], first["input"])
        raise MetarlError(f"{origin(key)}: {key}{complaint if key else complaint.removeprefix(': ')}") from None
    refuse_booleans_for_numbers(model, data, origin, section)
    return model


_RULES = {
    "missing": "give it a value",
    "model_type": "it must be a mapping of keys to values",
    "dict_type": "it must be a mapping of keys to values, or a bare name",
    "tuple_type": "it must be a list",
    "invalid_key": "keys must be words",
}


def _complaint(path: tuple[str, ...], kind: str, message: str, given: Any) -> str:
    """Return the end of an error, behind the key: the value at `path` and the rule it breaks."""
    if kind == "missing":
        return f": missing; {_RULES[kind]}"
    rule = _RULES.get(kind, rule_in(message))
    if not path:
        return f": {rule}"  # the whole model is at fault: its settings contradict each other
    return f" is {shorten(given)}: {rule}"


def rule_in(message: str) -> str:
    """Return the rule in a message of pydantic's, such as 'it must be a valid number'."""
    return message.replace("Input should be", "it must be").removeprefix("Value error, ").partition(", unable to ")[0]


def _trace(cls: type[BaseModel], location: tuple[str, ...]) -> tuple[list[type[BaseModel]], tuple[str, ...]]:
    """Return the models on the way to an error's location, and its keys without the names of choices between them."""
    models, keys, parts = [cls], [], list(location)
    while parts:
        keys.append(part := parts.pop(0))
        field = models[-1].model_fields.get(part)
        if field is None:
            continue
        inner = field.annotation
        if (among := choices(field)) and parts:
            inner = among[parts.pop(0)]
        inner = _without_none(inner)
        if isinstance(inner, type) and issubclass(inner, BaseModel) and parts:
            models.append(inner)
    return models, tuple(keys)


def _without_none(annotation: Any) -> Any:
    """Return X of an annotation `X | None`, and any other as it is."""
    among = get_args(annotation)
    others = [each for each in among if each is not type(None)]
    return others[0] if len(others) == 1 and len(among) == 2 else annotation


def _remedy_for_unknown(models: list[type[BaseModel]], path: tuple[str, ...], prefix: list[str]) -> str:
    """Return the advice for the unknown key at the end of `path`."""
    key, model = path[-1], models[-1]
    place = [*prefix, *path[:-1]]
    moved = getattr(model, "moved", {})
    if key in getattr(model, "removed", {}):
        return f"unknown key; leave it out: {model.removed[key]}"  # type: ignore[attr-defined]
    if key in moved:
        return f"unknown key; write {'.'.join([*place, moved[key]])}"
    if len(models) > 1:
        field = ".".join(place)
        among = choices(models[-2].model_fields[path[-2]])
        chosen = next((name for name, cls in among.items() if cls is model), "")
        for name, other in among.items():
            if key in other.model_fields:
                return (
                    f"a setting of {name!r}, but {field}.name is {chosen!r}; write "
                    f"{field}={{name: {name}, {key}: ...}}, or {field}={chosen} to drop the settings of {name!r}"
                )
    return f"unknown key; {did_you_mean(key, model.model_fields)}"


def shorten(value: Any) -> str:
    """Return the value as Python writes it, on one line of at most 80 characters."""
    try:
        text = repr(value)
    except ValueError:  # Python writes no more than 4,300 digits
        text = "a number of too many digits"
    return text if len(text) <= 80 else f"{text[:77]}..."


def refuse_booleans_for_numbers(value: Any, given: Any, origin: Origin, key: str) -> None:
    """Raise MetarlError where `given` holds true or false and `value`, the model read from it, holds a number."""
    # pydantic reads true as 1; in a config that is always a slip.
    if isinstance(given, bool) and not isinstance(value, bool):
        raise MetarlError(f"{origin(key)}: {key} is {given}: it must be a number")
    for part, inner, inner_given in _parts(value, given):
        refuse_booleans_for_numbers(inner, inner_given, origin, f"{key}.{part}" if key else part)


def _parts(value: Any, given: Any) -> Iterator[tuple[str, Any, Any]]:
    """Yield each part of a section or a list: its name, its validated value, and the value as given."""
    items = dict(value) if isinstance(value, BaseModel) else value
    if isinstance(items, Mapping) and isinstance(given, Mapping):
        yield from ((str(name), items[name], given[name]) for name in given if name in items)
    elif isinstance(items, (list, tuple)) and isinstance(given, (list, tuple)):
        yield from ((str(i), *pair) for i, pair in enumerate(zip(items, given, strict=False)))
