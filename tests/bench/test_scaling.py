"""The model of scaling is the formula that it states, and its picture has what was measured."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from metarl.base.figures import save_figure
from metarl.bench.scaling import BANDWIDTH, Scaling, ScalingModel, Speed, Way, fit, scaling_figure


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


def test_the_picture_has_what_was_measured_and_the_model_of_few_and_of_more_tasks(tmp_path: Path) -> None:
    ways = [Way("one", 1, ()), Way("half", 1, ()), Way("shards", 1, ()), Way("2 ranks", 2, ())]
    seconds = [(1.7, 1.9), (0.9, 1.0), (1.1, 1.1), (1.2, 1.0)]
    found = {
        way: [speed(each, exchanges=10, num_bytes=4e6, waiting=0.3) for each in both]
        for way, both in zip(ways, seconds, strict=True)
    }
    scaling = Scaling(16, found)
    figure = scaling_figure(scaling)
    ideal, own, more, *points, _ = figure.axes[0].lines
    ranks = np.asarray(ideal.get_xdata())
    assert ranks[-1] == 512 and np.array_equal(ideal.get_ydata(), ranks)
    times = [each.get_ydata() for each in points]
    assert np.allclose(times, [[1.0, 1.0], [1.7 / 1.2, 1.9 / 1.0]])
    model, one = scaling.model, 1.8
    for line, tasks in ((own, np.full(len(ranks), 16)), (more, np.maximum(16, ranks))):
        expected = [
            num / model.seconds(num, each, BANDWIDTH if each >= 8 else np.inf) / (16 / one)
            for num, each in zip(tasks.tolist(), ranks.tolist(), strict=True)
        ]
        assert np.allclose(line.get_ydata(), expected)
    assert own.get_ydata()[-1] < more.get_ydata()[-1]
    save_figure(figure, tmp_path / "scaling.svg")
    words = [text.get_text() for text in figure.axes[0].get_yticklabels()]
    assert "10" in words and not any("$" in word for word in words)
