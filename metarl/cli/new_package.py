"""Packages to start from, each with an example that works: for `metarl new-family` and `metarl new-agent`.

The files come from `template/`, with `$name`, `$module` and `$cls` filled in.
"""

from __future__ import annotations

import importlib.util
import keyword
import re
from collections.abc import Mapping
from pathlib import Path
from string import Template
from typing import Any

import gymnasium

from ..base.errors import MetarlError
from ..base.files import write_atomically
from ..base.progress import say
from ..base.registry import Registry
from ..base.versions import __version__
from ..families.family import FAMILIES
from ..trials.registered import AGENTS

KEBAB_CASE = re.compile(r"[a-z][a-z0-9]*(-[a-z0-9]+)*")
TEMPLATES = Path(__file__).with_name("template")
COMMON = {
    "pyproject.toml.tmpl": "pyproject.toml",
    "$kind/README.md.tmpl": "README.md",
    "$kind/package.py.tmpl": "src/$module/__init__.py",
    "$kind/tests.py.tmpl": "tests/test_$module.py",
}
"""Template to the file that it becomes, in the package of a family and of an agent."""


def new_family(name: str, folder: str | Path | None = None) -> Path:
    """Write a package with a family called `name` into `folder` (default: `name`, here), and return the folder.

    Raises MetarlError for a name that is not kebab-case or is taken, and for a folder that is not empty.
    """
    _check_name(FAMILIES, name)
    _check_env_id(name)
    return _write(FAMILIES, name, folder, COMMON, "A family of tasks for metarl")


def new_agent(name: str, folder: str | Path | None = None) -> Path:
    """Write a package with an agent called `name` into `folder` (default: `name`, here), and return the folder.

    Raises MetarlError for a name that is not kebab-case or is taken, and for a folder that is not empty.
    """
    _check_name(AGENTS, name)
    files = {**COMMON, "$kind/config.yaml.tmpl": "config.yaml"}
    return _write(AGENTS, name, folder, files, "An agent for metarl")


def say_next(folder: Path, name: str) -> None:
    """Print which folder was written, and the next command."""
    say(f"made {folder}\nnext: cd {folder} && pip install -e '.[dev]' && python -m pytest && metarl check {name}")


def _write(
    registry: Registry[Any], name: str, folder: str | Path | None, files: Mapping[str, str], description: str
) -> Path:
    folder = Path(name if folder is None else folder)
    _check_folder(folder)
    words = {
        "kind": registry.kind,
        "group": registry.group,
        "name": name,
        "module": _module(name),
        "cls": _class(name),
        "version": __version__,
        "description": description,
    }
    for template, path in files.items():
        text = (TEMPLATES / Template(template).substitute(words)).read_text(encoding="utf-8")
        write_atomically(folder / Template(path).substitute(words), Template(text).substitute(words).encode())
    return folder


def _module(name: str) -> str:
    return name.replace("-", "_")


def _class(name: str) -> str:
    return "".join(part.capitalize() for part in name.split("-"))


def _check_name(registry: Registry[Any], name: str) -> None:
    if not KEBAB_CASE.fullmatch(name):
        raise MetarlError(
            f"{registry.kind} name {name!r} is not in kebab-case; take small letters, digits and hyphens, "
            "as in 'windy-cart'"
        )
    if name in list(registry):
        raise MetarlError(
            f"{registry.kind} {name!r} is registered already; take another name, or see "
            f"`metarl {registry.kinds} {name}`"
        )
    if keyword.iskeyword(_module(name)) or _is_importable(_module(name)):
        raise MetarlError(
            f"{registry.kind} name {name!r} gives module {_module(name)!r}, which Python has already; "
            f"take another name, as in 'my-{name}'"
        )


def _check_env_id(name: str) -> None:
    env_id = f"metarl/{_class(name)}-v0"
    if env_id in gymnasium.registry:
        other = gymnasium.registry[env_id].kwargs.get("family")
        raise MetarlError(f"family name {name!r} gives Gymnasium id {env_id!r}, which {other!r} has; take another name")


def _is_importable(module: str) -> bool:
    spec = importlib.util.find_spec(module)
    return spec is not None and spec.origin is not None  # a mere folder of that name is no module


def _check_folder(folder: Path) -> None:
    if folder.exists() and not folder.is_dir():
        raise MetarlError(f"{folder} is a file; give a folder with --dir")
    if folder.is_dir() and any(folder.iterdir()):
        raise MetarlError(f"folder {folder} is not empty; give an empty or a new one with --dir")
