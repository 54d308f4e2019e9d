"""What README says runs."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.places import ROOT

README = (ROOT / "README.md").read_text()
BLOCKS = re.findall(r"```python\n(.*?)```", README, re.DOTALL)


@pytest.mark.parametrize("block", BLOCKS, ids=lambda block: block.strip().splitlines()[-1][:40])
def test_python_block_runs(block: str, tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-W", "error::UserWarning:metarl", "-c", block],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr


TEXTS = {path: (ROOT / path).read_text() for path in ("README.md", "docs/families/variation.md")}
FILES = [block for text in TEXTS.values() for block in re.findall(r"```yaml\n(.*?)```", text, re.DOTALL)]


@pytest.mark.parametrize("block", FILES, ids=lambda block: block.split()[1])
def test_yaml_family_keeps_every_rule(block: str, tmp_path: Path) -> None:
    from metarl.checks.check import check_family
    from metarl.families.load import load

    path = tmp_path / "family.yaml"
    path.write_text(block)
    assert check_family(load(str(path))) == []


def test_every_config_is_valid_and_in_its_familys_folder() -> None:
    from metarl.runs.config import load_config

    paths = sorted((ROOT / "configs").glob("*/*.yaml"))
    assert len(paths) >= 8
    for path in paths:
        config = load_config(path)
        assert path.parent.name in (config.family["name"], "demo", "bench", "presets"), path


def test_every_path_that_readme_names_exists() -> None:
    for path in re.findall(r"(?:configs|docs|metarl|envs|agents|tests)/[\w./-]*\w", README):
        if not path.endswith("-v0"):  # a Gymnasium id
            assert (ROOT / path).exists(), path


def test_readme_family_as_a_package_of_its_own_is_listed_trained_and_evaluated(tmp_path: Path) -> None:
    """What pip leaves behind when it installs README's package: a module and its entry points."""
    block = next(block for block in BLOCKS if "class Thermostat" in block)
    (tmp_path / "thermostat.py").write_text(block)
    entry_points = re.search(r"```toml\n(.*?)```", README, re.DOTALL)
    assert entry_points is not None
    group, line = re.findall(r'"(metarl\.families)"\]\n(thermostat = "thermostat")', entry_points[1])[0]
    info = tmp_path / "thermostat-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: thermostat\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(f"[{group}]\n{line.replace(chr(34), '')}\n")
    (tmp_path / "config.yaml").write_text(
        "{family: thermostat, agent: maml-ppo, num_updates: 2, meta_batch_size: 3, replicas: 4}"
    )

    def metarl(*words: str) -> str:
        done = subprocess.run(
            [sys.executable, "-m", "metarl", *words],
            cwd=tmp_path,
            env={**os.environ, "PYTHONPATH": str(tmp_path), "WANDB_MODE": "disabled"},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    assert "Hold a room at 20 degrees" in metarl("families")
    metarl("train", "config.yaml", "--run-dir", "run")
    assert "maml-ppo on thermostat" in metarl("evaluate", "run", "--tasks", "4")
    assert len(json.loads((tmp_path / "run" / "evaluation.json").read_text())["returns"]) == 4


def test_readme_family_of_its_own_passes_the_check_that_readme_tells_to_run(tmp_path: Path) -> None:
    block = next(block for block in BLOCKS if "class Thermostat" in block)
    (tmp_path / "thermostat.py").write_text(block)
    done = subprocess.run(
        [sys.executable, "-m", "metarl", "check", "thermostat:Thermostat"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr + done.stdout
