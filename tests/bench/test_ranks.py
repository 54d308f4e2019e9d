"""The benchmark of ranks: its rows are what the ranks did."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from metarl.bench import ranks
from metarl.bench.ranks import bench_ranks, measure
from metarl.bench.scaling import Speed, Way, scaling_tables
from metarl.cli.main import main
from tests.small_runs import write_config


def speed(seconds: float, **others: float) -> Speed:
    return Speed(seconds, 100.0 / seconds, **others)


def test_tables_have_each_way_and_ratios_to_one_core(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    asked: list[Way] = []

    def measured(config: object, way: Way, updates: int) -> Speed:
        asked.append(way)
        return speed(0.8 / way.ranks + 0.1, exchanges=6.0, num_bytes=1500.0, waiting=0.01)

    monkeypatch.setattr(ranks, "measure", measured)
    config = write_config(tmp_path, meta_batch_size=4)
    assert main(["bench", "ranks", str(config), "--repeats", "2", "--plot", str(tmp_path / "it.png"), "--quiet"]) == 0
    told = capsys.readouterr().out
    assert len(asked) == 2 * 6 and asked[:6] == asked[6:]
    assert re.search(r"one process, one core +0\.900 +111 +1\.00 +1\.00, 1\.00\n", told)
    assert re.search(r"4 ranks +0\.300 +333 +3\.00 +3\.00, 3\.00 +6 +1\.5 +3%", told)
    assert (tmp_path / "it.png").exists()


def test_a_picture_of_another_kind_is_refused_before_anything_is_measured(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(ranks, "measure", lambda *_: pytest.fail("it was measured"))
    assert main(["bench", "ranks", str(write_config(tmp_path, meta_batch_size=4)), "--plot", "it.txt"]) == 2
    assert "it.txt has suffix '.txt'" in capsys.readouterr().err


@pytest.mark.parametrize("asked", [["4"], ["2", "8"]])
def test_ranks_that_cannot_be_compared_are_refused(
    tmp_path: Path, asked: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    config = write_config(tmp_path, meta_batch_size=4)
    assert main(["bench", "ranks", str(config), "--ranks", *asked]) == 2
    assert "give 2 among them, and at most one rank a task" in capsys.readouterr().err


@pytest.mark.slow
def test_two_ranks_exchange_what_the_log_of_their_training_says(tmp_path: Path) -> None:
    config = write_config(tmp_path, meta_batch_size=4)
    found = measure(config, Way("2 ranks", 2, ("rollout_shards=1",)), updates=4)
    assert 0 < found.waiting < found.seconds and found.exchanges > 5 and found.num_bytes > 1000
    assert "2 ranks" in scaling_tables(bench_ranks(config, [2], updates=4, repeats=1))
