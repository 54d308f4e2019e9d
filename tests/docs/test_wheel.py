"""What README installs: a wheel with all its files, which works away from the clone and which type checkers read."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import sysconfig
import venv
import zipfile
from pathlib import Path

import pytest

from tests.places import ROOT

from .pages import PAGES


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel, built from a copy of the sources."""
    copy, out = tmp_path_factory.mktemp("clone"), tmp_path_factory.mktemp("wheel")
    for name in ("metarl", "envs", "agents"):
        shutil.copytree(ROOT / name, copy / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "README.md", "LICENSE", "MANIFEST.in"):
        shutil.copy(ROOT / name, copy)
    code = f"from setuptools import build_meta; build_meta.build_wheel({str(out)!r})"
    done = subprocess.run([sys.executable, "-c", code], cwd=copy, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    return next(out.glob("*.whl"))


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of an installed wheel."""
    site = tmp_path_factory.mktemp("site")
    with zipfile.ZipFile(wheel) as file:
        file.extractall(site)
    return site


def run(site: Path, folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    """Run Python in a folder, with the installed wheel before everything else."""
    return subprocess.run(
        [sys.executable, *words],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(site)},
        capture_output=True,
        text=True,
        check=False,
    )


def test_the_wheel_has_every_file_of_the_sources(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as file:
        packed = set(file.namelist())
    for top in ("metarl", "envs", "agents"):
        files = (path for path in (ROOT / top).rglob("*") if path.is_file() and "__pycache__" not in path.parts)
        wanted = {path.relative_to(ROOT).as_posix() for path in files}
        assert {name if top == "metarl" else f"metarl/{name}" for name in wanted} - packed == set()


def test_the_demo_and_new_packages_work_away_from_the_clone(installed: Path, tmp_path: Path) -> None:
    code = "from metarl.cli import demo; print(len(list(demo.CONFIGS.glob('*.yaml'))), demo.__file__)"
    count, file = run(installed, tmp_path, "-c", code).stdout.split()
    assert int(count) == 2
    assert file.startswith(str(installed))
    for kind in ("family", "agent"):
        done = run(installed, tmp_path, "-m", "metarl", f"new-{kind}", f"my-{kind}")
        assert (done.returncode, done.stderr) == (0, "")
        assert (tmp_path / f"my-{kind}" / "pyproject.toml").is_file()


def test_no_page_clones_into_a_folder_that_python_takes_for_the_package() -> None:
    clones = [line for page in PAGES.values() for line in re.findall(r"git clone \S.*", page)]
    assert len(clones) >= 2
    for line in clones:
        assert re.search(r"> ([\w-]+)", line)[1] != "metarl", line  # type: ignore[index]


def test_an_installed_package_is_found_beside_its_clone(installed: Path, tmp_path: Path) -> None:
    folder = re.search(r"git clone <.*?> ([\w-]+)", PAGES["README.md"])[1]  # type: ignore[index]
    (tmp_path / folder / "metarl").mkdir(parents=True)
    done = run(installed, tmp_path, "-c", "import metarl; print(metarl.load('navigation-2d').horizon)")
    assert done.stdout.strip() == "100", done.stderr


@pytest.mark.slow
def test_type_checkers_find_the_installed_package(wheel: Path, tmp_path: Path) -> None:
    venv.create(tmp_path / "venv", with_pip=False)
    home = str(tmp_path / "venv")
    site = Path(sysconfig.get_path("purelib", "venv", {"base": home, "platbase": home}))
    with zipfile.ZipFile(wheel) as file:
        file.extractall(site)
    (site / "others.pth").write_text(f"{sysconfig.get_path('purelib')}\n")
    (tmp_path / "mine.py").write_text('import metarl\n\nreveal_type(metarl.load("navigation-2d"))\n')
    python = tmp_path / "venv" / "bin" / "python"
    words = [sys.executable, "-m", "mypy", "--python-executable", str(python), "--follow-imports=silent", "mine.py"]
    done = subprocess.run(words, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert 'Revealed type is "metarl.families.family.TaskFamily"' in done.stdout, done.stdout
    assert done.returncode == 0
