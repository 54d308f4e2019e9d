"""Signals at random moments cost nothing, memory stays flat, and bugs in either are found."""

from __future__ import annotations

import random
import re
import subprocess
from pathlib import Path

import pytest

from metarl.runs.run import holds_run
from tests.fuzz.kills import AGENTS, end_by, fingerprint, limit_files, torment
from tests.small_runs import command, trained, write_config
from tests.warm import warm_python


def test_a_training_ended_at_random_moments_ends_in_the_bits_of_one_left_alone(tmp_path: Path) -> None:
    tally = torment("rl2", 3, random.Random(0), tmp_path)
    assert not tally.wrong
    assert sum(tally.kills.values()) == 3


def test_a_disk_that_fills_up_costs_one_line_and_no_bit(tmp_path: Path) -> None:
    path, run_dir = write_config(tmp_path, "rl2", num_updates=6), tmp_path / "run"
    whole = trained(tmp_path / "whole", "rl2", num_updates=6)
    size = (whole / "last.safetensors").stat().st_size
    limit = random.Random(3).randrange(size)
    status, errors = end_by(limit_files(command("train", path, "--run-dir", run_dir), limit), None, 120)
    assert status == 2
    assert errors.splitlines()[-1].startswith("metarl: error: ")
    assert "Traceback" not in errors
    words = ("--resume", run_dir) if holds_run(run_dir) else (path, "--run-dir", run_dir)
    assert end_by(command("train", *words), None, 120)[0] == 0
    assert fingerprint(run_dir) == fingerprint(whole)


def grown(folder: Path, *arguments: str) -> list[float]:
    """Return the growth of a process of its own: memory that earlier tests freed would hide a leak in this one."""
    words = [warm_python(), "-m", "tests.fuzz.memory", "--updates", "20", "--out", str(folder), *arguments]
    line = subprocess.run(words, capture_output=True, text=True, check=True, timeout=300).stdout
    return [float(number) for number in re.findall(r"[-+][\d.]+", line)]


def test_memory_descriptors_and_threads_stay_where_they_are(tmp_path: Path) -> None:
    mebibytes, descriptors, threads = grown(tmp_path, "--evaluations", "10")
    assert mebibytes < 10
    assert (descriptors, threads) == (0, 0)


@pytest.mark.fuzz
def test_a_leak_is_found(tmp_path: Path) -> None:
    assert grown(tmp_path, "--evaluations", "0", "--bug", "episodes are kept")[0] > 10


@pytest.mark.fuzz
@pytest.mark.parametrize("agent", AGENTS)
def test_forty_kills_cost_no_bit_and_no_update(agent: str, tmp_path: Path) -> None:
    assert not torment(agent, 40, random.Random(1), tmp_path).wrong


@pytest.mark.fuzz
@pytest.mark.parametrize("bug", ["files are written in two goes", "signals do nothing"])
def test_a_planted_bug_is_found_by_kills(bug: str, tmp_path: Path) -> None:
    assert torment("rl2", 12, random.Random(2), tmp_path, bug=bug).wrong
