"""Settings: frozen models of what a user writes, and one line for what is wrong with it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Annotated, Any, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from .errors import MetarlError, did_you_mean

Count = Annotated[int, Field(ge=1)]
"""A setting that counts: one or more."""

Positive = Annotated[float, Field(gt=0)]
"""A setting above zero."""

Fraction = Annotated[float, Field(ge=0, le=1)]
"""A setting from 0 to 1."""


class Settings(BaseModel):
    """Base of every configuration: frozen, unknown keys refused, a docstring under each field."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True, allow_inf_nan=False)


M = TypeVar("M", bound=BaseModel)

Origin = Callable[[str], str]
"""Where the value of a dotted key was given: a file's path, or an override on the command line."""


def validated(cls: type[M], data: Mapping[str, Any], where: str) -> M:
    """Return `data` as a model. Raises MetarlError with one line on the first mistake, which begins with `where`."""
    return _validated(cls, data, lambda key: where)


def _validated(cls: type[M], data: Mapping[str, Any], origin: Origin, section: str = "") -> M:
    try:
        model = cls.model_validate(dict(data))
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        path = tuple(str(part) for part in first["loc"])
        key = ".".join([*([section] if section else []), *path])
        complaint = _complaint(cls, path, first["type"], first["msg"], first["input"])
        raise MetarlError(f"{origin(key)}: {key}{complaint}") from None
    _refuse_booleans_for_numbers(model, data, origin, section)
    return model


_RULES = {
    "missing": "give it a value",
    "model_type": "it must be a mapping of keys to values",
    "dict_type": "it must be a mapping of keys to values, or a bare name",
    "tuple_type": "it must be a list",
    "invalid_key": "keys must be words",
}


def _complaint(cls: type[BaseModel], path: tuple[str, ...], kind: str, message: str, given: Any) -> str:
    """Return what is wrong with the value at `path`, to stand behind its key."""
    if kind == "extra_forbidden":
        return f": unknown key; {did_you_mean(path[-1], _keys_at(cls, path[:-1]))}"
    if kind == "missing":
        return f": missing; {_RULES[kind]}"
    rule = _RULES.get(kind, message.replace("Input should be", "it must be").removeprefix("Value error, "))
    if not path:
        return f": {rule}"  # of the whole: settings that do not go together
    return f" is {shortened(given)}: {rule}"


def _keys_at(cls: type[BaseModel], path: tuple[str, ...]) -> Iterable[str]:
    """Return the keys of the model nested at `path`."""
    for part in path:
        annotation = cls.model_fields[part].annotation if part in cls.model_fields else None
        if not (isinstance(annotation, type) and issubclass(annotation, BaseModel)):
            return ()
        cls = annotation
    return cls.model_fields


def shortened(value: Any) -> str:
    """Return the value as Python writes it, on one line of at most 80 characters."""
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:77]}..."


def _refuse_booleans_for_numbers(value: Any, given: Any, origin: Origin, key: str) -> None:
    # pydantic reads true as 1, which in a config is always a slip.
    if isinstance(given, bool) and not isinstance(value, bool):
        raise MetarlError(f"{origin(key)}: {key} is {given}: it must be a number")
    for part, inner, inner_given in _parts(value, given):
        _refuse_booleans_for_numbers(inner, inner_given, origin, f"{key}.{part}" if key else part)


def _parts(value: Any, given: Any) -> Iterator[tuple[str, Any, Any]]:
    """Yield the name of each part of a section or a list, what it was read as, and as what it was given."""
    items = dict(value) if isinstance(value, BaseModel) else value
    if isinstance(items, Mapping) and isinstance(given, Mapping):
        yield from ((str(name), items[name], given[name]) for name in given if name in items)
    elif isinstance(items, (list, tuple)) and isinstance(given, (list, tuple)):
        yield from ((str(i), *pair) for i, pair in enumerate(zip(items, given, strict=False)))
