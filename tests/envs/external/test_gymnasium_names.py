"""Environments that other modules register with Gymnasium, by YAML."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Iterator
from pathlib import Path

import gymnasium
import pytest
from metarl.envs.external.gymnasium_names import SOURCES, Source

import metarl
from metarl.base.code import INSTALL, imported_modules, only_installed
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
    ("env", "package", "install"),
    [
        ("ALE/Pong-v5", "ale_py", "ale-py"),
        ("highway-v0", "highway_env", "highway-env"),
        ("PointMaze_UMaze-v3", "gymnasium_robotics", "gymnasium-robotics"),
        ("FetchReach-v4", "gymnasium_robotics", "gymnasium-robotics"),
        ("dm_control/cartpole-swingup-v0", "shimmy", '"shimmy[dm-control]"'),
        ("MiniGrid-Nowhere-v0", "minigrid", "minigrid"),
    ],
)
def test_an_id_of_a_known_package_gets_the_words_to_write(env: str, package: str, install: str, tmp_path: Path) -> None:
    if env in gymnasium.registry:
        pytest.skip("registered in this process")
    (tmp_path / "a.yaml").write_text(f"env: {env}\n{VARIES}")
    with pytest.raises(MetarlError) as caught:
        metarl.load("a.yaml")
    told = str(caught.value)
    assert told.endswith(f"write env: {package}:{env}, or imports: [{package}]")
    missing = importlib.util.find_spec(package) is None
    assert (f"pip install {install}, then" in told) == missing


@pytest.mark.parametrize("source", SOURCES, ids=lambda source: f"{source.module}-{source.install}")
@pytest.mark.parametrize("form", ["env: {0}:{1}\n", "imports: [{0}]\nenv: {1}\n"])
def test_a_missing_package_gets_its_pip_install(
    source: Source, form: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, source.module, None)  # as if it were not installed
    env = {"ale_py": "ALE/Pong-v5", "gymnasium_robotics": "FetchReach-v4", "highway_env": "highway-v0"}.get(
        source.module, f"{source.ids.partition('|')[0]}x-v0"
    )
    (tmp_path / "a.yaml").write_text(form.format(source.module, env) + VARIES)
    with pytest.raises(MetarlError) as caught:
        metarl.load("a.yaml")
    install = source.install if form.startswith("env") else INSTALL[source.module]
    assert str(caught.value).endswith(f"pip install {install}")
    assert source.module in str(caught.value) and "\n" not in str(caught.value)


def test_shimmy_without_dm_control_gets_the_extra_that_brings_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "shimmy.py").write_text("")
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delitem(sys.modules, "shimmy", raising=False)
    monkeypatch.setitem(sys.modules, "dm_control", None)
    (tmp_path / "a.yaml").write_text(f"env: shimmy:dm_control/cartpole-swingup-v0\n{VARIES}")
    with pytest.raises(MetarlError, match=r"needs package 'dm_control', .*; pip install \"shimmy\[dm-control\]\"$"):
        metarl.load("a.yaml")


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
