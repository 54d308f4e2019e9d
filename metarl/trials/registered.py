"""The registry of agents: names to classes, and `make_agent` from a name and settings."""

from __future__ import annotations

import importlib.util
import inspect
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from ..base.errors import MetarlError, first_line, is_lack_of_memory, user_code
from ..base.registry import Registry
from ..base.settings import validate
from ..families.family import TaskFamily
from .agent import ORACLE, Agent, Oracle, require_agent_class

AGENTS: Registry[type[Agent]] = Registry("agent", "agents", "metarl.agents", require_agent_class)
"""Every registered agent. Plug-ins join through the entry-point group `metarl.agents`."""

A = TypeVar("A", bound=type[Agent])


def register_agent(name: str) -> Callable[[A], A]:
    """Return a decorator that registers an agent's class under `name`.

    It raises MetarlError where another agent has the name, and for a class that does not extend `metarl.Agent`.
    """

    def decorate(cls: A) -> A:
        require_agent_class(cls, f"agent {name!r}")
        AGENTS.add(name, cls)
        return cls

    return decorate


def make_agent(
    name: str, family: TaskFamily, settings: Mapping[str, Any] | None = None, *, seed: int = 0, device: str = "auto"
) -> Agent:
    """Return a new agent for a family, with initial parameters drawn from `seed`.

    `name` may also be `module:Name` or `path/to/file.py:Name`, a class that is not registered. `settings` are those of
    the agent's `Config`, its defaults where left out. `device` is 'cpu', 'cuda' or 'auto', which takes a GPU where
    there is one. Raises MetarlError for an unknown agent, a setting that is unknown or out of range, a package that is
    not installed, and 'cuda' without a GPU.
    """
    cls = AGENTS[name]
    if missing := what_to_install(name):
        raise MetarlError(missing)
    config = validate(cls.Config, dict(settings or {}), where=f"agent {name!r}")
    device = resolve_device(device)
    try:
        with user_code(f"agent {name!r} on family {family.name!r}, __init__"):
            return cls(config, family, seed=seed, device=device)
    except (MemoryError, RuntimeError, OSError) as error:
        if not is_lack_of_memory(error):
            raise
        raise MetarlError(
            f"agent {name!r} does not fit into memory ({first_line(error)}); take smaller networks: "
            f"see `metarl agents {name}` for its sizes"
        ) from None


def agent_name(agent: Agent) -> str:
    """Return the name that an agent's class is registered under; of another class, its own."""
    return AGENTS.name_of(type(agent)) or type(agent).__name__


def missing_package(name: str) -> str:
    """Return the package that an agent needs and that is not installed, '' if there is none."""
    module = AGENTS[name].requires
    return "" if not module or importlib.util.find_spec(module) is not None else module.replace("_", "-")


def what_to_install(name: str) -> str:
    """Return one line that says which package an agent lacks and how to install it, '' if it lacks none."""
    package = missing_package(name)
    return package and f"agent {name!r} needs package {package!r}, which is not installed; pip install {package}"


def resolve_device(device: str) -> str:
    """Return 'cpu' or 'cuda' for 'cpu', 'cuda' or 'auto'. Raises MetarlError for 'cuda' without a GPU."""
    if device not in ("auto", "cpu", "cuda"):
        raise MetarlError(f"device is {device!r}; it must be 'auto', 'cpu' or 'cuda'")
    if device == "cpu":
        return device
    import torch

    if torch.cuda.is_available():
        return "cuda"
    if device == "cuda":
        raise MetarlError("device is 'cuda', but torch finds no GPU; set device=cpu or device=auto")
    return "cpu"


def describe_agent(cls: type[Any]) -> str:
    """Return the first line of an agent's docstring, marked if it is an oracle."""
    line = (inspect.getdoc(cls) or "").split("\n", 1)[0]
    return f"{line} ({ORACLE})" if issubclass(cls, Oracle) else line
