"""The benchmark of ranks: its model is the formula that it states, and its rows are what the ranks did."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from metarl.bench import ranks
from metarl.bench.ranks import ScalingModel, Speed, Way, bench_ranks, fit, measure
from metarl.cli.main import main
from tests.small_runs import write_config


def speed(seconds: float, **others: float) -> Speed:
    return Speed(seconds, 100.0 / seconds, **others)


def test_the_model_goes_through_what_it_is_fitted_to() -> None:
    model = fit(speed(1.7), speed(0.9), speed(1.2, exchanges=10, num_bytes=4e6, waiting=0.3), 16)
    assert model.fixed == pytest.approx(0.1) and model.per_task == pytest.approx(0.1)
    assert model.seconds(16, 1) == pytest.approx(1.7)
    assert model.seconds(8, 1) == pytest.approx(0.9)
    assert model.seconds(16, 2) == pytest.approx(0.1 + 0.8 + 0.3)


def test_far_from_it_exchanges_grow_with_the_logarithm_and_bytes_need_their_time() -> None:
    model = ScalingModel(fixed=0.5, per_task=0.1, exchanges=10, latency=0.01, num_bytes=2e6)
    assert model.seconds(64, 64, bandwidth=1e6) == pytest.approx(0.5 + 0.1 + 10 * 0.01 * 6 + 2.0)
    # Seven tasks for four ranks: the slowest has two.
    assert model.seconds(7, 4) == pytest.approx(0.5 + 0.2 + 10 * 0.01 * 2)


def test_tables_have_each_way_and_ratios_to_one_core(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    asked: list[Way] = []

    def measured(config: object, way: Way, updates: int) -> Speed:
        asked.append(way)
        return speed(0.8 / way.ranks + 0.1, exchanges=6.0, num_bytes=1500.0, waiting=0.01)

    monkeypatch.setattr(ranks, "measure", measured)
    config = write_config(tmp_path, meta_batch_size=4)
    assert main(["bench", "ranks", str(config), "--repeats", "2", "--quiet"]) == 0
    told = capsys.readouterr().out
    assert len(asked) == 2 * 5 and asked[:5] == asked[5:]
    assert re.search(r"one process, one core +0\.900 +111 +1\.00 +1\.00, 1\.00\n", told)
    assert re.search(r"4 ranks +0\.300 +333 +3\.00 +3\.00, 3\.00 +6 +1\.5 +3%", told)


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
    assert "2 ranks" in bench_ranks(config, [2], updates=4, repeats=1)
