"""The registry of agents, and how one is made from its name and settings."""

from __future__ import annotations

import importlib.util
import inspect
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from ..base.errors import MetarlError
from ..base.registry import Registry
from ..base.settings import validate
from ..families.family import TaskFamily
from .agent import ORACLE, Agent, Oracle

AGENTS: Registry[type[Agent]] = Registry("agent", "agents", "metarl.agents")
"""Every registered agent; plug-ins join through the entry-point group `metarl.agents`."""

A = TypeVar("A", bound=type[Agent])


def register_agent(name: str) -> Callable[[A], A]:
    """Register an agent's class under `name`.

    Raises MetarlError where another agent has the name, and for a class that does not extend `metarl.Agent`.
    """

    def decorate(cls: A) -> A:
        if not (isinstance(cls, type) and issubclass(cls, Agent)):
            raise MetarlError(f"agent {name!r} is {cls!r}; it must be a class that extends metarl.Agent")
        AGENTS.add(name, cls)
        return cls

    return decorate


def make_agent(
    name: str, family: TaskFamily, settings: Mapping[str, Any] | None = None, *, seed: int = 0, device: str = "auto"
) -> Agent:
    """Return a new agent for a family, its initial parameters drawn from `seed`.

    `device` is 'cpu', 'cuda', or 'auto' (cuda where there is one). Raises MetarlError for an unknown agent, a setting
    that is unknown or out of range, a package that is not installed, and for 'cuda' on a machine without.
    """
    cls = AGENTS[name]
    if missing := what_to_install(name):
        raise MetarlError(missing)
    config = validate(cls.Config, dict(settings or {}), where=f"agent {name!r}")
    return cls(config, family, seed=seed, device=resolve_device(device))


def missing_package(name: str) -> str:
    """Return the package that an agent needs and that is not installed, '' where nothing is missing."""
    module = AGENTS[name].requires
    return "" if not module or importlib.util.find_spec(module) is not None else module.replace("_", "-")


def what_to_install(name: str) -> str:
    """Return what to install before an agent can be used, in one line; '' where nothing is missing."""
    package = missing_package(name)
    return package and f"agent {name!r} needs package {package!r}, which is not installed; pip install {package}"


def resolve_device(device: str) -> str:
    """Return 'cpu' or 'cuda' for 'cpu', 'cuda' or 'auto'. Raises MetarlError where it is not to be had."""
    if device not in ("auto", "cpu", "cuda"):
        raise MetarlError(f"device is {device!r}; it must be 'auto', 'cpu' or 'cuda'")
    if device == "cpu":
        return device
    import torch

    if torch.cuda.is_available():
        return "cuda"
    if device == "cuda":
        raise MetarlError("device is 'cuda', but torch finds no GPU; take device=cpu or device=auto")
    return "cpu"


def describe_agent(cls: type[Any]) -> str:
    """Return the first line of an agent's docstring, and that it is an oracle if it is."""
    line = (inspect.getdoc(cls) or "").split("\n", 1)[0]
    return f"{line} ({ORACLE})" if issubclass(cls, Oracle) else line
