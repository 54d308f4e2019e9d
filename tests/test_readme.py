"""What README says runs."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
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


def test_every_config_is_valid_and_in_its_familys_folder() -> None:
    from metarl.config import load_config

    paths = sorted((ROOT / "configs").glob("*/*.yaml"))
    assert len(paths) >= 8
    for path in paths:
        config = load_config(path)
        assert path.parent.name in (config.family["name"], "demo"), path


def test_every_path_that_readme_names_exists() -> None:
    for path in re.findall(r"(?:configs|docs|metarl|envs|agents|tests)/[\w./-]*\w", README):
        if not path.startswith("metarl/HalfCheetah"):  # a Gymnasium id
            assert (ROOT / path).exists(), path


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
