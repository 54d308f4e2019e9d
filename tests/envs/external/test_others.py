"""Environments of other packages, by the files in configs/external: each trains where its package is installed."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

import numpy as np
import pytest

from metarl.base.errors import MetarlError
from metarl.checks.check import check_family
from metarl.families.load import load
from metarl.runs.record import read_metrics
from tests.places import ROOT
from tests.small_runs import trained

FILES = ROOT / "configs" / "external"
NEEDS = {
    "dm-cartpole": ("shimmy", "dm_control"),
    "highway": ("highway_env",),
    "lunar-lander": ("Box2D",),
    "minigrid-empty": ("minigrid",),
    "point-maze": ("gymnasium_robotics",),
    "pong": ("ale_py", "cv2"),
    "unitree-go2": ("gym_quadruped",),
}
"""Packages that each file's environment needs, by their import names."""


def require(name: str) -> Path:
    for package in NEEDS[name]:
        if importlib.util.find_spec(package) is None:
            pytest.skip(f"needs {package}")
    return FILES / f"{name}.yaml"


def test_every_file_is_tested() -> None:
    assert sorted(path.stem for path in FILES.iterdir()) == sorted(NEEDS)


# Environments of other packages warn of their own dependencies, of which metarl's users can do nothing.
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", sorted(NEEDS))
def test_agent_trains_two_updates(name: str, tmp_path: Path) -> None:
    path = require(name)
    family = {"name": str(path), "horizon": 8}
    run = trained(tmp_path / "run", "rl2", family=family, num_updates=2, meta_batch_size=2, replicas=1,
                  evaluation={"every": 2, "num_tasks": 2})  # fmt: skip
    metrics = read_metrics(run)
    assert len(metrics) == 2
    assert all(np.isfinite(value) for line in metrics for value in line.values())


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", sorted(NEEDS))
def test_family_keeps_every_rule(name: str) -> None:
    assert check_family(load(require(name))) == []


@pytest.mark.parametrize(
    ("name", "package", "install"),
    [
        ("dm-cartpole", "shimmy", '"shimmy[dm-control]"'),
        ("highway", "highway_env", "highway-env"),
        ("minigrid-empty", "minigrid", "minigrid"),
        ("point-maze", "gymnasium_robotics", "gymnasium-robotics"),
        ("pong", "ale_py", "ale-py"),
        ("unitree-go2", "gym_quadruped", "gym-quadruped"),
    ],
)
def test_file_without_its_package_says_what_to_install(
    name: str, package: str, install: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, package, None)  # as if it were not installed
    with pytest.raises(MetarlError) as caught:
        load(FILES / f"{name}.yaml")
    assert str(caught.value).endswith(f"package {package!r}, which is not installed; pip install {install}")
    assert f"`pip install {install}" in (FILES / f"{name}.yaml").read_text()


def test_lunar_lander_without_box2d_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "Box2D", None)
    monkeypatch.delitem(sys.modules, "gymnasium.envs.box2d.lunar_lander", raising=False)
    monkeypatch.delitem(sys.modules, "gymnasium.envs.box2d", raising=False)
    with pytest.raises(MetarlError, match=r"pip install \"gymnasium\[box2d\]\"") as caught:
        load(FILES / "lunar-lander.yaml")
    assert "\n" not in str(caught.value)


@pytest.mark.filterwarnings("ignore")
def test_minigrid_without_its_wrapper_is_told_which_to_add() -> None:
    require("minigrid-empty")
    with pytest.raises(MetarlError, match=r"part 'mission' .*wrappers: \[\{keep: \[.*direction.*\]\}\]"):
        load(FILES / "minigrid-empty.yaml", wrappers=[])
