"""The benchmark measures what it says, and its commands run."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from metarl import bench
from metarl.errors import MetarlError
from metarl.task import load
from metarl.vector import SingleEnv
from tests.runs import write_config


def test_each_measurement_is_paired_with_its_neighbours_in_time() -> None:
    limits = iter([10.0, 20.0, 40.0])
    assert bench.paired(lambda seconds: 3.0, lambda seconds: next(limits), 0.1, 2) == [(3.0, 15.0), (3.0, 30.0)]


def test_ratio_is_the_median_of_paired_ratios() -> None:
    row = bench._row("ours", [(1.0, 2.0), (3.0, 4.0), (9.0, 10.0)], "0.70", "{:.2f}")
    assert row == ("ours", "3", "4", "0.75", "0.50-0.90", "0.70")


def test_rate_counts_every_world(monkeypatch: pytest.MonkeyPatch) -> None:
    family = load("point-sparse")
    envs = family.make_vec(family.sample("train", 4, seed=0), 2)
    rate = bench._stepping(envs)
    clock = iter(range(100))
    monkeypatch.setattr(bench.time, "perf_counter", lambda: next(clock))
    assert rate(25.0) == 24 * 8 / 25  # one second a step, over the end of an episode of 20


def test_environment_by_hand_is_the_family() -> None:
    task = {"goal": [0.3, -0.2]}
    ours, theirs = SingleEnv(load("navigation-2d"), task), bench.PlainNavigation(**task)
    ours.reset(seed=0)
    theirs.reset(seed=0)
    ours.action_space.seed(0)
    ended = False
    while not ended:
        action = ours.action_space.sample()
        a, b = ours.step(action), theirs.step(action)
        np.testing.assert_allclose(a[0], b[0], atol=1e-12)
        assert a[1] == pytest.approx(b[1], abs=1e-12)
        assert a[2:4] == b[2:4]
        ended = a[2] or a[3]


def test_training_is_timed_in_its_parts(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert bench.main(["train", str(write_config(tmp_path)), "--device", "cpu", "--updates", "1"]) == 0
    row = capsys.readouterr().out.splitlines()[-1].split()
    assert row[0].endswith("maml-ppo.yaml")
    assert sum(int(share.rstrip("%")) for share in row[2:4]) in (99, 100, 101)


@pytest.mark.parametrize(
    ("words", "message"),
    [(["--updates", "0"], "above 0"), (["sin"], "did you mean .sim."), (["--device", "gpu"], "gpu")],
)
def test_bad_option_is_told_in_one_line(words: list[str], message: str) -> None:
    with pytest.raises(MetarlError, match=message):
        bench.main(words)


@pytest.mark.slow
def test_simulation_is_measured_with_its_goals(capsys: pytest.CaptureFixture[str]) -> None:
    assert bench.main(["sim", "--seconds", "0.05", "--repeats", "1"]) == 0
    told = capsys.readouterr().out
    for words in (
        "metarl, 64 worlds",
        "metarl, 256 worlds",
        "Gymnasium async, 16",
        "navigation-2d, by hand",
        "mujoco ",
    ):
        assert words in told
