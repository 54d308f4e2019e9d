"""The project that `metarl new-family` writes works as it is."""

from __future__ import annotations

import os
import subprocess
import sys
import sysconfig
import tomllib
import venv
from pathlib import Path

import gymnasium
import pytest

from metarl.base.errors import MetarlError
from metarl.cli.main import main
from metarl.cli.new_family import new_family
from tests.small_runs import metarl

NAME = "windy-cart-2"


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A fresh project. The dist-info beside its package is what pip leaves behind when it installs it."""
    folder = tmp_path_factory.mktemp("projects") / "cart"
    done = metarl("new-family", NAME, "--dir", folder)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines() == [
        f"made {folder}",
        f"next: cd {folder} && pip install -e . && pytest && metarl check {NAME}",
    ]
    (group,) = tomllib.loads((folder / "pyproject.toml").read_text())["project"]["entry-points"].items()
    info = folder / "src" / "windy_cart_2-0.1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {NAME}\nVersion: 0.1.0\n")
    lines = [f"{name} = {value}" for name, value in group[1].items()]
    (info / "entry_points.txt").write_text(f"[{group[0]}]\n" + "\n".join(lines) + "\n")
    return folder


def test_the_project_has_its_files(project: Path) -> None:
    files = {str(path.relative_to(project)) for path in project.rglob("*") if path.is_file()}
    wanted = {"pyproject.toml", "README.md", "src/windy_cart_2/__init__.py", "tests/test_windy_cart_2.py"}
    assert wanted <= files
    assert not any("$" in (project / path).read_text() for path in wanted)
    readme = (project / "README.md").read_text()
    for command in ("pip install -e .", "pytest", f"metarl check {NAME}"):
        assert f"\n{command}\n" in readme


def test_its_own_tests_pass(project: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider"],
        cwd=project,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "2 passed" in done.stdout


def test_its_tests_find_a_reward_with_the_wrong_sign_and_a_task_given_away(project: Path, tmp_path: Path) -> None:
    package = project / "src" / "windy_cart_2" / "__init__.py"
    text = package.read_text()
    faults = {
        'return -np.abs(after["place"])': 'return np.abs(after["place"])',
        '"velocity": np.zeros(streams.shape)': '"velocity": task["wind"] + np.zeros(streams.shape)',
    }
    for number, (right, wrong) in enumerate(faults.items()):
        assert text.count(right) == 1
        module = tmp_path / str(number) / "windy_cart_2"
        module.mkdir(parents=True)
        (module / "__init__.py").write_text(text.replace(right, wrong))
        done = subprocess.run(
            [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", project / "tests", "-c", os.devnull],
            cwd=module.parent,
            env={**os.environ, "PYTHONPATH": str(module.parent)},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 1, done.stdout + done.stderr
        assert "1 failed, 1 passed" in done.stdout


def test_installed_it_is_a_family_as_any_other(project: Path, tmp_path: Path) -> None:
    path = {"PYTHONPATH": str(project / "src")}
    assert f"{NAME}" in metarl("families", **path).stdout
    assert "wind  N     force of the wind  uniform -0.5 to 0.5" in metarl("families", NAME, **path).stdout
    checked = metarl("check", NAME, **path)
    assert (checked.returncode, checked.stdout) == (0, f"{NAME}: all checks passed\n"), checked.stderr
    pictures = [tmp_path / "tasks.png", tmp_path / "worlds.png"]
    drawn = metarl("families", NAME, "--plot", pictures[0], "--render", pictures[1], **path)
    assert drawn.returncode == 0, drawn.stderr
    assert all(picture.read_bytes().startswith(b"\x89PNG") for picture in pictures)
    again = metarl("new-family", NAME, "--dir", tmp_path / "again", **path)
    assert (again.returncode, again.stdout) == (2, "")
    assert f"family {NAME!r} is registered already" in again.stderr


@pytest.mark.slow
def test_pip_installs_it(tmp_path: Path) -> None:
    """In a virtual environment of its own, which sees this one's packages."""
    project = new_family(NAME, tmp_path / "cart")
    venv.create(tmp_path / "venv")
    python = tmp_path / "venv" / "bin" / "python"
    site = subprocess.check_output([python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))"], text=True)
    line = f"import site; site.addsitedir({sysconfig.get_path('purelib')!r})\n"
    (Path(site.strip()) / "ours.pth").write_text(line)
    pip = [sys.executable, "-m", "pip", "--python", str(python), "install", "--no-deps", "--no-build-isolation"]
    subprocess.run([*pip, "-e", "."], cwd=project, check=True, capture_output=True)
    for words in (["pytest", "-q"], ["metarl", "check", NAME], ["metarl", "families", NAME]):
        done = subprocess.run([python, "-m", *words], cwd=project, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("Windy-Cart", "'Windy-Cart' is not in kebab-case"),
        ("windy_cart", "not in kebab-case"),
        ("2-carts", "not in kebab-case"),
        ("windy--cart", "not in kebab-case"),
        ("-cart", "arguments are required: NAME"),
        ("../cart", "not in kebab-case"),
        ("", "not in kebab-case"),
        ("navigation-2d", "family 'navigation-2d' is registered already"),
        ("point-sparse-", "not in kebab-case"),
        ("class", "gives module 'class', which Python has already; take another name, as in 'my-class'"),
        ("json", "gives module 'json', which Python has already"),
        ("numpy", "which Python has already"),
        ("metarl", "which Python has already"),
    ],
)
def test_a_bad_name_costs_one_line_and_no_folder(
    name: str, words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["new-family", name]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert words in line
    assert not list(tmp_path.iterdir())


def test_a_class_name_that_is_taken_costs_one_line(tmp_path: Path) -> None:
    env_id = "metarl/TakenName-v0"
    gymnasium.register(env_id, entry_point="none", kwargs={"family": "other"})
    try:
        with pytest.raises(MetarlError, match=f"gives Gymnasium id '{env_id}', which 'other' has; take another name"):
            new_family("taken-name", tmp_path / "new")
    finally:
        del gymnasium.registry[env_id]
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize("holds", ["file in it", "a file", "/proc"])
def test_a_folder_that_is_in_use_costs_one_line(holds: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = tmp_path / "cart"
    if holds == "a file":
        folder.write_text("mine")
    elif holds == "/proc":
        folder = Path("/proc/cart")
    else:
        folder.mkdir()
        (folder / "mine").write_text("mine")
    assert main(["new-family", NAME, "--dir", str(folder)]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert str(folder) in line
    assert not folder.is_dir() or [path.name for path in folder.iterdir()] == ["mine"]


def test_an_empty_folder_is_taken(tmp_path: Path) -> None:
    assert new_family(NAME, tmp_path) == tmp_path
    assert (tmp_path / "pyproject.toml").exists()
