"""The package that `metarl new-family` writes works as it is."""

from __future__ import annotations

from pathlib import Path

import gymnasium
import pytest

from metarl.base.errors import MetarlError
from metarl.cli.main import main
from metarl.cli.new_package import new_family
from tests.cli.packages import assert_has_files, assert_pip_installs, plant, run_tests, write_package
from tests.docs.pages import Block
from tests.docs.walkthrough import Walkthrough

NAME = "windy-cart-2"


@pytest.fixture(scope="module")
def package(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_package("family", NAME, tmp_path_factory.mktemp("packages") / "cart")


def test_the_package_has_its_files(package: Path) -> None:
    assert_has_files(package, NAME)


FAULTS = {
    'return -np.abs(after["place"])': 'return np.abs(after["place"])',
    '"velocity": np.zeros(streams.shape)': '"velocity": task["wind"] + np.zeros(streams.shape)',
}


def test_its_own_tests_pass_and_find_a_reward_with_the_wrong_sign_and_a_task_given_away(
    package: Path, tmp_path: Path
) -> None:
    sources = [package / "src", *plant(package, NAME, tmp_path / "faults", FAULTS)]
    right, *wrong = run_tests(tmp_path, *((package, source) for source in sources))
    assert right[0] == 0 and "2 passed" in right[1], right[1]
    assert len(wrong) == len(FAULTS)
    for status, told in wrong:
        assert status == 1 and "1 failed, 1 passed" in told, told


def test_installed_it_is_a_family_as_any_other(package: Path, tmp_path: Path) -> None:
    walkthrough = Walkthrough.begin(tmp_path)
    (walkthrough.library / "family.pth").write_text(f"{package / 'src'}\n")

    def metarl(*words: str | Path, status: int = 0) -> str:
        return walkthrough.run(["metarl", *map(str, words)], Block("README.md", 1, "sh", "", ""), status)

    assert NAME in metarl("families")
    assert "wind  N     force of the wind  uniform -0.5 to 0.5" in metarl("families", NAME)
    assert f"{NAME}: all checks passed" in metarl("check", NAME).splitlines()
    pictures = [tmp_path / "tasks.png", tmp_path / "worlds.png"]
    metarl("families", NAME, "--plot", pictures[0], "--render", pictures[1])
    assert all(picture.read_bytes().startswith(b"\x89PNG") for picture in pictures)
    told = metarl("new-family", NAME, "--dir", tmp_path / "again", status=2)
    assert told.startswith(f"metarl: error: family {NAME!r} is registered already")


@pytest.mark.slow
def test_pip_installs_it(tmp_path: Path) -> None:
    package = new_family(NAME, tmp_path / "cart")
    assert_pip_installs(package, tmp_path, ["pytest", "-q"], ["metarl", "check", NAME], ["metarl", "families", NAME])


BAD_NAMES = [
    ("Windy-Cart", "'Windy-Cart' is not in kebab-case"),
    ("windy_cart", "not in kebab-case"),
    ("2-carts", "not in kebab-case"),
    ("windy--cart", "not in kebab-case"),
    ("-cart", "argument '-cart' is unknown"),
    ("../cart", "not in kebab-case"),
    ("", "not in kebab-case"),
    ("point-sparse-", "not in kebab-case"),
    ("class", "gives module 'class', which Python has already; take another name, as in 'my-class'"),
    ("json", "gives module 'json', which Python has already"),
    ("numpy", "which Python has already"),
    ("metarl", "which Python has already"),
]
TAKEN = [
    ("family", "navigation-2d", "family 'navigation-2d' is registered already"),
    ("agent", "maml-ppo", "agent 'maml-ppo' is registered already; take another name, or see `metarl agents maml-ppo`"),
]


@pytest.mark.parametrize(
    ("kind", "name", "words"), [(kind, *bad) for kind in ("family", "agent") for bad in BAD_NAMES] + TAKEN
)
def test_a_bad_name_costs_one_line_and_no_folder(
    kind: str,
    name: str,
    words: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main([f"new-{kind}", name]) == 2
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


@pytest.mark.parametrize("kind", ["family", "agent"])
@pytest.mark.parametrize("holds", ["file in it", "a file", "/proc"])
def test_a_folder_that_is_in_use_costs_one_line(
    kind: str, holds: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "cart"
    if holds == "a file":
        folder.write_text("mine")
    elif holds == "/proc":
        folder = Path("/proc/cart")
    else:
        folder.mkdir()
        (folder / "mine").write_text("mine")
    assert main([f"new-{kind}", NAME, "--dir", str(folder)]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert str(folder) in line
    assert not folder.is_dir() or [path.name for path in folder.iterdir()] == ["mine"]


def test_an_empty_folder_is_taken(tmp_path: Path) -> None:
    assert new_family(NAME, tmp_path) == tmp_path
    assert (tmp_path / "pyproject.toml").exists()
