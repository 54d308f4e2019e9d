"""Which part of the suite may know which."""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
from collections.abc import Sequence
from pathlib import Path

import pytest

import metarl
from metarl.families.family import FAMILIES
from metarl.runs.config import TrainConfig
from metarl.trials.registered import AGENTS
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


def test_files_import_only_from_the_rooms_they_may() -> None:
    upward = []
    for file, targets in graph().items():
        room = room_of(file)
        allowed = {room, "base", *ALLOWED[room]} if room else {"base", "families", "cli"}
        upward += [(file, target) for target in targets if room_of(target) not in allowed]
    assert upward == []


def test_the_house_has_few_floors() -> None:
    assert max(architecture.floors().values()) <= 9


def test_every_room_is_in_the_table() -> None:
    assert {room_of(file) for file in architecture.sources()} - {""} <= set(ALLOWED)


def test_imports_inside_functions_have_a_reason() -> None:
    assert [each for each, why in architecture.local_imports().items() if why is None] == []


def test_files_fit_into_400_lines() -> None:
    lengths = {file: (ROOT / file).read_text(encoding="utf-8").count("\n") for file in architecture.sources()}
    assert {file: lines for file, lines in lengths.items() if lines > 400} == {}


def test_functions_fit_into_40_lines() -> None:
    found = {
        (file, name): n for file in architecture.sources() for name, n in architecture.function_lengths(file).items()
    }
    assert {where: lines for where, lines in found.items() if lines > 40} == {}


def test_settings_classes_have_at_most_16_fields() -> None:
    agents = [AGENTS[name].Config for name in AGENTS]
    for cls in architecture.settings_classes([TrainConfig, *agents]):
        assert len(cls.model_fields) <= 16, cls


def test_every_folder_of_the_sources_is_a_package_of_the_distribution() -> None:
    listed = set(tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]["packages"])
    folders = {architecture.module_of(file) for file in architecture.sources() if file.endswith("__init__.py")}
    assert listed == folders


IMPORTED_BY_OTHERS = {
    "cmaes": "Optuna's CmaEsSampler imports it",
    "imageio": "Gymnasium's MuJoCo viewers import it",
    "onnxscript": "torch.onnx imports it",
    "mkdocs": "tool",
    "mkdocs_material": "theme of mkdocs.yml",
    "mkdocstrings_python": "plug-in of mkdocs.yml",
    "build": "tool",
    "mypy": "tool",
    "ruff": "tool",
    "pytest_xdist": "`pytest -n` of the Makefile",
}
"""Packages that are installed though nothing of ours imports them, with the reason."""
MODULES = {"Django": "django", "pillow": "PIL", "pyyaml": "yaml", "scikit-learn": "sklearn"}
"""Modules of packages that have another name."""
EXTRAS = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
CORE = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["dependencies"]


def unused_packages(requirements: Sequence[str], extra: str) -> list[str]:
    """Return the packages of an extra that no code imports; tests and the site import those of developers."""
    used = {part for each in architecture.imports() for part in each.target.split(".")}
    used |= {cls.requires for registry in (FAMILIES, AGENTS) for cls in map(registry.__getitem__, registry)}
    if extra in ("dev", "docs"):
        texts = [file.read_text() for top in ("tests", "docs") for file in (ROOT / top).rglob("*.py")]
        found = (re.findall(r"^ *(?:import|from) (\w+)|importorskip\(.(\w+)", text, re.MULTILINE) for text in texts)
        used |= {name for names in found for pair in names for name in pair}
    names = [re.match(r"[\w-]+", each)[0] for each in requirements]  # type: ignore[index]
    modules = [MODULES.get(name, name.replace("-", "_")) for name in names if name != "metarl-suite"]
    return [name for name in modules if name not in used | IMPORTED_BY_OTHERS.keys()]


@pytest.mark.parametrize("extra", ["", *EXTRAS])
def test_every_package_that_is_declared_is_used(extra: str) -> None:
    assert unused_packages(EXTRAS[extra] if extra else CORE, extra) == []


def test_a_package_that_nothing_uses_is_found() -> None:
    assert unused_packages(["nevergrad>=1", "torch>=2", "ax"], "sweep") == ["nevergrad", "ax"]
    assert unused_packages(["hypothesis"], "tensorboard") == ["hypothesis"]


def test_folders_of_tests_mirror_those_of_the_sources() -> None:
    sources = {Path(file).parent for file in architecture.sources()}
    mirrored = {Path(*folder.parts[1:]) if folder.parts[0] == "metarl" else folder for folder in sources}
    tests = {path.parent.relative_to(ROOT / "tests") for path in (ROOT / "tests").rglob("test_*.py")}
    assert tests - mirrored == {Path("docs"), Path("fuzz")}


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


def test_every_module_can_be_imported_by_its_name() -> None:
    modules = [architecture.module_of(file) for file in architecture.sources() if not file.endswith("__main__.py")]
    code = "import importlib, sys; print(len([importlib.import_module(module) for module in sys.argv[1:]]))"
    assert run(code, *modules) == str(len(modules))


OTHERS = ("ClassFamily", "VectorFamily", "Parameter")
"""Exports that begin as others do: with a file of families."""


@pytest.mark.parametrize(
    "name", ["ArrayFamily", "MujocoFamily", "register", *(pytest.param(n, marks=pytest.mark.slow) for n in OTHERS)]
)
def test_every_export_can_be_the_first_that_is_asked_for(name: str) -> None:
    code = f"from metarl import {name}; import gymnasium; print(gymnasium.make('metarl/PointSparse-v0').spec.id)"
    assert run(code) == "metarl/PointSparse-v0"


def test_python_run_at_the_top_of_a_clone_finds_families_and_agents_though_nothing_of_it_is_installed() -> None:
    code = """
import sys
sys.meta_path = [finder for finder in sys.meta_path if "editable" not in getattr(finder, "__module__", "")]
sys.path.insert(0, ".")
import metarl
print(metarl.make_agent("random", metarl.load("navigation-2d")) is not None)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, cwd=ROOT)
    assert (done.stdout.strip(), done.returncode) == ("True", 0), done.stderr


def test_families_are_listed_without_importing_mujoco() -> None:
    code = "import sys; from metarl.families.family import FAMILIES; list(FAMILIES); print('mujoco' in sys.modules)"
    assert run(code) == "False"
