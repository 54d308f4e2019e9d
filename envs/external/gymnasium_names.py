"""Ids of Gymnasium's environments, and the modules that register those of other packages."""

from __future__ import annotations

import importlib.util
import re
from collections.abc import Mapping
from typing import Any

import gymnasium
from gymnasium.envs.registration import EnvSpec

from metarl.base.code import import_code
from metarl.base.errors import MetarlError, did_you_mean, first_line

PACKAGES: Mapping[str, str] = {
    "ale_py": r"ALE/",
    "gymnasium_robotics": r"Fetch|Hand(Manipulate|Reach)|(Point|Ant)Maze|AdroitHand|FrankaKitchen",
    "highway_env": r"(highway|merge|roundabout|parking|intersection|racetrack|exit|two-way|u-turn|lane-keeping)-",
    "metaworld": r"Meta-World/",
    "minigrid": r"MiniGrid-|BabyAI-",
    "miniworld": r"MiniWorld-",
    "shimmy": r"dm_control/|dm_lab/|OpenSpiel|bsuite/|Melting",
}
"""Modules that register environments when they are imported, and how the ids of these begin."""


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
    if module:
        import_code(module)
    try:
        return gymnasium.spec(name)
    except Exception as error:  # Gymnasium has several classes, and parsing may raise others
        raise MetarlError(
            f"environment {env!r} is unknown to Gymnasium ({first_line(error)}); {_remedy(module, name)}"
        ) from None


def _remedy(module: str, name: str) -> str:
    package = next((each for each, start in PACKAGES.items() if re.match(start, name)), "")
    if not package or package == module:
        return did_you_mean(name, _ids())
    install = "" if _is_installed(package) else f"pip install {package.replace('_', '-')}, then "
    return f"{install}write env: {package}:{name}, or imports: [{package}]"


def _ids() -> list[str]:
    return [str(each) for each in gymnasium.registry]


def _is_installed(package: str) -> bool:
    return importlib.util.find_spec(package) is not None


def make_env(env: str, **arguments: Any) -> gymnasium.Env[Any, Any]:
    """Return a new environment. Raises MetarlError for an unknown id, and whatever its own code raises."""
    return gymnasium.make(find_spec(env).id, **arguments)
