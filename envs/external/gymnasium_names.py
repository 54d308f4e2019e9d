"""Ids of Gymnasium's environments, and the modules that register those of other packages."""

from __future__ import annotations

import importlib.util
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import gymnasium
from gymnasium.envs.registration import EnvSpec

from metarl.base.code import import_code
from metarl.base.errors import MetarlError, did_you_mean, first_line


@dataclass(frozen=True)
class Source:
    """A package that registers environments when its module is imported."""

    module: str
    """Module to import."""
    ids: str
    """How the ids of its environments begin, a regular expression."""
    install: str
    """What pip installs for them."""
    needs: tuple[str, ...] = ()
    """Packages that these environments need besides the module, by their import names."""


SOURCES: Sequence[Source] = (
    Source("ale_py", r"ALE/", "ale-py"),
    Source(
        "gymnasium_robotics",
        r"Fetch|Hand(Manipulate|Reach)|(Point|Ant)Maze|AdroitHand|FrankaKitchen",
        "gymnasium-robotics",
    ),
    Source(
        "highway_env",
        r"(highway|merge|roundabout|parking|intersection|racetrack|exit|two-way|u-turn|lane-keeping)-",
        "highway-env",
    ),
    Source("metaworld", r"Meta-World/", "metaworld==3.1.1"),
    Source("minigrid", r"MiniGrid-|BabyAI-", "minigrid"),
    Source("miniworld", r"MiniWorld-", "miniworld"),
    Source("shimmy", r"dm_control/", '"shimmy[dm-control]"', ("dm_control",)),
    Source("shimmy", r"dm_lab/", '"shimmy[dm-lab]"', ("deepmind_lab",)),
    Source("shimmy", r"bsuite/", '"shimmy[bsuite]"', ("bsuite",)),
)
"""Packages whose environments a user may name without having them."""


def split_id(env: str) -> tuple[str, str]:
    """Return the module and the id of 'module:ID', the module '' where there is none."""
    module, _, name = env.rpartition(":")
    return module, name


def find_spec(env: str) -> EnvSpec:
    """Return Gymnasium's description of an id; of 'module:ID' the module is imported first.

    Raises MetarlError for an unknown id, with the module to import where another package may have it.
    """
    module, name = split_id(env)
    if module.endswith(".py"):
        raise MetarlError(f"environment {env!r} names a file; write module:ID, with the name of the file's module")
    source = _find_source(module, name)
    if module:
        if source is not None and source.module == module:
            _require_installed(env, source)
        import_code(module)
    try:
        return gymnasium.spec(name)
    except Exception as error:  # Gymnasium has several classes, and parsing may raise others
        raise MetarlError(
            f"environment {env!r} is unknown to Gymnasium ({first_line(error)}); {_remedy(source, module, name)}"
        ) from None


def _find_source(module: str, name: str) -> Source | None:
    """Return the package that an id belongs to, or the one of its module; None for an unknown one."""
    by_id = (each for each in SOURCES if re.match(each.ids, name))
    by_module = (each for each in SOURCES if each.module == module)
    return next(by_id, None) or next(by_module, None)


def _require_installed(env: str, source: Source) -> None:
    """Raise MetarlError with what to install where a package of the environment is missing."""
    for package in (source.module, *source.needs):
        if not _is_installed(package):
            raise MetarlError(
                f"environment {env!r} needs package {package!r}, which is not installed; pip install {source.install}"
            )


def _remedy(source: Source | None, module: str, name: str) -> str:
    if source is None or source.module == module:
        return did_you_mean(name, _ids())
    missing = not all(map(_is_installed, (source.module, *source.needs)))
    install = f"pip install {source.install}, then " if missing else ""
    return f"{install}write env: {source.module}:{name}, or imports: [{source.module}]"


def _ids() -> list[str]:
    return [str(each) for each in gymnasium.registry]


def _is_installed(package: str) -> bool:
    return importlib.util.find_spec(package) is not None


def make_env(env: str, **arguments: Any) -> gymnasium.Env[Any, Any]:
    """Return a new environment. Raises MetarlError for an unknown id, and whatever its own code raises."""
    return gymnasium.make(find_spec(env).id, **arguments)
