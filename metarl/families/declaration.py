"""Families declared in a YAML file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ..base.errors import MetarlError


def is_yaml(name: str) -> bool:
    """Return whether the name of a family is the path of a YAML file."""
    return Path(name).suffix in (".yaml", ".yml")


def read_family(path: str | Path) -> dict[str, Any]:
    """Return the arguments of `load` in a YAML file: `name`, settings, and `preset` where the file has one.

    The file says either `family: NAME`, a registered family, or `env: ID`, an environment of Gymnasium's. Raises
    MetarlError for a file that is missing or not a mapping, and for one that says neither or both.
    """
    from ..base.yaml_text import read_yaml

    data = read_yaml(path, "a family's YAML file")
    if not isinstance(data, dict) or ("family" in data) == ("env" in data):
        raise MetarlError(
            f"{path} must be a mapping with either `family: NAME` (see `metarl families`) or `env: ID`, a Gymnasium id"
        )
    declaration = dict(data)
    if "name" in declaration:
        raise MetarlError(f"{path}: name is an unknown key; write `family: NAME`")
    name = declaration.pop("family", "gymnasium")
    if not isinstance(name, str) or is_yaml(name):
        raise MetarlError(f"{path}: family is {name!r}; it must be the name of a registered family")
    return {"name": name, **declaration}
