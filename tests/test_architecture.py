"""Which part of the suite may know which."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent


def imported(path: Path) -> set[str]:
    names = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            base = "metarl" if node.level == 1 else ""
            names.add(".".join(part for part in (base, node.module) if part))
            names |= {".".join(p for p in (base, node.module, alias.name) if p) for alias in node.names}
    return names


@pytest.mark.parametrize("path", sorted((ROOT / "metarl").glob("*.py")), ids=lambda path: path.name)
def test_engine_imports_no_family_and_no_agent(path: Path) -> None:
    for name in imported(path):
        assert not name.startswith(("metarl.envs", "metarl.agents", "envs", "agents")), name


@pytest.mark.parametrize("module", ["metarl", "metarl.cli"])
def test_light_modules_stay_light(module: str) -> None:
    code = f"import sys, {module}; print([m for m in ('torch', 'mujoco', 'gymnasium', 'pydantic') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_no_export_has_the_name_of_a_module() -> None:
    import metarl

    modules = {path.stem for path in (ROOT / "metarl").glob("*.py")}
    assert not modules & set(metarl.__all__)


def test_exports_are_the_same_however_often_and_in_whatever_order() -> None:
    code = "import metarl; metarl.load_run, metarl.evaluate; from metarl import evaluate; print(callable(evaluate))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "True"


def test_every_module_can_be_the_first_that_is_imported() -> None:
    # Each imports gymnasium at another point of its own import, at which the built-in families cannot be loaded yet.
    modules = [
        f"metarl.{path.stem}" for path in sorted((ROOT / "metarl").glob("*.py")) if not path.stem.startswith("__")
    ]
    code = """
import importlib, os, sys
for module in sys.argv[1:]:
    if (child := os.fork()) == 0:
        importlib.import_module(module)
        from metarl.task import FAMILIES
        assert len(list(FAMILIES)) > 30 and not FAMILIES.broken, (module, FAMILIES.broken)
        os._exit(0)
    assert os.waitpid(child, 0)[1] == 0, module
"""
    done = subprocess.run([sys.executable, "-c", code, *modules], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    "name", ["ArrayFamily", "MujocoFamily", "ClassFamily", "VectorFamily", "register", "Parameter"]
)
def test_every_export_can_be_the_first_that_is_asked_for(name: str) -> None:
    code = f"from metarl import {name}; import gymnasium; print(gymnasium.make('metarl/PointSparse-v0').spec.id)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.stdout.strip() == "metarl/PointSparse-v0", done.stderr


def test_families_are_listed_without_importing_mujoco() -> None:
    code = "import sys; from metarl.task import FAMILIES; list(FAMILIES); print('mujoco' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
