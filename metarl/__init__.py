"""Meta-reinforcement learning: task distributions, agents that adapt, and one honest measure of adaptation."""

from __future__ import annotations

import importlib
import importlib.machinery
import importlib.util
import sys
from types import ModuleType
from typing import Any

__version__ = "0.1.0"

# Name to module: read on first use, so that `import metarl` and the command line's help stay light.
_EXPORTS = {
    "Agent": "trial",
    "ArrayFamily": "families",
    "BatchedEnv": "vector",
    "ClassFamily": "families",
    "Episodes": "trial",
    "Evaluation": "evaluation",
    "Learner": "trial",
    "MetarlError": "errors",
    "MujocoFamily": "mujoco_family",
    "Parameter": "task",
    "Streams": "streams",
    "TaskFamily": "task",
    "Tasks": "task",
    "TimeStep": "trial",
    "Trial": "trial",
    "VectorFamily": "vector_family",
    "check_agent": "check",
    "check_family": "check",
    "evaluate": "evaluation",
    "load": "task",
    "load_run": "runs",
    "make_agent": "agent",
    "meta_train": "train",
    "register": "task",
    "register_agent": "agent",
    "rollout": "trial",
    "run_trial": "trial",
}
__all__ = sorted(_EXPORTS)  # noqa: PLE0605


def __getattr__(name: str) -> Any:
    if name not in _EXPORTS:
        raise AttributeError(f"module 'metarl' has no attribute {name!r}")
    value = getattr(importlib.import_module(f".{_EXPORTS[name]}", __name__), name)
    _register_ids()
    return value


def __dir__() -> list[str]:
    return sorted([*globals(), *_EXPORTS])


def _register_ids() -> None:
    """Import every family, which registers its Gymnasium id."""
    from .task import FAMILIES

    FAMILIES.load()


def _half_imported() -> bool:
    """Return whether a module of metarl's is being imported: built-in families, which want it whole, must wait."""
    modules = [module for name, module in sys.modules.items() if name.startswith(f"{__name__}.")]
    return any(getattr(module.__spec__, "_initializing", False) for module in modules)


class _WhenGymnasiumIsImported:
    """Registers the families' ids as soon as somebody imports gymnasium, in whichever order the two are imported.

    Importing gymnasium here instead would treble the time of `metarl --help`.
    """

    def find_spec(
        self, fullname: str, path: Any, target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        if fullname != "gymnasium" or self not in sys.meta_path:
            return None
        sys.meta_path.remove(self)  # for this one look: the others' answer is wanted
        spec = importlib.util.find_spec(fullname)
        sys.meta_path.insert(0, self)  # who asks may only want to know whether it is there
        if spec is not None and spec.loader is not None:
            execute = spec.loader.exec_module

            def execute_and_register(module: ModuleType) -> None:
                sys.meta_path.remove(self)
                execute(module)
                if not _half_imported():  # else the registry loads them when it is first asked
                    _register_ids()

            spec.loader.exec_module = execute_and_register  # type: ignore[method-assign]
        return spec


if "gymnasium" in sys.modules:
    _register_ids()
else:
    sys.meta_path.insert(0, _WhenGymnasiumIsImported())
