"""Families declared in a YAML file."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..base.code import import_code
from ..base.errors import MetarlError
from .model_files import FILE_SETTINGS, absolute_paths, adopt

TITLE = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,59}")
"""The name of a family of one's own for readers, which is a part of the names of files and folders."""

TITLE_RULE = "it must be at most 60 letters, digits, '.', '_' and '-', the first a letter or a digit"
"""Rule that `TITLE` tests."""


def is_yaml(name: str) -> bool:
    """Return whether the name of a family is the path of a YAML file."""
    return Path(name).suffix in (".yaml", ".yml")


MERGED: Mapping[str, int] = {"varies": 2, "parameters": 2, "arguments": 9}
"""Settings that are mappings of their own, with the levels of keys that `merge` takes one by one."""


def merge(declaration: Mapping[str, Any], settings: Mapping[str, Any]) -> dict[str, Any]:
    """Return what a file declares with `settings` given beside it, which come first.

    Of `varies`, `parameters` and `arguments` only the keys that are given are replaced; a distribution is one value.
    """
    merged = {**declaration, **settings}
    for key, levels in MERGED.items():
        if key in declaration and key in settings:
            merged[key] = _merge(declaration[key], settings[key], levels)
    return merged


def _merge(old: Any, new: Any, levels: int) -> Any:
    if not levels or not isinstance(old, Mapping) or not isinstance(new, Mapping):
        return new
    inner = {key: _merge(old[key], value, levels - 1) if key in old else value for key, value in new.items()}
    return {**old, **inner}


def read_family(path: str | Path) -> dict[str, Any]:
    """Return the arguments of `load` in a YAML file: `name`, `title`, settings, and `preset` where the file has one.

    The modules of the key `imports` are imported first. The file says either `family: NAME`, a registered family, or
    `env: ID`, an environment of Gymnasium's. Its own `name` becomes the title. Raises MetarlError for a file that is
    missing or not a mapping, for one that says neither or both, and for the config of a training.
    """
    from ..base.yaml_text import read_yaml

    data = read_yaml(path, "a family's YAML file")
    if not isinstance(data, dict) or ("family" in data) == ("env" in data):
        raise MetarlError(
            f"{path} must be a mapping with either `family: NAME` (see `metarl families`) or `env: ID`, a Gymnasium id"
        )
    if "agent" in data:
        raise MetarlError(
            f"{path} is the config of a training, as it has an agent; give its family: a name with family.key=value, "
            "or a file of its own"
        )
    declaration = dict(data)
    for module in _modules(declaration.pop("imports", None) or [], path):
        import_code(module)
    title = _find_title(path, declaration)
    name = declaration.pop("family", "gymnasium")
    if not isinstance(name, str) or is_yaml(name):
        raise MetarlError(f"{path}: family is {name!r}; it must be the name of a registered family")
    if "env" in declaration and "varies" not in declaration:
        raise MetarlError(
            f"{path}: varies is missing; name at least one parameter that differs from task to task, such as varies: "
            "{gravity: {train: {uniform: [5, 15]}}}"
        )
    try:
        for key in FILE_SETTINGS:
            if key in declaration:
                declaration[key] = absolute_paths(declaration[key], Path(path).absolute().parent, key)
        if "arguments" in declaration:
            declaration["arguments"] = adopt(declaration["arguments"])
    except MetarlError as error:
        raise MetarlError(f"{path}: {error}") from None
    return {"name": name, **declaration, "title": title}


def _find_title(path: str | Path, declaration: dict[str, Any]) -> str:
    """Return the family's name for readers: the file's `name`, else the file's own name without its ending."""
    if "title" in declaration:
        raise MetarlError(f"{path}: title is an unknown key; write `name: ...`")
    given = declaration.pop("name", None)
    if given is None:
        stem = re.sub(r"[^A-Za-z0-9._-]+", "-", Path(path).stem).lstrip("-._")
        return stem[:60] or "unnamed"
    if not isinstance(given, str) or not TITLE.fullmatch(given):
        raise MetarlError(f"{path}: name is {given!r}; {TITLE_RULE}")
    return given


def _modules(value: Any, path: str | Path) -> list[str]:
    if not isinstance(value, list) or not all(isinstance(module, str) for module in value):
        raise MetarlError(f"{path}: imports is {value!r}; it must be a list of modules")
    return value
