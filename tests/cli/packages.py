"""What the tests of `metarl new-family` and `metarl new-agent` share."""

from __future__ import annotations

import contextlib
import io
import os
import subprocess
import sys
import sysconfig
import tomllib
import venv
from collections.abc import Mapping
from pathlib import Path

from metarl.cli.main import main
from tests.warm import warm_python


def write_package(kind: str, name: str, folder: Path) -> Path:
    """Return a fresh package. The dist-info beside its module is what pip leaves behind when it installs one."""
    told, errors = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(told), contextlib.redirect_stderr(errors):
        status = main([f"new-{kind}", name, "--dir", str(folder)])
    assert (status, errors.getvalue()) == (0, "")
    assert told.getvalue().splitlines() == [
        f"made {folder}",
        f"next: cd {folder} && pip install -e '.[dev]' && python -m pytest && metarl check {name}",
    ]
    ((group, entries),) = tomllib.loads((folder / "pyproject.toml").read_text())["project"]["entry-points"].items()
    info = folder / "src" / f"{name.replace('-', '_')}-0.1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 0.1.0\n")
    lines = [f"{key} = {value}" for key, value in entries.items()]
    (info / "entry_points.txt").write_text(f"[{group}]\n" + "\n".join(lines) + "\n")
    return folder


def assert_has_files(package: Path, name: str, *more: str) -> None:
    """Check that the package has its files, with every word filled in, and that README says the three commands."""
    module = name.replace("-", "_")
    wanted = {"pyproject.toml", "README.md", f"src/{module}/__init__.py", f"tests/test_{module}.py", *more}
    assert wanted == {
        str(path.relative_to(package))
        for path in package.rglob("*")
        if path.is_file() and not {"__pycache__", f"{module}-0.1.0.dist-info"} & set(path.parts)
    }
    assert not any("$" in (package / path).read_text() for path in wanted)
    readme = (package / "README.md").read_text()
    for command in ("pip install -e '.[dev]'", "python -m pytest", f"metarl check {name}"):
        assert f"\n{command}\n" in readme


RUN_TESTS = """
import os, sys
import metarl.checks.check, pytest, torch
for number, source in enumerate(sys.argv[2:]):
    if (child := os.fork()) == 0:
        os.dup2(os.open(f"{sys.argv[1]}/{number}.txt", os.O_WRONLY | os.O_CREAT), 1)
        os.chdir(source)
        sys.path.insert(0, source)
        status = pytest.main(["-q", "-p", "no:cacheprovider", "-c", os.devnull, f"{sys.argv[1]}/{number}"])
        sys.stdout.flush()
        os._exit(status)
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
"""
"""Runs tests in a process for each source folder, which has what they all import already: that takes seconds."""


def run_tests(folder: Path, *sources: tuple[Path, Path]) -> list[tuple[int, str]]:
    """Return status and output of the tests of each package, run on a source folder that need not be its own."""
    for number, (package, _) in enumerate(sources):
        (folder / str(number)).symlink_to(package / "tests")
    done = subprocess.run(
        [warm_python(), "-c", RUN_TESTS, str(folder), *(str(source) for _, source in sources)],
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return [(int(status), (folder / f"{number}.txt").read_text()) for number, status in enumerate(done.stdout.split())]


def plant(package: Path, name: str, folder: Path, faults: Mapping[str, str]) -> list[Path]:
    """Return a source folder for each fault: right text to the wrong text that takes its place."""
    module = name.replace("-", "_")
    text = (package / "src" / module / "__init__.py").read_text()
    sources = []
    for number, (right, wrong) in enumerate(faults.items()):
        assert text.count(right) == 1, right
        sources.append(folder / str(number))
        (sources[-1] / module).mkdir(parents=True)
        (sources[-1] / module / "__init__.py").write_text(text.replace(right, wrong))
    return sources


def assert_pip_installs(package: Path, folder: Path, *commands: list[str]) -> None:
    """Check that Python modules run as commands in a new virtual environment that sees this one's packages."""
    venv.create(folder / "venv")
    python = folder / "venv" / "bin" / "python"
    site = subprocess.check_output([python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))"], text=True)
    line = f"import site; site.addsitedir({sysconfig.get_path('purelib')!r})\n"
    (Path(site.strip()) / "ours.pth").write_text(line)
    pip = [sys.executable, "-m", "pip", "--python", str(python), "install", "--no-deps", "--no-build-isolation"]
    subprocess.run([*pip, "-e", "."], cwd=package, check=True, capture_output=True)
    for words in commands:
        done = subprocess.run([python, "-m", *words], cwd=package, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
