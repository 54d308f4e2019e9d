"""Which part of the suite may know which."""

from __future__ import annotations

import subprocess
import sys

import pytest

import metarl
from tests import architecture
from tests.architecture import ALLOWED, graph, room_of
from tests.places import ROOT


def run(code: str, *arguments: str) -> str:
    """Return what a fresh interpreter prints."""
    done = subprocess.run([sys.executable, "-c", code, *arguments], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_no_file_is_part_of_an_import_circle() -> None:
    assert architecture.circles(graph()) == []


def test_a_circle_is_found() -> None:
    edges = {"a": frozenset("b"), "b": frozenset("c"), "c": frozenset("b"), "d": frozenset("a")}
    assert architecture.circles(edges) == [["b", "c"]]


@pytest.mark.parametrize("file", architecture.sources())
def test_file_imports_only_from_the_rooms_it_may(file: str) -> None:
    room = room_of(file)
    allowed = {room, "base", *ALLOWED[room]} if room else {"base", "families", "cli"}
    upward = sorted(target for target in graph()[file] if room_of(target) not in allowed)
    assert upward == []


def test_the_house_has_few_floors() -> None:
    assert max(architecture.floors().values()) <= 9


def test_every_room_is_in_the_table() -> None:
    assert {room_of(file) for file in architecture.sources()} - {""} <= set(ALLOWED)


@pytest.mark.parametrize("file", architecture.sources())
def test_import_inside_a_function_has_a_reason(file: str) -> None:
    assert [each for each, why in architecture.local_imports().items() if each.source == file and why is None] == []


@pytest.mark.parametrize("file", architecture.sources())
def test_file_fits_into_400_lines(file: str) -> None:
    assert (ROOT / file).read_text(encoding="utf-8").count("\n") <= 400


@pytest.mark.parametrize("module", ["metarl", "metarl.cli.main"])
def test_light_modules_stay_light(module: str) -> None:
    heavy = "('torch', 'mujoco', 'scipy', 'matplotlib', 'stable_baselines3', 'wandb')"
    assert run(f"import sys, {module}; print([m for m in {heavy} if m in sys.modules])") == "[]"


def test_no_export_has_the_name_of_a_module() -> None:
    modules = {path.stem for path in (ROOT / "metarl").iterdir()}
    assert not modules & set(metarl.__all__)


def test_every_export_is_there_and_documented() -> None:
    for name in metarl.__all__:
        assert getattr(metarl, name).__doc__, name


def test_type_checkers_see_the_exports_that_there_are() -> None:
    text = (ROOT / "metarl" / "__init__.py").read_text(encoding="utf-8")
    for name, module in metarl._EXPORTS.items():
        assert f"    from .{module} import {name} as {name}\n" in text


def test_exports_are_the_same_however_often_and_in_whatever_order() -> None:
    code = "import metarl; metarl.load_run, metarl.evaluate; from metarl import evaluate; print(callable(evaluate))"
    assert run(code) == "True"


def test_every_module_can_be_the_first_that_is_imported() -> None:
    modules = [architecture.module_of(file) for file in architecture.sources() if not file.endswith("__main__.py")]
    code = """
import importlib, os, sys
for module in sys.argv[1:]:
    if (child := os.fork()) == 0:
        importlib.import_module(module)
        from metarl.families.family import FAMILIES
        assert len(list(FAMILIES)) > 30 and not FAMILIES.broken, (module, FAMILIES.broken)
        os._exit(0)
    assert os.waitpid(child, 0)[1] == 0, module
"""
    run(code, *(module for module in modules if not module.startswith("metarl.agents")))


@pytest.mark.parametrize(
    "name", ["ArrayFamily", "MujocoFamily", "ClassFamily", "VectorFamily", "register", "Parameter"]
)
def test_every_export_can_be_the_first_that_is_asked_for(name: str) -> None:
    code = f"from metarl import {name}; import gymnasium; print(gymnasium.make('metarl/PointSparse-v0').spec.id)"
    assert run(code) == "metarl/PointSparse-v0"


def test_families_are_listed_without_importing_mujoco() -> None:
    code = "import sys; from metarl.families.family import FAMILIES; list(FAMILIES); print('mujoco' in sys.modules)"
    assert run(code) == "False"
