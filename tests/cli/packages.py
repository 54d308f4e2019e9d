"""What the tests of `metarl new-family` and `metarl new-agent` share."""

from __future__ import annotations

import os
import subprocess
import sys
import sysconfig
import tomllib
import venv
from collections.abc import Mapping
from pathlib import Path

from tests.small_runs import metarl


def write_package(kind: str, name: str, folder: Path) -> Path:
    """Return a fresh package. The dist-info beside its module is what pip leaves behind when it installs one."""
    done = metarl(f"new-{kind}", name, "--dir", folder)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines() == [
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


def run_tests(package: Path, source: Path | None = None) -> subprocess.CompletedProcess[str]:
    """Run the package's own tests, on another `source` folder if one is given."""
    return subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", package / "tests", "-c", os.devnull],
        cwd=source or package,
        env={**os.environ, "PYTHONPATH": str(source or package / "src"), "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
    )


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
