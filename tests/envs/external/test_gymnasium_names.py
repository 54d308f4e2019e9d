"""Environments that other modules register with Gymnasium, by YAML."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Iterator
from pathlib import Path

import gymnasium
import pytest
from metarl.envs.external.gymnasium_names import PACKAGES

import metarl
from metarl.base.code import imported_modules, only_installed
from metarl.base.errors import MetarlError

PLUGIN = """
import gymnasium
from gymnasium.envs.classic_control import PendulumEnv

gymnasium.register("Slow-v0", lambda **arguments: PendulumEnv(**arguments))
"""
VARIES = "varies: {g: {train: {uniform: [5, 15]}}}\n"


@pytest.fixture(autouse=True)
def _restored(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    path = list(sys.path)
    monkeypatch.chdir(tmp_path)
    yield
    sys.path[:] = path
    for name in ("slow_plugin", "slower_plugin", "stranger_plugin"):
        sys.modules.pop(name, None)
    gymnasium.registry.pop("Slow-v0", None)


@pytest.mark.parametrize(
    ("module", "text"),
    [("slow_plugin", "env: slow_plugin:Slow-v0\n"), ("slower_plugin", "imports: [slower_plugin]\nenv: Slow-v0\n")],
)
def test_the_module_of_an_id_is_imported_told_and_remembered(
    module: str, text: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    plugin = tmp_path / f"{module}.py"
    plugin.write_text(PLUGIN)
    (tmp_path / "slow.yaml").write_text(text + VARIES)
    family = metarl.load("slow.yaml")
    assert capsys.readouterr().err == f"metarl: importing {module} from {plugin}\n"
    assert module in imported_modules()
    envs = family.make_vec(family.sample("train", 2, seed=0))
    assert envs.reset(seed=0)[0].shape == (2, 3)
    envs.close()


def test_an_id_in_a_run_imports_no_module_of_the_current_folder(tmp_path: Path) -> None:
    (tmp_path / "stranger_plugin.py").write_text(PLUGIN)
    with only_installed(), pytest.raises(MetarlError, match="module 'stranger_plugin' is not found"):
        metarl.load("gymnasium", env="stranger_plugin:Slow-v0", varies={"g": {"train": {"uniform": [5, 15]}}})
    assert "stranger_plugin" not in sys.modules


@pytest.mark.parametrize(
    ("env", "package"),
    [
        ("ALE/Pong-v5", "ale_py"),
        ("highway-v0", "highway_env"),
        ("PointMaze_UMaze-v3", "gymnasium_robotics"),
        ("FetchReach-v4", "gymnasium_robotics"),
        ("dm_control/cartpole-swingup-v0", "shimmy"),
        ("MiniGrid-Nowhere-v0", "minigrid"),
    ],
)
def test_an_id_of_a_known_package_gets_the_words_to_write(env: str, package: str, tmp_path: Path) -> None:
    if env in gymnasium.registry:
        pytest.skip("registered in this process")
    (tmp_path / "a.yaml").write_text(f"env: {env}\n{VARIES}")
    with pytest.raises(MetarlError) as caught:
        metarl.load("a.yaml")
    told = str(caught.value)
    assert told.endswith(f"write env: {package}:{env}, or imports: [{package}]")
    missing = importlib.util.find_spec(package) is None
    assert (f"pip install {package.replace('_', '-')}, then" in told) == missing
    assert package in PACKAGES


@pytest.mark.parametrize(
    ("env", "message"),
    [
        ("Pendulm-v1", "did you mean 'Pendulum-v1'?"),
        ("qqqqqqqq", "more"),
        ("plugin.py:Slow-v0", "names a file; write module:ID, with the name of the file's module"),
        ("nowhere_at_all:Slow-v0", "module 'nowhere_at_all' is not found"),
    ],
)
def test_an_unknown_id_costs_a_short_line(env: str, message: str, tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text(f"env: {env}\n{VARIES}")
    with pytest.raises(MetarlError) as caught:
        metarl.load("a.yaml")
    assert message in str(caught.value) and len(str(caught.value)) < 400
